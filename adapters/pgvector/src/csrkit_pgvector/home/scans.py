"""Exact searches of a table: its dense vectors and its codes, each by a scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from csrkit.stores import Hit
from csrkit.vectors import SparseVectors
from csrkit_pgvector.home.session import Session
from csrkit_pgvector.keys import plain
from csrkit_pgvector.searching import Search, hits
from csrkit_pgvector.table import Table

__all__ = ["exact", "matching", "sparse"]

_OPERATORS = {"Cosine": "<=>", "Dot": "<#>", "Euclid": "<->", "Manhattan": "<+>"}
# the sum keeps the planner from an index, at no cost
_NEAR = """
select {id}, ({vector} {operator} %s::vector) + 0 as distance from {table}
where {vector} is not null and ({keep}) order by distance limit %s
"""


def exact(
    session: Session, queries: NDArray[np.float32], vector: str, limit: int, keep: Any
) -> list[list[Hit]]:
    """Search a dense vector; see `Home.exact`.

    Args:
        session: The table.
        queries: float32 (q, dim).
        vector: Name of the dense vector.
        limit: Most hits per query.
        keep: Condition of SQL, or None.

    Returns:
        Hits, the best first.
    """
    distance = session.source(vector).distance
    parts = {"vector": sql.Identifier(vector), "keep": keep or sql.SQL("true")}
    with session.calling(f"search {vector!r}") as table:
        text = table.composed(_NEAR, operator=sql.SQL(_OPERATORS[distance]), **parts)
        answers = [table.run(text, str(row.tolist()), limit) for row in queries]
    return [[Hit(plain(one), _score(distance, far)) for one, far in rows] for rows in answers]


def _score(distance: str, far: float) -> float:
    """Return a similarity where there is one, such as a cosine, and otherwise the distance."""
    return {"Cosine": 1 - far, "Dot": -far}.get(distance, far)


def sparse(
    session: Session, queries: SparseVectors, name: str, limit: int, keep: Any
) -> list[list[Hit]]:
    """Search codes; see `Home.sparse`.

    Args:
        session: The table.
        queries: q codes.
        name: Name of their column.
        limit: Most hits per query.
        keep: Condition of SQL, or None.

    Returns:
        Hits without payloads, the best first.
    """
    with session.calling(f"search {name!r}"):
        search = Search(session.named(name), keep, limit)
        return [hits(search.rows(code)) for code in queries]


def matching(table: Table, field: str, value: str | int | bool) -> sql.Composed:
    """Return a condition for either search; see `Home.matching`.

    Args:
        table: The table, refreshed.
        field: Name of a column, or of a field of its column of payloads.
        value: What it has to be.

    Returns:
        The condition.
    """
    if field in table.columns:
        return sql.SQL("{} = {}").format(sql.Identifier(field), value)
    column = sql.Identifier(table.names.payload)
    return sql.SQL("{} -> {} = to_jsonb({})").format(column, field, value)
