"""Opening a table behind a connection, without letting a password out."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

from csrkit.errors import ConfigError, StoreError
from csrkit_pgvector.names import Names
from csrkit_pgvector.table import Table

__all__ = ["opened"]

_SPARSEVEC = (0, 7)  # version of pgvector that brought the type
_INSTALLED = "select extversion from pg_extension where extname = 'vector'"
# or two that begin together would both try: "if not exists" does not prevent that
_LOCK = "select pg_advisory_xact_lock(hashtext('csrkit'))"
# codes get their column at the first upsert, which knows their width
_MAKE = "create table if not exists {table} ({id} jsonb primary key, {payload} jsonb)"


def opened(connection: Connection[Any] | str, table: str | Names, *, create: bool) -> Table:
    """Open a table.

    Args:
        connection: A connection of psycopg, or what `psycopg.connect` takes; one that is
            opened here commits each statement.
        table: Name of the table, or `Names` of it and of its columns.
        create: Make the table if it is missing.

    Returns:
        The table, which can hold codes, and owns a connection that was opened here.

    Raises:
        ConfigError: If the connection is neither, or a name is out of its range; the string
            is not shown, for it may hold a password.
        StoreError: If the server cannot be reached or refuses, pgvector is missing or older
            than 0.7, or the table is and may not be made, or it cannot serve.
    """  # noqa: DOC502  # raised by helpers
    names = table if isinstance(table, Names) else Names(table)
    names.identifiers()  # before there is a connection to close
    found = Table(_connected(connection), names, is_own=isinstance(connection, str))
    with found.kept():
        _check_extension(found)
        found.refresh()
        if not found.columns:
            _make(found, may=create)
    return found


def _connected(connection: Connection[Any] | str) -> Connection[Any]:
    if isinstance(connection, Connection):
        return connection
    if not isinstance(connection, str):
        raise ConfigError(
            "expected a psycopg.Connection (no asynchronous one, no pool) or a connection "
            f"string, got {type(connection).__name__}"
        )
    try:
        return psycopg.connect(connection, autocommit=True)
    except psycopg.ProgrammingError:
        raise ConfigError(
            "expected a connection string such as 'host=localhost dbname=app user=me' or "
            "'postgresql://me@localhost/app', got one that libpq cannot read"
        ) from None  # libpq's words quote the string
    except psycopg.Error as error:
        raise StoreError(f"cannot connect to PostgreSQL: {str(error).strip()}") from error


def _check_extension(table: Table) -> None:
    with table.reported("look for pgvector", atomic=False):
        found = table.run(_INSTALLED)
    if not found or tuple(map(int, found[0][0].split(".")[:2])) < _SPARSEVEC:
        raise StoreError(
            "expected a database with pgvector 0.7 or later, got "
            f"{'pgvector ' + found[0][0] if found else 'one without it'}: let somebody with the "
            "right to run `create extension vector` there, or `alter extension vector update`"
        )


def _make(table: Table, *, may: bool) -> None:
    if not may:
        raise StoreError(
            f"no table {table.names.table!r} in this database: check the name, or make it with "
            f"PgVectorStore(connection, {table.names.table!r})"
        )
    with table.reported("make it"):
        table.run(_LOCK)
        table.run(_MAKE)
    table.refresh()
