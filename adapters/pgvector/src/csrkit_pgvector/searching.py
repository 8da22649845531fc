"""`Search`: finding codes by a scan of the table or along its index, one statement per query.

A scan looks up what else is asked for once it knows the nearest rows: the sort would copy it of
every row. A walk along the index passes few others.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from psycopg import sql

from csrkit.errors import ConfigError
from csrkit.stores import Hit
from csrkit.vectors import SparseVectors
from csrkit_pgvector.keys import plain
from csrkit_pgvector.rows import spelled_code
from csrkit_pgvector.table import Table

__all__ = ["Row", "Search", "hits"]

Row: TypeAlias = tuple[Any, ...]  # id, negative score, and what else is asked for

_NEAREST = """
select {id} as csrkit_id, %(distance)s as csrkit_distance%(more)s from {table}
where {code} is not null and %(shared)s (%(keep)s) order by csrkit_distance limit %(limit)d
"""
_WITH = """
select csrkit_id, csrkit_distance, %(columns)s
from (%(nearest)s) csrkit_nearest join {table} on {id} = csrkit_id
"""
_FEW = 400  # rows; each costs some microseconds to look up
_WALK = "{code} <#> %s::sparsevec"
_SCAN = "({code} <#> %s::sparsevec) + 0"  # the sum keeps the planner from the index, at no cost
_SHARED = "({code} <#> %s::sparsevec) <> 0 and"


class Search:
    """Statements of one search, composed once for all of its queries.

    Args:
        table: The table, refreshed.
        keep: Condition of SQL, or None.
        limit: Most rows per query.
        columns: What to select of each row beside its id, as a template of SQL.
        walk: Whether to use the index.

    Raises:
        ConfigError: If the condition is no composition of psycopg's.
    """

    def __init__(
        self,
        table: Table,
        keep: sql.Composable | None,
        limit: int,
        *,
        columns: str = "",
        walk: bool = False,
    ) -> None:
        if keep is not None and not isinstance(keep, sql.Composable):
            raise ConfigError(
                "expected filter to be a condition such as psycopg.sql.SQL(\"payload->>'lang' = "
                f"{{}}\").format('en'), got {type(keep).__name__}"
            )
        self._table, self._is_walk = table, walk
        is_joined = bool(columns) and limit <= _FEW and not walk
        self._whole = _WITH if is_joined else "%(nearest)s"
        self._words = {
            "columns": columns,
            "more": f", {columns}" if columns and not is_joined else "",
            "distance": _WALK if walk else _SCAN,
            "keep": "true" if keep is None else "{keep}",
            "limit": limit,
        }
        self._parts = {} if keep is None else {"keep": keep}
        self._nearest = self._composed("")

    def _composed(self, shared: str) -> bytes:
        words = self._words | {"shared": shared}
        words["nearest"] = _NEAREST % words
        return self._table.composed(self._whole % words, **self._parts)

    def rows(self, code: SparseVectors) -> list[Row]:
        """Find what shares a latent with a query.

        Args:
            code: The query, a batch of one row.

        Returns:
            Id, negative score and columns of each, by falling score.
        """
        if not code.nnz:
            return []
        text = spelled_code(code)
        rows = self._table.run(self._nearest, text, binary=True)
        if not self._is_walk and not all(map(itemgetter(1), rows)):
            # rows that share nothing may stand before negative scores
            rows = self._table.run(self._composed(_SHARED), text, text, binary=True)
        rows.sort(key=itemgetter(1))  # the index gives them nearly in order, a join in any
        return [row for row in rows if row[1]]


def hits(rows: Sequence[Row]) -> list[Hit]:
    """Return rows as hits.

    Args:
        rows: Rows of a search, with payloads as their only column if at all.

    Returns:
        One hit per row.
    """
    return [Hit(plain(one), -far, *(load or None for load in rest)) for one, far, *rest in rows]
