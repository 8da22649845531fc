"""The second stage: candidates of the first, ranked by their dense cosine with the query.

Three sources of that cosine, each behind one small class with one method:

- `CodesCosines`: estimated from the stored codes and, if the store keeps them, the
  residual bits. No dense vector is kept anywhere.
- `ArrayCosines`: exact, from an array whose row numbers are the ids.
- `CallableCosines`: exact, from whatever a function of ids returns.

Two cases are none of these: candidates that bring their codes along, which are scored as they
come (`csrkit.stores.base.CandidateStore`), and a dense vector inside the store, which rescores
in one call (`csrkit.stores.base.DenseStore`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.stores.base import Hit, ResidualStore
from csrkit.tensors import as_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.model import CSRModel
    from csrkit.stores.base import Store

    Floats = NDArray[np.float32]

__all__ = [
    "ArrayCosines",
    "CallableCosines",
    "CodesCosines",
    "Cosines",
    "DenseOf",
    "DenseRows",
    "rescored",
]

GROUP_CANDIDATES = 4096  # fetched and scored at a time: 12 MB of decoded rows at 768 dimensions

LARGEST_NORM = 1e15  # up to which, and down to whose inverse, float32 keeps products well

DenseOf: TypeAlias = "Callable[[list[int | str]], ArrayLike]"


class DenseRows(Protocol):
    """Dense vectors by row number: an array, a memory map, an HDF5 or Zarr data set."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (n, dim)."""

    def __getitem__(self, rows: Any) -> Any:
        """Return rows by an array of rising row numbers."""


class Cosines(Protocol):
    """Where the cosines of the second stage come from."""

    def of(self, queries: Floats, ids: Sequence[int | str]) -> Floats:
        """Return the cosine of each query with each document.

        Args:
            queries: float32 (q, dim) of norm 1.
            ids: n ids of documents, each once.

        Returns:
            float32 (q, n).
        """


class CodesCosines:
    """Cosines estimated from stored codes, and from their residual bits where there are any.

    Args:
        model: The model of the codes.
        store: Holds them.
    """

    def __init__(self, model: CSRModel, store: Store) -> None:
        self._model = model
        self._store = store
        self._both = store.fetch_both if isinstance(store, ResidualStore) else None

    def of(self, queries: Floats, ids: Sequence[int | str]) -> Floats:
        """Estimate the cosines; see `Cosines.of`."""
        codes, residuals = self._both(ids) if self._both else (self._store.fetch(ids), None)
        return self._model.estimate_cosines(queries, codes, residuals)


class ArrayCosines:
    """Exact cosines with the rows of an array; a row of zeros has cosine 0 with everything.

    Args:
        rows: Numbers of shape (n, dim); ids are its row numbers.
        dim: Width of the queries.

    Raises:
        ShapeError: If the array is not of that shape.
    """

    def __init__(self, rows: DenseRows, dim: int) -> None:
        if len(rows.shape) != 2 or rows.shape[1] != dim:
            raise ShapeError(
                f"expected dense= of shape (n, {dim}), one row per document, got {rows.shape}"
            )
        self._rows = rows

    def of(self, queries: Floats, ids: Sequence[int | str]) -> Floats:
        """Compute the cosines; see `Cosines.of`."""
        wanted = np.array([self._row(one) for one in ids], dtype=np.int64)
        rising, back = np.unique(wanted, return_inverse=True)  # a disk reads forward
        return _exact(queries, as_numbers(self._rows[rising], "dense=")[back], ids)

    def _row(self, one: int | str) -> int:
        if not isinstance(one, int) or one >= self._rows.shape[0]:
            raise ConfigError(
                f"expected ids that are row numbers of dense=, from 0 to "
                f"{self._rows.shape[0] - 1}, got the id {one!r}: pass dense= a function "
                "from a list of ids to their vectors"
            )
        return one


class CallableCosines:
    """Exact cosines with the vectors that a function returns.

    Args:
        dense_of: From a list of n ids to numbers of shape (n, dim), in their order.
        dim: Width of the queries.
    """

    def __init__(self, dense_of: DenseOf, dim: int) -> None:
        self._dense_of = dense_of
        self._dim = dim

    def of(self, queries: Floats, ids: Sequence[int | str]) -> Floats:
        """Compute the cosines; see `Cosines.of`."""
        vectors = as_numbers(self._dense_of(list(ids)), "what dense= returns")
        if vectors.shape != (len(ids), self._dim):
            raise ShapeError(
                f"expected dense= to return numbers of shape ({len(ids)}, {self._dim}) for "
                f"{len(ids)} ids, got {vectors.dtype} of shape {vectors.shape}"
            )
        return _exact(queries, vectors, ids)


def _exact(queries: Floats, vectors: NDArray[Any], ids: Sequence[int | str]) -> Floats:
    """Return cosines float32 (q, n) of unit queries with vectors (n, dim) of any length."""
    with np.errstate(over="ignore"):
        narrow = vectors.astype(np.float32, copy=False)
        norms = np.sqrt(np.einsum("ij,ij->i", narrow, narrow, dtype=np.float64)).astype(np.float32)
    if not (norms.min(initial=1) > 1 / LARGEST_NORM and norms.max(initial=1) < LARGEST_NORM):
        narrow, norms = _scaled(vectors, ids)
    cosines: Floats = queries @ narrow.T
    cosines /= np.where(norms > 0, norms, 1)
    return cosines


def _scaled(vectors: NDArray[Any], ids: Sequence[int | str]) -> tuple[Floats, Floats]:
    """Return vectors whose largest number is 1, and their norms, for those beyond float32."""
    peaks = np.abs(vectors.astype(np.float64)).max(axis=1)
    if not np.isfinite(peaks).all():
        bad = ids[int(np.argmin(np.isfinite(peaks)))]
        raise ShapeError(f"expected finite dense vectors, got NaN or Inf in that of id {bad!r}")
    narrow = (vectors / np.where(peaks > 0, peaks, 1)[:, None]).astype(np.float32)
    return narrow, np.linalg.norm(narrow, axis=1)


def rescored(
    found: Sequence[Sequence[Hit]], queries: Floats, cosines: Cosines, limit: int
) -> list[list[Hit]]:
    """Rank candidates by their cosine, which becomes their score.

    Args:
        found: Candidates of the first stage, one list per query.
        queries: The queries, float32 (q, dim) of norm 1.
        cosines: Source of the cosines.
        limit: Most hits per query.

    Returns:
        Hits by falling cosine; equal ones stay in the order of the first stage.
    """
    ranked: list[list[Hit]] = []
    for start, stop in _groups(found):
        scores = _scores(found[start:stop], queries[start:stop], cosines)
        ranked += map(_ranked, found[start:stop], scores, repeat(limit))
    return ranked


def _scores(found: Sequence[Sequence[Hit]], queries: Floats, cosines: Cosines) -> Iterator[Floats]:
    """Yield the cosines of each query's candidates; a shared candidate is asked for once."""
    ids = [[hit.id for hit in hits] for hits in found]
    unique = ids[0] if len(ids) == 1 else list(dict.fromkeys(chain.from_iterable(ids)))
    if not unique:
        yield from (np.empty(0, dtype=np.float32) for _ in ids)
        return
    scores = cosines.of(queries, unique)
    if len(ids) == 1:  # its candidates are the columns
        yield scores[0]
        return
    column = {one: at for at, one in enumerate(unique)}
    for own, mine in zip(scores, ids, strict=True):
        yield own[[column[one] for one in mine]]


def _groups(found: Sequence[Sequence[Hit]]) -> Iterator[tuple[int, int]]:
    """Cut queries into spans that have together about `GROUP_CANDIDATES` candidates."""
    start = held = 0
    for row, hits in enumerate(found):
        if held and held + len(hits) > GROUP_CANDIDATES:
            yield start, row
            start, held = row, 0
        held += len(hits)
    if start < len(found):
        yield start, len(found)


def _ranked(hits: Sequence[Hit], scores: Floats, limit: int) -> list[Hit]:
    order = np.argsort(-scores, kind="stable")[:limit].tolist()
    values = scores.tolist()
    return [Hit(hits[at].id, values[at], hits[at].payload) for at in order]  # _replace is slow
