"""Finding and fetching codes: one statement each, exact or along the HNSW index."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.pq import TransactionStatus

from csrkit.errors import ConfigError
from csrkit.stores import Hit
from csrkit.stores.adapter import Held, all_found
from csrkit.vectors import SparseVectors
from csrkit_pgvector.keys import plain, spelled
from csrkit_pgvector.rows import spelled_code, unpacked
from csrkit_pgvector.table import Table

__all__ = ["Search", "fetched", "tune"]

_SEARCH = """
select {id}, %(payload)s, %(distance)s as distance from {table}
where {code} is not null and %(shared)s (%(keep)s) order by distance limit %%s
"""
_WALK = "{code} <#> %s::sparsevec"
_SCAN = "({code} <#> %s::sparsevec) + 0"  # the sum keeps the planner from the index, at no cost
_SHARED = "({code} <#> %s::sparsevec) <> 0 and"
_FETCH = """
select {id}, sparsevec_send({code}), %(residual)s from {table}
where {id} = any(%%s::text[]::{type}[]) and {code} is not null
"""
_TUNE = """
select set_config('hnsw.ef_search', %s, false),
set_config('hnsw.iterative_scan', 'relaxed_order', false)
"""


def tune(table: Table, ef_search: int) -> bool:
    """Set what a search of the index needs, for the session.

    With ``iterative_scan`` a filter leaves as many hits as asked for, if the graph reaches them.

    Args:
        table: The table.
        ef_search: Candidates to keep.

    Returns:
        Whether the settings stay: False in a transaction, which may take them back.
    """
    table.run(_TUNE, str(ef_search))
    return table.connection.info.transaction_status == TransactionStatus.IDLE


class Search:
    """Statements of one search, composed once for all of its queries.

    Args:
        table: The table, refreshed.
        keep: Condition of SQL, or None.
        walk: Whether to use the index.

    Raises:
        ConfigError: If the condition is no composition of psycopg's.
    """

    def __init__(self, table: Table, keep: sql.Composable | None, *, walk: bool) -> None:
        if keep is not None and not isinstance(keep, sql.Composable):
            raise ConfigError(
                "expected filter to be a condition such as psycopg.sql.SQL(\"payload->>'lang' = "
                f"{{}}\").format('en'), got {type(keep).__name__}"
            )
        payload = "{payload}" if table.names.payload in table.columns else "null"
        words = {"payload": payload, "shared": "", "keep": "true" if keep is None else "{keep}"}
        parts = {} if keep is None else {"keep": keep}
        nearest = _SEARCH % (words | {"distance": _WALK if walk else _SCAN})
        sharing = _SEARCH % (words | {"distance": _SCAN, "shared": _SHARED})
        self._table, self._is_walk = table, walk
        self._nearest = table.composed(nearest, **parts)
        self._sharing = table.composed(sharing, **parts)

    def hits(self, code: SparseVectors, limit: int) -> list[Hit]:
        """Find what shares a latent with a query.

        Args:
            code: The query, a batch of one row.
            limit: Most hits.

        Returns:
            Hits by falling score.
        """
        if not code.nnz:
            return []
        text = spelled_code(code)
        rows = self._table.run(self._nearest, text, limit)
        if not self._is_walk and any(not distance for _, _, distance in rows):
            # rows that share nothing may stand before negative scores
            rows = self._table.run(self._sharing, text, text, limit)
        rows.sort(key=itemgetter(2))  # the index gives them nearly in order
        return [Hit(plain(one), -far, load or None) for one, load, far in rows if far]


def fetched(
    table: Table, ids: Sequence[int | str], held: Held
) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
    """Return codes and residuals.

    Args:
        table: The table, refreshed.
        ids: Plain ids.
        held: What the table holds.

    Returns:
        One row per id, and uint8 (n, residual_bytes), or None if none are kept.

    Raises:
        StoreError: If there is no code for an id; the message names it.
    """  # noqa: DOC502  # raised by `all_found`
    width = held.residual_bytes
    words = {"residual": "{residual}" if width else "null"}
    found = table.run(_FETCH % words, spelled(table, ids), binary=True) if ids else []
    rows = all_found(ids, {plain(one): (code, rest) for one, code, rest in found})
    codes = unpacked([code for code, _ in rows], held.dim)
    if not width:
        return codes, None
    return codes, np.frombuffer(b"".join([rest for _, rest in rows]), np.uint8).reshape(-1, width)
