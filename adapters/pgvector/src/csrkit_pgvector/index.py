"""The HNSW graph over codes: building it, and which searches walk along it."""

from __future__ import annotations

from psycopg import sql
from psycopg.pq import TransactionStatus

from csrkit.errors import ConfigError, StoreError
from csrkit.vectors import SparseVectors
from csrkit_pgvector.searching import Row, Search
from csrkit_pgvector.table import Table

__all__ = ["Finder", "build", "checked_ef"]

_INDEX = """
create index on {table} using hnsw ({code} sparsevec_ip_ops)
with (m = {m}, ef_construction = {ef})
"""
_TUNE = """
select set_config('hnsw.ef_search', %s, false),
set_config('hnsw.iterative_scan', 'relaxed_order', false)
"""


def build(table: Table, *, m: int, ef_construction: int) -> None:
    """Build an HNSW graph over inner products, unless there is one.

    pgvector refuses codes of more than 1,000 latents then, here and at each upsert.

    Args:
        table: The table.
        m: Edges per code and layer, 2 to 100; more find more, and take space.
        ef_construction: Candidates while building, at least ``2 * m``, up to 1000.

    Raises:
        StoreError: If there are no codes yet, or the server refuses.
    """
    if table.refresh() is None:
        raise StoreError("cannot build an index: nothing was stored yet")
    if not is_indexed(table):
        parts = {"m": sql.Literal(m), "ef": sql.Literal(ef_construction)}
        with table.reported("build its index"):
            table.run(table.composed(_INDEX, **parts))
        table.refresh()


def is_indexed(table: Table) -> bool:
    """Tell whether an HNSW graph covers all codes.

    Args:
        table: The table with codes, refreshed.

    Returns:
        True if one does.
    """
    return "sparsevec_ip_ops" in table.columns[table.names.code].indexes


def checked_ef(ef_search: int) -> int:
    """Check a setting before anything is opened or made.

    Args:
        ef_search: Candidates that a search of the index keeps.

    Returns:
        The same.

    Raises:
        ConfigError: If it is not from 1 to 1000.
    """
    if not isinstance(ef_search, int) or not 1 <= ef_search <= 1000:
        raise ConfigError(f"expected ef_search from 1 to 1000, got {ef_search!r}")
    return ef_search


class Finder:
    """How a store searches: by scans, or along the index once there is one.

    Args:
        table: The table.
        exact: Scan even if there is an index.
        ef_search: Candidates that a search of the index keeps, as `checked_ef` gives it.
    """

    def __init__(self, table: Table, *, exact: bool, ef_search: int) -> None:
        self._table, self._is_exact = table, exact
        self._ef_search, self._is_tuned = ef_search, False

    def rows(
        self, codes: SparseVectors, keep: sql.Composable | None, limit: int, columns: str
    ) -> list[list[Row]]:
        """Find the nearest codes in a table that is refreshed; see `Search`.

        Args:
            codes: Queries.
            keep: Condition of SQL, or None.
            limit: Most rows per query.
            columns: What to select of each row beside its id.

        Returns:
            Per query id, negative score and columns of each, by falling score.
        """
        # no graph is for negative weights: what shares nothing with the query is nearer then
        walk = is_indexed(self._table) and not self._is_exact and codes.is_nonnegative
        with self._table.reported("search", atomic=False):
            if walk and not self._is_tuned:
                self._is_tuned = self._tune()
            search = Search(self._table, keep, limit, columns=columns, walk=walk)
            return [search.rows(code) for code in ([codes] if len(codes) == 1 else codes)]

    def _tune(self) -> bool:
        """Set what the index needs, and tell whether that stays: a transaction may take it back.

        With ``iterative_scan`` a filter leaves as many hits as asked for, if the graph has them.
        """
        self._table.run(_TUNE, str(self._ef_search))
        return self._table.connection.info.transaction_status == TransactionStatus.IDLE
