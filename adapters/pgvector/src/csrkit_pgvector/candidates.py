"""Candidates of a search that rescores: found with their codes, and only the best of them named."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from csrkit.stores import Hit
from csrkit.stores.adapter import Held, shown
from csrkit.stores.base import Candidates
from csrkit.vectors import SparseVectors
from csrkit_pgvector.index import Finder
from csrkit_pgvector.keys import plain, spelled
from csrkit_pgvector.reading import stacked
from csrkit_pgvector.searching import Row
from csrkit_pgvector.table import Table

__all__ = ["brought", "named"]

_NAME = """
select {id}, %(payload)s from {table}
where {id} = any(%%s::text[]::{type}[]) and {code} is not null
"""


def brought(
    finder: Finder,
    codes: SparseVectors,
    keep: sql.Composable | None,
    limit: int,
    held: Held | None,
) -> list[Candidates]:
    """Find codes and bring them along, one statement per query; see `CandidateStore.candidates`.

    Args:
        finder: How to search.
        codes: Queries.
        keep: Condition of SQL, or None.
        limit: Most documents per query.
        held: What the table holds; None if nothing was ever stored.

    Returns:
        Per query ids of documents as keys, best first, with their codes and residuals.

    Raises:
        StoreError: If a document lacks its residual; the message names it.
    """  # noqa: DOC502  # raised by `stacked`
    if held is None:
        return [Candidates([], *stacked([], [], Held(codes.dim))) for _ in codes]
    columns = "sparsevec_send({code}), " + ("{residual}" if held.residual_bytes else "null")
    return [_together(rows, held) for rows in finder.rows(codes, keep, limit, columns)]


def _together(rows: Sequence[Row], held: Held) -> Candidates:
    ids = [plain(one) for one, *_ in rows]
    return Candidates(ids, *stacked(ids, [(code, rest) for _, _, code, rest in rows], held))


def named(table: Table, ranked: Sequence[Sequence[tuple[int | str, float]]]) -> list[list[Hit]]:
    """Name documents that `brought` found, in one statement; see `CandidateStore.resolve`.

    Args:
        table: The table, refreshed.
        ranked: Per query the keys of those to return, each with its score.

    Returns:
        A hit for each that is still there, in the same order.
    """
    keys = list(dict.fromkeys(key for row in ranked for key, _ in row))
    words = {"payload": "{payload}" if table.names.payload in table.columns else "null"}
    with table.reported(f"name {shown(keys)}", atomic=False):
        found = table.run(_NAME % words, spelled(table, keys), binary=True) if keys else []
    loads = {plain(one): load or None for one, load in found}
    return [[Hit(key, score, loads[key]) for key, score in row if key in loads] for row in ranked]
