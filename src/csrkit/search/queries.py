"""Query vectors as a caller has them, turned into rows."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.model.rows import as_rows, unit_blocks
from csrkit.tensors import is_tensor, tensor_to_numpy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["as_queries", "unit_rows"]


def as_queries(queries: ArrayLike, dim: int) -> NDArray[Any]:
    """Return one vector or a batch of them as a batch.

    Args:
        queries: Numbers of shape (dim,) or (q, dim): an array, lists, or a torch tensor on
            any device.
        dim: Width of the model.

    Returns:
        Numbers (q, dim) of whatever type they came in; their contents are not checked.

    Raises:
        ShapeError: If the shape is another, or there are no numbers.
    """
    batch: Any = tensor_to_numpy(queries) if is_tensor(queries) else queries
    with suppress(ValueError):  # ragged lists: as_rows says so
        batch = np.asarray(batch)
        batch = batch[None] if batch.ndim == 1 else batch
    return as_rows(batch, dim)


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Scale rows to norm 1.

    Args:
        rows: Numbers (q, dim).

    Returns:
        float32 (q, dim).

    Raises:
        ShapeError: If a row is zero or not finite.
    """
    return np.concatenate([np.empty((0, rows.shape[1]), np.float32), *unit_blocks(rows)])
