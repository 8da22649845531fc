"""`PgVectorStore`: codes in a table of PostgreSQL, as pgvector's type ``sparsevec``.

Searches scan the table, exactly; after `PgVectorStore.build_index` they walk an HNSW graph.
Each call is one transaction, or a part of the one that its connection is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from csrkit.stores import Hit
from csrkit.stores import adapter as checks
from csrkit.stores.adapter import Held, Holder, checked_ids, kept_residuals, shown
from csrkit.stores.base import Candidates, Ids, Payload
from csrkit.vectors import SparseVectors
from csrkit_pgvector import schema
from csrkit_pgvector.candidates import brought, named
from csrkit_pgvector.connection import opened
from csrkit_pgvector.index import Finder, build, checked_ef
from csrkit_pgvector.names import Names
from csrkit_pgvector.reading import fetched
from csrkit_pgvector.searching import hits
from csrkit_pgvector.writing import forget, write

__all__ = ["PgVectorStore"]


class PgVectorStore(Holder):
    """Codes in a table: one made here, or one of yours, which gets columns for them.

    Filters are conditions of SQL, ``sql.SQL("payload->>'lang' = {}").format("en")``.

    Args:
        connection: A connection of psycopg, or what `psycopg.connect` takes, to be closed by
            `close`. A search of an index sets ``hnsw.*`` in the session.
        table: Name of the table, or `Names` of it and of its columns. Rows of a table that
            has other columns are never deleted: they lose their code.
        create: Make the table if it is missing; False refuses.
        exact: Scan the table even if there is an index.
        ef_search: Candidates that a search of the index keeps, 1 to 1000: more find more, slower.
        codec: Fingerprint of the codec, ``model.fingerprint``; see `bind`.

    Raises:
        ConfigError: If a name or a setting is out of its range.
        StoreError: If there is no connection, pgvector 0.7 or table, or it cannot hold codes.
    """

    def __init__(
        self,
        connection: Connection[Any] | str,
        table: str | Names,
        *,
        create: bool = True,
        exact: bool = False,
        ef_search: int = 100,
        codec: str | None = None,
    ) -> None:
        ef = checked_ef(ef_search)
        self._table = opened(connection, table, create=create)
        with self._table.kept():
            self._finder = Finder(self._table, exact=exact, ef_search=ef)
            self._table.check(self._table.names.payload, "jsonb", None)
            self._refresh()
            if codec is not None:
                self.bind(codec)

    def _refresh(self) -> Held | None:
        self._known = schema.held(self._table)  # another process may have stored the first codes
        return self._known

    def upsert(
        self,
        ids: Ids,
        codes: SparseVectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        residuals: NDArray[np.uint8] | None = None,
    ) -> None:
        """Insert or replace codes, all of them or none; see `ResidualStore.upsert`."""
        checked = checks.checked_upsert(ids, codes, payloads, self._known, residuals)
        if checked.ids:
            with self._table.reported(f"upsert {shown(checked.ids)}, nothing was stored"):
                held = schema.prepared(self._table, checked, self._noted(checked))
                checks.checked_codec(held.codec, self._codec)
                write(self._table, checked)
            self._known = held

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: sql.Composable | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product; see `Store.search`."""
        if self._searchable(codes, limit) is None:
            return [[] for _ in codes]
        payload = "{payload}" if self._table.names.payload in self._table.columns else ""
        return list(map(hits, self._finder.rows(codes, filter, limit, payload)))

    def candidates(
        self, codes: SparseVectors, *, limit: int, filter: sql.Composable | None = None
    ) -> list[Candidates]:
        """Find codes and bring them along; see `CandidateStore.candidates`."""
        return brought(self._finder, codes, filter, limit, self._searchable(codes, limit))

    def resolve(self, ranked: Sequence[Sequence[tuple[Any, float]]]) -> list[list[Hit]]:
        """Name documents that `candidates` returned; see `CandidateStore.resolve`."""
        return named(self._table, ranked)

    def _searchable(self, codes: SparseVectors, limit: int) -> Held | None:
        checks.checked_limit(limit)
        checks.checked_dim(codes, self.dim)
        return self._known or self._refresh()

    def build_index(self, *, m: int = 16, ef_construction: int = 64) -> None:
        """Build an HNSW graph, best after the load; see `csrkit_pgvector.index.build`."""
        build(self._table, m=m, ef_construction=ef_construction)
        self._refresh()

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order; see `Store.fetch`."""
        return self.fetch_both(ids)[0]

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids; see `ResidualStore.fetch_residuals`."""
        return kept_residuals(self.fetch_both(ids)[1])

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return codes and residuals in one round trip; see `ResidualStore.fetch_both`."""
        return fetched(self._table, checked_ids(ids), self._known or self._refresh())

    def delete(self, ids: Ids) -> None:
        """Remove ids, or in a table of somebody else their codes; see `Store.delete`."""
        plain = checked_ids(ids)
        if plain and (self._known or self._refresh()):
            forget(self._table, plain)

    def count(self) -> int:
        """Return the exact number of ids with a code."""
        if not self._known and not self._refresh():
            return 0
        with self._table.reported("count", atomic=False):
            return int(self._table.run("select count({code}) from {table}")[0][0])

    def close(self) -> None:
        """Close the connection, if the store opened it."""
        self._table.close()
