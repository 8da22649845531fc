"""Opening a table behind a connection, without letting a password out."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

from csrkit.errors import ConfigError, StoreError
from csrkit_pgvector.schema import ensure
from csrkit_pgvector.table import Names, Table

__all__ = ["opened"]


def opened(connection: Connection[Any] | str, table: str | Names, *, create: bool) -> Table:
    """Open a table.

    Args:
        connection: A connection of psycopg, or what `psycopg.connect` takes; one that is
            opened here commits each statement.
        table: Name of the table, or `Names` of it and of its columns.
        create: Make the table if it is missing.

    Returns:
        The table, which can hold codes.

    Raises:
        ConfigError: If the connection is neither, or a name is out of its range; the string
            is not shown, for it may hold a password.
        StoreError: If the server cannot be reached or refuses, or the table cannot serve.
    """  # noqa: DOC502  # raised by helpers
    ready = _connected(connection)
    try:
        found = Table(ready, table if isinstance(table, Names) else Names(table))
        ensure(found, create=create)
    except BaseException:
        if ready is not connection:
            ready.close()
        raise
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
