from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import qdrant_edge

from csrkit.stores import EdgeStore
from csrkit.stores.testing import (
    CandidateStoreContract,
    CodecStoreContract,
    DenseStoreContract,
    ResidualStoreContract,
    random_codes,
)
from csrkit.stores.testing._search import SearchLaws
from csrkit.vectors import SparseVectors


class TestEdgeStore(CandidateStoreContract, ResidualStoreContract, CodecStoreContract):
    settings: ClassVar[dict[str, Any]] = {}

    def make_store(self, tmp_path: Path) -> EdgeStore:
        return EdgeStore(tmp_path / "index", **self.settings)

    def equals(self, key: str, value: int) -> Any:
        match = qdrant_edge.MatchValue(value)
        return qdrant_edge.Filter(must=[qdrant_edge.FieldCondition(key, match=match)])

    def reopen(self, store: Any, tmp_path: Path) -> EdgeStore:
        store.close()
        return EdgeStore(tmp_path / "index", **self.settings)


class TestEdgeDense(DenseStoreContract):
    settings: ClassVar[dict[str, Any]] = {}
    make_store = TestEdgeStore.make_store
    equals = TestEdgeStore.equals

    def make_dense_store(self, tmp_path: Path, vector: str, dim: int) -> EdgeStore:
        store = self.make_store(tmp_path)
        operation = qdrant_edge.UpdateOperation.create_dense_vector(
            vector, dim, qdrant_edge.Distance.Cosine
        )
        store.shard.update(operation)
        return store

    def put_dense(self, store: Any, vector: str, ids: Any, rows: Any) -> None:
        pairs = zip(ids, rows.tolist(), strict=True)
        points = [qdrant_edge.PointVectors(one, {vector: row}) for one, row in pairs]
        store.shard.update(qdrant_edge.UpdateOperation.update_vectors(points))


class OnFinalIndex(SearchLaws):
    """Searches what the engine's optimizer wrote: only there do datatype and on_disk matter."""

    settings: ClassVar[dict[str, Any]] = {}
    make_store = TestEdgeStore.make_store
    equals = TestEdgeStore.equals

    def settle(self, store: Any) -> EdgeStore:
        folder = store._folder
        store.close()
        index_all = qdrant_edge.EdgeConfig(
            sparse_vectors={"csr": self.params()},
            optimizers=qdrant_edge.EdgeOptimizersConfig(
                indexing_threshold=1,  # kB; the default of 10 MB would leave test data as it is
                default_segment_number=1,
            ),
        )
        qdrant_edge.EdgeShard.load(str(folder / "engine"), index_all).close()
        store = EdgeStore(folder, **self.settings)
        self.optimized = store.optimize()
        return store

    def params(self) -> Any:
        names = {"float32": "Float32", "float16": "Float16", "uint8": "Uint8"}
        datatype = names[self.settings.get("datatype", "float32")]
        on_disk = self.settings.get("on_disk")
        return qdrant_edge.EdgeSparseVectorParams(
            datatype=getattr(qdrant_edge.VectorStorageDatatype, datatype),
            memory=qdrant_edge.Memory.Cold if on_disk else qdrant_edge.Memory.Pinned,
        )

    def test_the_final_index_was_built(self, tmp_path: Path) -> None:
        self.filled(self.make_store(tmp_path), random_codes(0, 200))
        assert self.optimized

    def test_changes_after_the_final_index_was_built(self, tmp_path: Path) -> None:
        codes = random_codes(1, 200)
        store, exact = self.filled(self.make_store(tmp_path), codes)
        for target in (store, exact):
            target.upsert(range(0, 250, 5), random_codes(2, 50), [{"new": 1}] * 50)
            target.upsert([7, 8, "more"], codes[[9, 10, 11]])
            target.delete(range(100, 150))
        self.check(store, exact, random_codes(3, 20))
        assert store.fetch([0, 7, 199]) == SparseVectors.concat(
            [random_codes(2, 50)[0], codes[9], codes[199]]
        )


class TestOnDisk(OnFinalIndex):
    settings: ClassVar[dict[str, Any]] = {"on_disk": True}


class TestFloat16(OnFinalIndex):
    settings: ClassVar[dict[str, Any]] = {"datatype": "float16"}
    tolerance = 2e-3  # half a unit of 11 bits per value, six products of values up to 1


class TestUint8(OnFinalIndex):
    settings: ClassVar[dict[str, Any]] = {"datatype": "uint8"}
    tolerance = 2e-2  # half a step of 1/255 per value, six products of values up to 1
