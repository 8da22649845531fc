"""The published contract on PostgreSQL 18 and pgvector: exact, along the index, on odd names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg import sql

from csrkit.errors import StoreError
from csrkit.stores import Store
from csrkit.stores.testing import (
    CandidateStoreContract,
    CodecStoreContract,
    ResidualStoreContract,
    random_codes,
)
from csrkit.stores.testing._search import SearchLaws
from csrkit.vectors import SparseVectors
from csrkit_pgvector import Names, PgVectorStore


class Made:
    """How a store is made: over a connection of its own, in a table of the test's own."""

    names: ClassVar[dict[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _connections(self, server: str) -> Iterator[None]:
        self.server, self.opened = server, list[psycopg.Connection[Any]]()
        yield
        for connection in self.opened:
            connection.close()

    def make_store(self, tmp_path: Path) -> PgVectorStore:
        self.opened.append(psycopg.connect(self.server, autocommit=True))
        return PgVectorStore(self.opened[-1], Names(str(tmp_path)[-60:], **self.names))

    def equals(self, key: str, value: int) -> Any:
        payload = sql.Identifier(self.names.get("payload", "payload"))
        return sql.SQL("({} -> {})::int = {}").format(payload, key, value)

    def reopen(self, store: Any, tmp_path: Path) -> PgVectorStore:
        return self.make_store(tmp_path)


class TestPgVectorStore(Made, ResidualStoreContract, CodecStoreContract, CandidateStoreContract):
    def test_wide_codes(self, store: Store) -> None:
        """Relaxed: pgvector's sparsevec has at most 10**9 dimensions, not 2**31 - 1."""
        dim = 10**9
        codes = SparseVectors([0, 2, 3], [0, dim - 1, 70_000], [0.5, 0.25, 1.0], dim)  # type: ignore[arg-type]  # the constructor converts
        store, exact = self.filled(store, codes)
        self.check(store, exact, codes)
        assert store.fetch([0, 1]) == codes

    def test_wider_codes_are_refused(self, store: Store) -> None:
        codes = SparseVectors([0, 1], [7], [0.5], 2**31 - 1)  # type: ignore[arg-type]  # the constructor converts
        with pytest.raises(StoreError, match="cannot exceed 1000000000"):
            store.upsert([1], codes)
        store.upsert([1], random_codes(0, 1))  # nothing was fixed


class TestOddNames(Made, SearchLaws):
    names: ClassVar = {
        "id": 'the "id"; drop table docs --',
        "payload": "pay load %s",
        "code": "ünïcode'{}",
    }


class TestIndex(Made, SearchLaws):
    """HNSW on data so small that it misses nothing."""

    def settle(self, store: Any) -> PgVectorStore:
        store.build_index()
        self.opened[-1].execute("set enable_seqscan = off")  # the planner would scan so few rows
        return store
