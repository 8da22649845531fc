"""`Seeker`: candidates of the index, and every row that it does not cover, scored exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json, to_json

from csrkit.errors import ConfigError
from csrkit.stores import Hit
from csrkit.vectors import SparseVectors
from csrkit_seismic.index import Index, Knobs
from csrkit_seismic.table import Table

__all__ = ["Effort", "Filter", "Seeker", "knobs_of", "scores"]

Effort: TypeAlias = Literal["fast", "balanced", "accurate"]
Filter: TypeAlias = Callable[[Mapping[str, Any]], bool]
_EFFORTS = {"fast": Knobs(8, 0.9), "balanced": Knobs(16, 0.8), "accurate": Knobs(2**16, 0.6)}


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
        rows, exact = self._scored(query, limit, keep)
        order = np.argsort(-exact, kind="stable")
        found: list[Hit] = []
        for row, score in zip(rows[order].tolist(), exact[order].tolist(), strict=True):
            if len(found) == limit:
                break
            if score and self._keeps(row, keep):
                one = self._table.ids[row]
                load = self._table.payloads.get(one)
                found.append(Hit(one, score, load and from_json(to_json(load))))
        return found

    def _scored(
        self, query: SparseVectors, limit: int, keep: Filter | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return rows and their scores: candidates, and what has to be looked at one by one."""
        codes = self._table.codes
        is_walk = self._index is not None and query.is_nonnegative
        first = self._indexed if is_walk else 0
        near = np.array(self._walk(query, limit, keep) if is_walk else [], np.int64)
        if first == len(codes):
            return near, scores(codes[near], query)
        rows = np.concatenate([near, np.arange(first, len(codes))])
        return rows, np.concatenate([scores(codes[near], query), scores(codes[first:], query)])

    def _walk(self, query: SparseVectors, limit: int, keep: Filter | None) -> list[int]:
        """Ask the index for more, until enough of what it gives is alive and passes."""
        assert self._index is not None
        top = min(limit, self._indexed)
        while True:
            found = self._index.rows(query, top, self._knobs)
            kept = [row for row in found if self._keeps(row, keep)]
            if len(kept) >= limit or len(found) < top or top >= self._indexed:
                return kept
            top = min(4 * top, self._indexed)

    def _keeps(self, row: int, keep: Filter | None) -> bool:
        table = self._table
        return table.is_live(row) and (keep is None or keep(table.payloads.get(table.ids[row], {})))


def scores(codes: SparseVectors, query: SparseVectors) -> NDArray[np.float64]:
    """Score codes exactly.

    Args:
        codes: Any number of rows.
        query: A batch of one row, not empty.

    Returns:
        float64 (n), inner products.
    """
    where = np.searchsorted(query.indices, codes.indices)
    where[where == query.nnz] = 0
    shared = query.indices[where] == codes.indices
    products = codes.values * query.values[where].astype(np.float64) * shared
    row_of = np.repeat(np.arange(len(codes)), codes.counts)
    return np.bincount(row_of, products, len(codes)).astype(np.float64)
