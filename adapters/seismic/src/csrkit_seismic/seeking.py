"""`Seeker`: candidates of the index, and every row that it does not cover, scored exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from operator import itemgetter
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic_core import from_json

from csrkit.errors import ConfigError
from csrkit.stores import Hit
from csrkit.vectors import SparseVectors
from csrkit_seismic.index import Index, Knobs
from csrkit_seismic.table import Table

__all__ = ["Effort", "Filter", "Seeker", "check_filter", "knobs_of"]

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


def check_filter(keep: Filter | None) -> None:
    """Refuse what is no filter; ConfigError says what is one."""
    if keep is not None and not callable(keep):
        raise ConfigError(f"expected filter to be a callable from a payload to bool, got {keep!r}")


class Seeker:
    """A table with an index over its first rows."""

    def __init__(self, table: Table, index: Index | None, indexed: int, knobs: Knobs) -> None:
        self._table, self._index, self._indexed, self._knobs = table, index, indexed, knobs

    def hits(self, query: SparseVectors, limit: int, keep: Filter | None) -> list[Hit]:
        """Find what shares a latent with a query, a batch of one row."""
        if not query.nnz:
            return []
        scorer = self._table.scorer
        is_walk = self._index is not None and min(query.values.tolist()) > 0
        near = self._walk(query, limit, keep) if is_walk else []
        found = list(zip(scorer.some(query, near).tolist(), near, strict=True))
        first = self._indexed if is_walk else 0
        if first < len(self._table.ids):
            found += self._scan(query, first, limit, keep)
        found.sort(key=itemgetter(0), reverse=True)  # equal ones stay as they came
        return self._named([(score, row) for score, row in found[:limit] if score])

    def _named(self, found: list[tuple[float, int]]) -> list[Hit]:
        ids, payloads = self._table.ids, self._table.payloads
        loads = b"[%b]" % b",".join([payloads[row] for _, row in found])
        copies = from_json(loads, cache_strings="keys")
        return [
            Hit(ids[row], score, load) for (score, row), load in zip(found, copies, strict=True)
        ]

    def _scan(
        self, query: SparseVectors, first: int, limit: int, keep: Filter | None
    ) -> list[tuple[float, int]]:
        """Return the best that is alive and passes of the rows from the first on."""
        exact = self._table.scorer.since(query, first)
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
