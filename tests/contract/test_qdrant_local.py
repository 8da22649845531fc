"""The vendor's own in-memory mode: its client and models, not its engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient, models

from csrkit.stores import QdrantStore
from csrkit.stores.testing import (
    CandidateStoreContract,
    CodecStoreContract,
    DenseStoreContract,
    ResidualStoreContract,
)


class TestQdrantInMemory(CandidateStoreContract, ResidualStoreContract, CodecStoreContract):
    def make_store(self, tmp_path: Path) -> QdrantStore:
        self.client = QdrantClient(":memory:")
        return QdrantStore(self.client, "docs")

    def equals(self, key: str, value: int) -> Any:
        match = models.MatchValue(value=value)
        return models.Filter(must=[models.FieldCondition(key=key, match=match)])

    def reopen(self, store: Any, tmp_path: Path) -> QdrantStore:
        return QdrantStore(self.client, "docs")


class TestQdrantDenseInMemory(DenseStoreContract):
    make_store = TestQdrantInMemory.make_store
    equals = TestQdrantInMemory.equals

    def make_dense_store(self, tmp_path: Path, vector: str, dim: int) -> QdrantStore:
        self.client = QdrantClient(":memory:")
        params = models.VectorParams(size=dim, distance=models.Distance.COSINE)
        self.client.create_collection("docs", vectors_config={vector: params})
        return QdrantStore(self.client, "docs")

    def put_dense(self, store: Any, vector: str, ids: Any, rows: Any) -> None:
        pairs = zip(ids, rows.tolist(), strict=True)
        points = [models.PointVectors(id=one, vector={vector: row}) for one, row in pairs]
        self.client.update_vectors("docs", points)
