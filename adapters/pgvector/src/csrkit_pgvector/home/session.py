"""`Session`: a table and its connection as one job needs them, and failures sorted for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from csrkit.collection.home import Busy, DenseVector
from csrkit.errors import ConfigError, StoreError
from csrkit_pgvector.connection import opened
from csrkit_pgvector.home.facts import dense_of
from csrkit_pgvector.keys import id_type
from csrkit_pgvector.names import Names
from csrkit_pgvector.table import Table
from csrkit_pgvector.urls import url_of

__all__ = ["Session"]

_PATIENCE = "set local lock_timeout = '5s'"  # a lock that is waited for holds up everybody else
# what may pass: lost connections, deadlocks, full disks and memory, locks, shutdowns, time-outs
_PASSING = ("08", "40", "53", "55P03", "57P", "57014")


class Session:
    """A table on a connection that is opened again after it was lost, if that can be done here.

    Args:
        connection: A connection of psycopg, or what `psycopg.connect` takes: only the latter
            can be opened again, and is closed by `close`.
        table: Name of the table, or `Names` of it and of its key.

    Attributes:
        table: The table as it was last seen.
        url: Where it is, without any secret.

    Raises:
        ConfigError: If a name is out of its range, or the key is jsonb.
        StoreError: If there is no connection, no pgvector 0.7 or no such table.
    """

    def __init__(self, connection: Connection[Any] | str, table: str | Names) -> None:
        self._conninfo = connection if isinstance(connection, str) else None
        self.table = opened(connection, table, create=False)
        self.url = url_of(self.table.connection, self.table.names)
        with self.table.kept():
            if id_type(self.table) == "jsonb":
                raise ConfigError(
                    f"expected {self.url} to be keyed by a whole number, a uuid or text, got "
                    "jsonb: name another unique column, Names(table, id=...)"
                )

    @contextmanager
    def calling(self, doing: str, *, atomic: bool = False) -> Iterator[Table]:
        """Yield the table, on a living connection; what may pass becomes `Busy`.

        Args:
            doing: What it does, for the message.
            atomic: Undo all of it if a part fails.

        Yields:
            The table.

        Raises:
            Busy: If it failed and may not fail later.
            StoreError: If it failed for good.
        """
        if self._conninfo is not None and self.table.connection.closed:
            try:
                self.table.connection = psycopg.connect(self._conninfo, autocommit=True)
            except psycopg.Error as error:
                raise Busy(f"cannot connect to PostgreSQL: {str(error).strip()}") from error
        try:
            with self.table.reported(doing, atomic=atomic):
                yield self.table
        except StoreError as error:
            is_lost = self.table.connection.closed
            state = getattr(error.__cause__, "sqlstate", None) or ("08" if is_lost else "")
            if state.startswith(_PASSING) and not (is_lost and self._conninfo is None):
                raise Busy(str(error)) from error.__cause__
            raise

    @contextmanager
    def altering(self, doing: str) -> Iterator[Table]:
        """Yield the table in a transaction that does not wait for others, as they would for it.

        Args:
            doing: What it does, for the message.

        Yields:
            The table.
        """
        with self.calling(doing, atomic=True):
            self.table.run(_PATIENCE)
            yield self.table

    def named(self, name: str) -> Table:
        """Look at the codes of a name; to be called in `calling`.

        Args:
            name: Name of their column, which need not be there.

        Returns:
            The table with these codes, refreshed.
        """
        found = Table(self.table.connection, self.table.names._replace(code=name))
        found.refresh()
        return found

    def source(self, vector: str) -> DenseVector:
        """Look at a dense vector.

        Args:
            vector: Name of its column.

        Returns:
            What is known of it now.

        Raises:
            StoreError: If there is none (any more).
        """
        with self.calling(f"look at {vector!r}") as table:
            table.refresh()
            found = dense_of(table, vector)
        if found is None:
            title = self.table.names.table
            raise StoreError(f"table {title!r} has no dense vector {vector!r} (any more)")
        return found

    def close(self) -> None:
        """Close the connection if it was opened here."""
        self.table.close()
