"""Rows of a table as pages: read by id, drawn at random, or given codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from psycopg import sql

from csrkit.collection.home import CodeVector, Page, PointId
from csrkit.stores.adapter import Upsert
from csrkit_pgvector.home.facts import payload_of
from csrkit_pgvector.home.listing import drawn
from csrkit_pgvector.home.session import Session
from csrkit_pgvector.home.stacks import code_rows, dense_rows
from csrkit_pgvector.keys import plain, spelled
from csrkit_pgvector.table import Table
from csrkit_pgvector.writing import update

__all__ = ["read", "sampled", "write"]

_ROWS = 1000  # of a sample, read at a time
_READ = """
select {id}, {dense}, {body}, {rest}, {others} from {table} t
where {id} = any(%s::text[]::{type}[])
"""


def read(
    session: Session,
    ids: Sequence[PointId],
    *,
    vector: str | None = None,
    codes: CodeVector | None = None,
    payload: bool = False,
) -> Page:
    """Read rows by id, in one statement; see `Home.read`.

    Args:
        session: The table.
        ids: Ids, each once.
        vector: Dense vector to read.
        codes: Codes to read, with their residuals if they have any.
        payload: Whether to read the other columns.

    Returns:
        A page of the rows that are there.
    """
    dim = 0 if vector is None else session.source(vector).dim
    with session.calling(f"read {len(ids)} rows") as table:
        text = table.composed(_READ, **_asked(table, vector, codes, payload))
        found = table.run(text, spelled(table, ids), binary=True)
    rows = {plain(one): rest for one, *rest in found}
    there = [one for one in ids if one in rows]
    page = Page(there)
    if vector is not None:
        page = page._replace(vectors=dense_rows([rows[one][0] for one in there], dim))
    if codes is not None:
        bodies, rests = [rows[one][1] for one in there], [rows[one][2] for one in there]
        stacked, is_coded, residuals = code_rows(bodies, rests, codes)
        page = page._replace(codes=stacked, is_coded=is_coded, residuals=residuals)
    return page._replace(payloads=[rows[one][3] for one in there]) if payload else page


def _asked(
    table: Table, vector: str | None, codes: CodeVector | None, payload: bool
) -> dict[str, sql.Composable]:
    """Say what to select; null in place of what is not asked for."""
    parts: dict[str, sql.Composable] = dict.fromkeys(
        ("dense", "body", "rest", "others"), sql.SQL("null")
    )
    if vector is not None:
        parts["dense"] = sql.SQL("vector_send({}::vector)").format(sql.Identifier(vector))
    if codes is not None:
        parts["body"] = sql.SQL("sparsevec_send({})").format(sql.Identifier(codes.name))
    if codes is not None and codes.residual_bytes:
        parts["rest"] = sql.Identifier(f"{codes.name}_residual")
    if payload:
        others = sql.SQL(", ").join([sql.Identifier("t", name) for name in payload_of(table)])
        parts["others"] = sql.SQL("(select to_jsonb(o) from (select {}) o)").format(others)
    return parts


def sampled(session: Session, n: int, vector: str, seed: int) -> Page:
    """Draw rows, of which no more than the ids is read for the draw; see `Home.sample`.

    Args:
        session: The table.
        n: Rows wanted.
        vector: Dense vector to read.
        seed: Seed of the draw.

    Returns:
        A page with vectors, rows of NaN and zero left out.
    """
    dim = session.source(vector).dim
    ids = drawn(session, n, vector, seed)
    parts = [ids[at : at + _ROWS] for at in range(0, len(ids), _ROWS)]
    pages = [read(session, part, vector=vector) for part in parts]
    there = [one for page in pages for one in page.ids]
    rows = [page.vectors for page in pages if page.vectors is not None]
    vectors = np.concatenate([np.empty((0, dim), np.float32), *rows])
    good = np.flatnonzero(vectors.any(axis=1) & np.isfinite(vectors).all(axis=1))
    return Page([there[row] for row in good.tolist()], vectors[good])


def write(session: Session, codes: CodeVector, page: Page) -> list[PointId]:
    """Set codes and residuals on rows that are there; see `Home.write`.

    Args:
        session: The table.
        codes: The columns to set.
        page: Ids with codes, and residuals if there are to be any.

    Returns:
        Ids that do not exist (any more).
    """
    assert page.codes is not None  # a page to write
    batch = Upsert(page.ids, page.codes, None, page.residuals)
    with session.calling(f"set {codes.name!r} on {len(page.ids)} rows", atomic=True):
        found = update(session.named(codes.name), batch)
    return [one for one in page.ids if str(one) not in found]
