"""The columns of codes and of residuals: what they hold, and how they are added."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from csrkit.stores.adapter import Held, Upsert, checked_held
from csrkit_pgvector.notes import Note
from csrkit_pgvector.table import Table

__all__ = ["add_columns", "comment", "held", "prepared"]


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
        comment(table, codes)


def comment(table: Table, codes: Held, job: dict[str, Any] | None = None) -> None:
    """Note what codes are, in place of an older note.

    Args:
        table: The table.
        codes: What their column holds.
        job: Marker of the job that adds it, or None.
    """
    note = Note(residual_bytes=codes.residual_bytes, codec=codes.codec, job=job)
    words = sql.Literal(note.model_dump_json())
    table.run(table.composed("comment on column {table}.{code} is {words}", words=words))
