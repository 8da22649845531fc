"""`PgHome`: the methods of a home, each done by a function that has its own reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from csrkit.collection.home import CodeVector, Description, Marker, Page, PointId
from csrkit.stores import Hit
from csrkit.vectors import SparseVectors
from csrkit_pgvector.home import columns, listing, pages, scans
from csrkit_pgvector.home.facts import described
from csrkit_pgvector.home.session import Session
from csrkit_pgvector.names import Names
from csrkit_pgvector.urls import parsed

__all__ = ["PgHome", "open_home"]

_SIZE = "select pg_total_relation_size(to_regclass(%s))"


class PgHome:
    """A table of PostgreSQL with pgvector; see `csrkit.collection.home.Home`.

    Ids are whole numbers, uuids or text. The payload of a row are its other columns. The
    distance of a dense vector is that of its index, or cosine if it has none.

    Args:
        connection: A connection of psycopg, or what `psycopg.connect` takes: only with the
            latter a job goes on after a lost connection.
        table: Name of the table, or `Names` of it and of its key.

    Raises:
        ConfigError: If a name is out of its range, or the key is jsonb.
        StoreError: If there is no connection, no pgvector 0.7 or no such table.
    """

    def __init__(self, connection: Connection[Any] | str, table: str | Names) -> None:
        self._session = Session(connection, table)
        self.url = self._session.url

    def describe(self) -> Description:
        """Return what the table is now; see `Home.describe`."""
        with self._session.calling("describe it") as table:
            return described(table)

    def ids(
        self, after: PointId | None = None, *, size: int = 4096, filter: Any = None
    ) -> Iterator[list[PointId]]:
        """List ids in the order of the key; see `Home.ids`."""
        return listing.listed(self._session, after, size, filter)

    def missing(
        self, name: str, after: PointId | None = None, *, size: int = 4096
    ) -> Iterator[list[PointId]]:
        """List the ids of rows where a column is null; see `Home.missing`."""
        is_null = sql.SQL("{} is null").format(sql.Identifier(name))
        return listing.listed(self._session, after, size, is_null)

    def sample(self, n: int, vector: str, *, seed: int = 0) -> Page:
        """Draw rows, of which it reads no more than the ids; see `Home.sample`."""
        return pages.sampled(self._session, n, vector, seed)

    def read(
        self,
        ids: Sequence[PointId],
        *,
        vector: str | None = None,
        codes: CodeVector | None = None,
        payload: bool = False,
    ) -> Page:
        """Read rows by id; see `Home.read`."""
        return pages.read(self._session, ids, vector=vector, codes=codes, payload=payload)

    def write(self, codes: CodeVector, page: Page) -> list[PointId]:
        """Set codes on rows that are there; see `Home.write`."""
        return pages.write(self._session, codes, page)

    def exact(
        self, queries: NDArray[np.float32], vector: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search a dense vector by a scan of the table; see `Home.exact`."""
        return scans.exact(self._session, queries, vector, limit, filter)

    def sparse(
        self, queries: SparseVectors, name: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search the codes by a scan of the table; see `Home.sparse`."""
        return scans.sparse(self._session, queries, name, limit, filter)

    def matching(self, field: str, value: str | int | bool) -> sql.Composed:
        """Return a condition on a column, or on a field of ``payload``; see `Home.matching`."""
        return scans.matching(self._session.table, field, value)

    def add(self, codes: CodeVector) -> None:
        """Add the columns; see `Home.add`."""
        columns.add(self._session, codes)

    def drop(self, codes: CodeVector) -> None:
        """Drop the columns; see `Home.drop`."""
        columns.drop(self._session, codes)

    def marker(self, name: str) -> Marker | None:
        """Return who added the codes; see `Home.marker`."""
        return columns.marker(self._session, name)

    def mark(self, marker: Marker) -> None:
        """Add the columns with a marker, or replace their marker; see `Home.mark`."""
        columns.mark(self._session, marker)

    def unmark(self, name: str) -> None:
        """Remove a marker; see `Home.unmark`."""
        columns.unmark(self._session, name)

    def snapshot(self) -> str | None:
        """Return None: backups are the server's owner's; see `Home.snapshot`."""
        return None

    def move_to_disk(self, vector: str) -> bool:
        """Return False: a table is on disk; see `Home.move_to_disk`."""
        return False

    def drop_dense(self, vector: str) -> None:
        """Drop a column of vectors, with its indexes; see `Home.drop_dense`."""
        columns.drop_dense(self._session, vector)

    def disk_bytes(self) -> int | None:
        """Return the bytes of the table and its indexes; see `Home.disk_bytes`."""
        with self._session.calling("measure it") as table:
            return int(table.run(_SIZE, table.quoted)[0][0])

    def close(self) -> None:
        """Close the connection if it was opened here; see `Home.close`."""
        self._session.close()


def open_home(url: str) -> PgHome:
    """Open ``pg://user@host:5432/database/table`` as a home of jobs.

    Args:
        url: The place; see `parsed`.

    Returns:
        The home, with a connection of its own.
    """
    return PgHome(*parsed(url))
