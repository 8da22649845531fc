"""The vendor's own in-memory mode: its client and models, not its engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient, models

from csrkit.stores import QdrantStore
from csrkit.stores.testing import ResidualStoreContract


class TestQdrantInMemory(ResidualStoreContract):
    def make_store(self, tmp_path: Path) -> QdrantStore:
        self.client = QdrantClient(":memory:")
        return QdrantStore(self.client, "docs")

    def equals(self, key: str, value: int) -> Any:
        match = models.MatchValue(value=value)
        return models.Filter(must=[models.FieldCondition(key=key, match=match)])

    def reopen(self, store: Any, tmp_path: Path) -> QdrantStore:
        return QdrantStore(self.client, "docs")
