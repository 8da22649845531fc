"""Storing and forgetting codes: a COPY for new ids, by way of a temporary table for the rest.

The temporary table is made once per session and emptied at each commit, so that upserts
leave no dead rows in the server's catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.errors import UniqueViolation

from csrkit.errors import StoreError
from csrkit.stores.adapter import Upsert, shown
from csrkit_pgvector.keys import id_type, spelled
from csrkit_pgvector.rows import copied, in_order
from csrkit_pgvector.table import Table

__all__ = ["forget", "update", "write"]

_COPY = "copy {table} (%(columns)s) from stdin (format binary)"
_STAGE = """
create temp table if not exists csrkit_staged
(id text, payload jsonb, code sparsevec, residual bytea) on commit delete rows
"""
_EMPTY = "delete from pg_temp.csrkit_staged"  # what an earlier call of this transaction left
_COPY_STAGED = "copy pg_temp.csrkit_staged (%(fields)s) from stdin (format binary)"
# all in the order of the ids, or two writers could wait for each other
_LOCK = """
select from {table} t join pg_temp.csrkit_staged s on t.{id} = s.id::{type}
order by t.{id} for update of t
"""
_UPDATE = """
update {table} t set %(changes)s from pg_temp.csrkit_staged s where t.{id} = s.id::{type}
"""
_INSERT = """
insert into {table} (%(columns)s) select id::{type}%(sources)s from pg_temp.csrkit_staged s
where not exists (select from {table} t where t.{id} = s.id::{type})
order by 1 on conflict ({id}) do update set %(excluded)s
"""
# the order keeps the planner from a scan that hopes for an early end
_BETWEEN = """
select from {table} where {id} between %s::jsonb and %s::jsonb order by {id} limit 1
"""
_BATCH = 10_000  # codes per COPY, which hold some megabytes


def write(table: Table, upsert: Upsert) -> None:
    """Insert or replace codes.

    Args:
        table: The table with its columns, refreshed, in a transaction.
        upsert: What to store.

    Raises:
        StoreError: If a payload comes where there is no column for it, or an id that the
            column of ids cannot hold.
        psycopg.Error: If the server refuses.
    """  # noqa: DOC502  # raised by helpers
    is_empty = not table.run("select exists (select from {table})")[0][0]
    for batch, _ in in_order(upsert).batches(_BATCH):
        _write(table, batch, is_new=is_empty)


def _write(table: Table, batch: Upsert, *, is_new: bool) -> None:
    texts = spelled(table, batch.ids)
    kept = ["code"] if batch.residuals is None else ["code", "residual"]
    if table.names.payload in table.columns:
        kept = ["payload", *kept]
    elif any(batch.payloads or ()):
        raise StoreError(
            f"table {table.names.table!r} has no column {table.names.payload!r} for the payloads "
            f"of {shown(batch.ids)}: store codes without payloads, or add it, of type jsonb"
        )
    changed = [one for one in kept if one != "payload" or batch.payloads is not None]
    words = {
        "columns": ", ".join(f"{{{one}}}" for one in ["id", *kept]),
        "sources": "".join(f", {one}" for one in kept),
        "changes": ", ".join(f"{{{one}}} = s.{one}" for one in changed),
        "excluded": ", ".join(f"{{{one}}} = excluded.{{{one}}}" for one in changed),
    }
    if id_type(table) == "jsonb" and (is_new or not _is_any_stored(table, batch.ids, texts)):
        rows = copied(batch, [b"\1" + one.encode() for one in texts], kept)
        try:
            with table.connection.transaction():
                table.copy(_COPY % words, rows)
            return
        except UniqueViolation:  # another writer has stored one of them meanwhile
            pass
    _stage(table, batch, texts, kept)
    for statement in (_LOCK, _UPDATE, _INSERT):
        table.run(statement % words)


def _is_any_stored(table: Table, ids: Sequence[int | str], texts: list[str]) -> bool:
    is_numbers = isinstance(ids[0], int)  # strings come first
    if is_numbers and not table.run(_BETWEEN, texts[0], texts[-1]):
        return False
    there = "select exists (select from {table} where {id} = any(%s::text[]::jsonb[]))"
    return bool(table.run(there, texts)[0][0])


def _stage(table: Table, batch: Upsert, texts: list[str], kept: list[str]) -> None:
    table.run(_STAGE)
    table.run(_EMPTY)
    rows = copied(batch, [one.encode() for one in texts], kept)
    table.copy(_COPY_STAGED % {"fields": ", ".join(["id", *kept])}, rows)


def update(table: Table, batch: Upsert) -> set[str]:
    """Set codes and residuals on rows that are there, and make none.

    Args:
        table: The table with its columns, refreshed, in a transaction.
        batch: Ids with codes, and residuals if the table keeps them.

    Returns:
        The ids that were there, as text.

    Raises:
        StoreError: If the column of ids cannot hold one.
        psycopg.Error: If the server refuses.
    """  # noqa: DOC502  # raised by helpers
    kept = ["code"] if batch.residuals is None else ["code", "residual"]
    changes = ", ".join(f"{{{one}}} = s.{one}" for one in kept)
    _stage(table, batch, spelled(table, batch.ids), kept)
    table.run(_LOCK)
    return {one for (one,) in table.run(_UPDATE % {"changes": changes} + " returning s.id")}


def forget(table: Table, ids: Sequence[int | str]) -> None:
    """Delete rows, or in a table with columns of somebody else what csrkit keeps in them.

    Args:
        table: The table with codes, refreshed.
        ids: Plain ids; those that are not there are ignored.

    Raises:
        StoreError: If the column of ids cannot hold one, or the server refuses.
    """  # noqa: DOC502  # raised by helpers
    names = table.names
    if {names.id, names.payload, names.code, names.residual}.issuperset(table.columns):
        verb = "delete from {table}"
    else:
        rest = ", {residual} = null" if names.residual in table.columns else ""
        verb = "update {table} set {code} = null" + rest
    with table.reported(f"delete {shown(ids)}"):
        table.run(verb + " where {id} = any(%s::text[]::{type}[])", spelled(table, ids))
