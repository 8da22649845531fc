"""Ids of a table: all in the order of the key, a page at a time, or some drawn at random."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from psycopg import sql

from csrkit.collection.home import PointId
from csrkit_pgvector.home.session import Session
from csrkit_pgvector.keys import is_text, plain
from csrkit_pgvector.table import Table

__all__ = ["drawn", "listed"]

_LIST = """
select {id} from {table} where ({keep}) and (%s::text is null or {key} > %s::text::{type})
order by {key} limit %s
"""
_COUNT = "select count(*) from {table} where {vector} is not null"
_DRAW = """
select {id} from {table} tablesample bernoulli (%s) repeatable (%s) where {vector} is not null
"""


def listed(
    session: Session, after: PointId | None, size: int, keep: sql.Composable | None
) -> Iterator[list[PointId]]:
    """List ids; see `Home.ids`.

    Args:
        session: The table.
        after: Begin behind this id, which need not exist.
        size: Most ids per page.
        keep: Condition of SQL, or None for all.

    Yields:
        Pages of ids, rising.
    """
    while True:
        last = None if after is None else str(after)
        with session.calling("list its ids") as table:
            text = table.composed(_LIST, key=_sorting(table), keep=keep or sql.SQL("true"))
            page = [plain(one) for (one,) in table.run(text, last, last, size)]
        if not page:
            return
        yield page
        after = page[-1]


def _sorting(table: Table) -> sql.Composable:
    """Sort text by its characters, as csrkit does, whatever the language of the database."""
    key = sql.Identifier(table.names.id)
    return sql.SQL('{} collate "C"').format(key) if is_text(table) else key


def drawn(session: Session, n: int, vector: str, seed: int) -> list[PointId]:
    """Draw rows that have a dense vector, of which only the ids are read.

    Args:
        session: The table.
        n: Rows wanted; fewer come if there are fewer.
        vector: Name of the dense vector's column.
        seed: Seed of the draw.

    Returns:
        Ids, each once, in an order drawn as well.
    """
    column, seeded = sql.Identifier(vector), seed % 2**31
    with session.calling("draw a sample") as table:
        ((count,),) = table.run(table.composed(_COUNT, vector=column))
        share = 100 * min(1.0, (1.2 * n + 100) / max(count, 1))
        draw = table.composed(_DRAW, vector=column)
        found = table.run(draw, share, seeded)
        if len(found) < min(n, count):  # unlikely
            found = table.run(draw, 100, seeded)
    chosen = np.random.default_rng(seed).permutation(len(found))[:n]
    return [plain(found[row][0]) for row in chosen.tolist()]
