"""Making what is missing of a table, and what its catalogue says about ids and codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import sql

from csrkit.errors import StoreError
from csrkit.stores.adapter import Held, Upsert, checked_held, shown
from csrkit_pgvector.notes import Note
from csrkit_pgvector.table import Table

__all__ = [
    "add_columns",
    "comment",
    "ensure",
    "forget",
    "held",
    "id_type",
    "index",
    "is_indexed",
    "is_shared",
    "is_text",
    "note_of",
    "prepared",
    "spelled",
]

_SPARSEVEC = (0, 7)  # version of pgvector that brought the type
_INDEX = """
create index on {table} using hnsw ({code} sparsevec_ip_ops)
with (m = {m}, ef_construction = {ef})
"""


def ensure(table: Table, *, create: bool) -> None:
    """Make the table if it is missing.

    Args:
        table: The table; codes get their column at the first upsert, which knows their width.
        create: Whether it may be made.

    Raises:
        StoreError: If pgvector is missing or older than 0.7, or the table is and may not be made.
    """  # noqa: DOC502  # raised by helpers too
    with table.reported("look for pgvector", atomic=False):
        found = table.run("select extversion from pg_extension where extname = 'vector'")
    if not found or tuple(map(int, found[0][0].split(".")[:2])) < _SPARSEVEC:
        raise StoreError(
            "expected a database with pgvector 0.7 or later, got "
            f"{'pgvector ' + found[0][0] if found else 'one without it'}: let somebody with the "
            "right to run `create extension vector` there, or `alter extension vector update`"
        )
    table.refresh()
    if not table.columns and not create:
        raise StoreError(
            f"no table {table.names.table!r} in this database: check the name, or make it with "
            f"PgVectorStore(connection, {table.names.table!r})"
        )
    if not table.columns:
        with table.reported("make it"):
            # or two that begin together would both try: "if not exists" does not prevent that
            table.run("select pg_advisory_xact_lock(hashtext('csrkit'))")
            table.run(
                "create table if not exists {table} ({id} jsonb primary key, {payload} jsonb)"
            )
        table.refresh()


def held(table: Table) -> Held | None:
    """Look what codes the table holds.

    Args:
        table: The table.

    Returns:
        Their widths and codec; None if there is no column of codes yet.
    """
    code = table.refresh()
    if code is None:
        return None
    note = Note.of(code.comment) or Note()
    return Held(code.width, note.residual_bytes, note.codec)


def prepared(table: Table, upsert: Upsert, first: Held) -> Held:
    """Add the columns of codes and residuals, unless they are there.

    Args:
        table: The table, in a transaction: if they are added it stays locked until that ends.
        upsert: What is to be stored.
        first: What the table holds from then on, if it held nothing.

    Returns:
        What it holds: another process may have been first.

    Raises:
        ShapeError: If that is of another width.
    """  # noqa: DOC502  # raised by `checked_held`
    now = held(table)
    if now is None:
        add_columns(table, first)
        now = held(table) or first
    checked_held(upsert, now)
    return now


def note_of(codes: Held, job: dict[str, Any] | None = None) -> Note:
    """Return what to note of codes.

    Args:
        codes: What their column holds.
        job: Marker of the job that adds it, or None.

    Returns:
        The note.
    """
    return Note(residual_bytes=codes.residual_bytes, codec=codes.codec, job=job)


def add_columns(table: Table, codes: Held) -> None:
    """Add the columns of codes and residuals, and note what they are, unless they are there.

    Args:
        table: The table, in a transaction.
        codes: What they are to hold.
    """
    add = "alter table {table} add column if not exists {code} sparsevec({dim})"
    if codes.residual_bytes:
        add += ", add column if not exists {residual} bytea"
    table.run(table.composed(add, dim=sql.Literal(codes.dim)))
    found = table.refresh()
    if found is not None and found.comment is None:  # or another process was first
        comment(table, note_of(codes))


def comment(table: Table, note: Note) -> None:
    """Write a note, in place of an older one.

    Args:
        table: The table.
        note: The note.
    """
    words = sql.Literal(note.model_dump_json())
    table.run(table.composed("comment on column {table}.{code} is {words}", words=words))


def index(table: Table, *, m: int, ef_construction: int) -> None:
    """Build an HNSW graph over inner products, unless there is one.

    pgvector refuses codes of more than 1,000 latents then, here and at each upsert.

    Args:
        table: The table with codes, refreshed, in a transaction.
        m: Edges per code and layer, 2 to 100; more find more, and take space.
        ef_construction: Candidates while building, at least ``2 * m``, up to 1000.
    """
    if not is_indexed(table):
        table.run(table.composed(_INDEX, m=sql.Literal(m), ef=sql.Literal(ef_construction)))


def is_indexed(table: Table) -> bool:
    """Tell whether an HNSW graph covers all codes.

    Args:
        table: The table with codes, refreshed.

    Returns:
        True if one does.
    """
    return "sparsevec_ip_ops" in table.columns[table.names.code].indexes


def forget(table: Table, ids: Sequence[int | str]) -> None:
    """Delete rows, or in a table with other columns what csrkit keeps in them.

    Args:
        table: The table with codes, refreshed.
        ids: Plain ids; those that are not there are ignored.
    """
    rest = ", {residual} = null" if table.names.residual in table.columns else ""
    verb = "update {table} set {code} = null" + rest if is_shared(table) else "delete from {table}"
    there = f" where {{id}} = any(%s::text[]::{id_type(table)}[])"
    table.run(verb + there, spelled(table, ids))


def is_shared(table: Table) -> bool:
    """Tell whether a table has columns of somebody else.

    Args:
        table: The table, refreshed.

    Returns:
        True if it has any but those of ids, payloads, codes and residuals.
    """
    names = table.names
    return not {names.id, names.payload, names.code, names.residual}.issuperset(table.columns)


def id_type(table: Table) -> str:
    """Return the type of the ids.

    Args:
        table: The table, refreshed.

    Returns:
        Type of their column, one of a few; jsonb takes every id that csrkit knows.
    """
    return table.columns[table.names.id].type


def is_text(table: Table) -> bool:
    """Tell whether the ids are text, which databases sort by their language.

    Args:
        table: The table, refreshed.

    Returns:
        True for text.
    """
    return id_type(table) in ("text", "character varying")


def spelled(table: Table, ids: Sequence[int | str]) -> list[str]:
    """Spell ids as their column reads them.

    Args:
        table: The table, refreshed.
        ids: Plain ids.

    Returns:
        One text per id.

    Raises:
        StoreError: If the column cannot hold one, or would give it back as another.
    """
    kind = id_type(table)
    if kind == "jsonb":
        return [str(one) if isinstance(one, int) else json.dumps(one) for one in ids]
    is_number = kind != "uuid" and not is_text(table)
    bad = [one for one in ids if isinstance(one, int) != is_number]
    if kind == "uuid" and not bad:
        bad = [one for one in ids if not _is_uuid(str(one))]
    if bad:
        raise StoreError(
            f"table {table.names.table!r}: expected ids of the type {kind}, as its column "
            f"{table.names.id!r} holds them, got {shown(bad)}"
        )
    return [str(one) for one in ids]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
