"""Query vectors as a caller has them, turned into rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.model.rows import as_rows, unit_rows
from csrkit.tensors import as_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["as_queries", "dense_queries", "unit_rows"]


def as_queries(queries: ArrayLike, dim: int) -> NDArray[Any]:
    """Return one query or a batch of them as a batch.

    Args:
        queries: Numbers of shape (dim,) or (q, dim): an array, lists, or a torch tensor on
            any device. Or one text or several, for a model that encodes texts.
        dim: Width of the model.

    Returns:
        Numbers (q, dim) of whatever type they came in, or texts (q,); not checked further.

    Raises:
        ShapeError: If the shape is another, or there are no numbers.
    """
    if isinstance(queries, str):
        queries = [queries]
    if _are_texts(queries):  # for an encoder of texts: any other refuses them
        return np.array(queries, dtype=object)
    batch = as_numbers(queries, "queries")
    return as_rows(batch[None] if batch.ndim == 1 else batch, dim)


def _are_texts(queries: Any) -> bool:
    if isinstance(queries, np.ndarray):
        queries = list(queries) if queries.dtype == object and queries.ndim == 1 else []
    listed = isinstance(queries, list | tuple) and len(queries) > 0
    return listed and all(isinstance(query, str) for query in queries)


def dense_queries(model: Any, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return the vectors that candidates are rescored with.

    Args:
        model: Encodes texts by ``encode_dense``, such as `csrkit.llm.LLMRetriever`, if the
            queries are some.
        rows: Of `as_queries`.

    Returns:
        float32 (q, dim) of norm 1.

    Raises:
        ShapeError: If a row is zero or not finite.
    """  # noqa: DOC502  # raised by `unit_rows`
    if rows.dtype == object:
        rows = model.encode_dense(list(rows), side="query")
    return unit_rows(rows)
