"""`Seeker`: candidates of the index, and every row that it does not cover, scored exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from csrkit.errors import ConfigError
from csrkit.stores import Hit
from csrkit.vectors import SparseVectors
from csrkit_seismic.index import Index, Knobs
from csrkit_seismic.table import Table

__all__ = ["Effort", "Filter", "Seeker", "knobs_of", "scores"]

Effort: TypeAlias = Literal["fast", "balanced", "accurate"]
Filter: TypeAlias = Callable[[Mapping[str, Any]], bool]
_EFFORTS = {"fast": Knobs(8, 0.9), "balanced": Knobs(16, 0.8), "accurate": Knobs(2**16, 0.6)}
_QUICK = 2**13  # latents that are spread out in less time than ten codes are searched for theirs


def knobs_of(effort: Effort | Knobs) -> Knobs:
    """Return Seismic's two settings.

    Args:
        effort: A name, or the settings themselves.

    Returns:
        The settings.

    Raises:
        ConfigError: If it is neither, or out of range.
    """
    found = effort if isinstance(effort, Knobs) else _EFFORTS.get(effort)
    if found is None or found.query_cut < 1 or not 0 <= found.heap_factor <= 1:
        raise ConfigError(
            f"expected effort to be one of {', '.join(_EFFORTS)}, or Knobs(query_cut from 1, "
            f"heap_factor from 0 to 1), got {effort!r}"
        )
    return found


class Seeker:
    """A table with an index over its first rows."""

    def __init__(self, table: Table, index: Index | None, indexed: int, knobs: Knobs) -> None:
        self._table, self._index, self._indexed, self._knobs = table, index, indexed, knobs

    def hits(self, query: SparseVectors, limit: int, keep: Filter | None) -> list[Hit]:
        """Find what shares a latent with a query, a batch of one row."""
        if not query.nnz:
            return []
        codes = self._table.codes
        is_walk = self._index is not None and min(query.values.tolist()) > 0
        near = self._walk(query, limit, keep) if is_walk else []
        found = list(zip(scores(codes, query, near).tolist(), near, strict=True))
        first = self._indexed if is_walk else 0
        if first < len(codes):
            found += self._scan(query, first, limit, keep)
        found.sort(key=itemgetter(0), reverse=True)  # equal ones stay as they came
        ids, payloads, hits = self._table.ids, self._table.payloads, []
        for score, row in found[:limit]:
            if score:
                load = payloads.get(ids[row])
                hits.append(Hit(ids[row], score, from_json(load) if load else None))
        return hits

    def _scan(
        self, query: SparseVectors, first: int, limit: int, keep: Filter | None
    ) -> list[tuple[float, int]]:
        """Return the best that is alive and passes of the rows from the first on."""
        exact = scores(self._table.codes[first:], query)
        some = np.flatnonzero(exact)
        order = some[np.argsort(-exact[some], kind="stable")]
        kept = (row for row in order.tolist() if self._keeps(first + row, keep))
        return [(float(exact[row]), first + row) for row in islice(kept, limit)]

    def _walk(self, query: SparseVectors, limit: int, keep: Filter | None) -> list[int]:
        """Ask the index for more, until enough of what it gives is alive and passes."""
        assert self._index is not None
        top = min(limit, self._indexed)
        while True:
            found = self._index.rows(query, top, self._knobs)
            is_all = keep is None and self._table.is_whole
            kept = found if is_all else [row for row in found if self._keeps(row, keep)]
            if len(kept) >= limit or len(found) < top or top >= self._indexed:
                return kept
            top = min(4 * top, self._indexed)

    def _keeps(self, row: int, keep: Filter | None) -> bool:
        return self._table.is_live(row) and (keep is None or keep(self._table.payload(row)))


def scores(
    codes: SparseVectors, query: SparseVectors, rows: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Score codes exactly.

    Args:
        codes: Any number of rows.
        query: A batch of one row, not empty.
        rows: Which of them; None for all.

    Returns:
        float64 (n), inner products.
    """
    entries, counts = (slice(None), codes.counts) if rows is None else _entries(codes, rows)
    products = _weights(query, codes.indices[entries])
    products *= codes.values[entries]
    row_of = np.arange(len(counts)).repeat(counts)
    return np.bincount(row_of, products, len(counts)).astype(np.float64, copy=False)


def _weights(query: SparseVectors, latents: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the weight of each latent in a query, 0 where it has none."""
    asked, values = query.indices, query.values
    if query.dim <= max(_QUICK, len(latents)):
        every = np.zeros(query.dim)
        every[asked] = values
        return every[latents]
    where = asked.searchsorted(latents)
    where[where == len(asked)] = 0
    weights: NDArray[np.float64] = values[where].astype(np.float64)
    weights[asked[where] != latents] = 0
    return weights


def _entries(codes: SparseVectors, rows: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
    """Return where the entries of some rows are, and how many each row has.

    ``codes[rows]`` would check and copy more, which a search of ten candidates feels.
    """
    which = np.array(rows, np.int64)
    starts = codes.indptr[which]
    counts = codes.indptr[which + 1] - starts
    ends = counts.cumsum()
    return np.arange(counts.sum()) + (starts - ends + counts).repeat(counts), counts
