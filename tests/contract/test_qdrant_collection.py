"""A collection of a server: whose it is, what is added to it, and its settings.

The real client over HTTP to the real engine; see rest_shim for what stands between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import qdrant_edge
from qdrant_client import QdrantClient, models

from csrkit.errors import ShapeError, StoreError
from csrkit.stores.qdrant import QdrantStore, open_url
from csrkit.stores.testing import random_codes, random_residuals

from .rest_shim import QUICK, RestShim


class TestSharedCollection:
    @pytest.fixture
    def shared(self, client: QdrantClient) -> QdrantStore:
        dense = models.VectorParams(size=2, distance=models.Distance.DOT)
        client.create_collection("shared", vectors_config={"dense": dense})
        client.upsert(
            "shared",
            [
                models.PointStruct(id=i, vector={"dense": [i, 1]}, payload={"text": f"t{i}"})
                for i in range(3)
            ],
        )
        return QdrantStore(client, "shared", retry=QUICK, datatype="float16", on_disk=True)

    def dense(self, client: QdrantClient) -> dict[Any, Any]:
        records = client.retrieve("shared", [0, 1, 2], with_vectors=["dense"])
        return {record.id: record.vector["dense"] for record in records}  # type: ignore[call-overload,index]

    def test_the_vector_is_added_to_a_collection_that_lacks_it(
        self, client: QdrantClient, shared: QdrantStore
    ) -> None:
        index = client.get_collection("shared").config.params.sparse_vectors["csr"].index  # type: ignore[index]
        assert index is not None
        assert (index.datatype, index.on_disk) == (models.Datatype.FLOAT16, True)
        assert shared.count() == 0

    def test_an_upsert_keeps_other_vectors(self, client: QdrantClient, shared: QdrantStore) -> None:
        before = self.dense(client)
        codes = random_codes(0, 4)
        shared.upsert([0, 1, 9], codes[:3])
        assert shared.count() == 3
        assert shared.search(codes[1], limit=1)[0][0].payload == {"text": "t1"}
        shared.upsert([1], codes[3], [{"text": "new"}])
        assert shared.search(codes[3], limit=1)[0][0].payload == {"text": "new"}
        assert self.dense(client) == before
        assert shared.fetch([1]) == codes[3]

    def test_a_point_made_in_between_keeps_its_vectors_and_gets_the_code(
        self, client: QdrantClient, shared: QdrantStore, shim: RestShim
    ) -> None:
        def somebody_else() -> None:
            point = qdrant_edge.Point(50, {"dense": [7.0, 7.0]}, {"text": "theirs"})
            shim["shared"].shard.update(qdrant_edge.UpdateOperation.upsert_points([point]))

        shim.meanwhile["/collections/shared/points/batch"] = somebody_else
        shared.upsert([50], random_codes(0, 1))
        point = client.retrieve("shared", [50], with_vectors=["dense"])[0]
        assert (point.vector, point.payload) == ({"dense": [7, 7]}, {"text": "theirs"})
        assert shared.fetch([50]) == random_codes(0, 1)

    def test_a_point_without_a_code_is_named(self, shared: QdrantStore) -> None:
        shared.upsert([0], random_codes(0, 1))
        with pytest.raises(StoreError, match=r"for \[2\]"):
            shared.fetch([0, 2])

    def test_delete_removes_the_code_and_leaves_the_point(
        self, client: QdrantClient, shared: QdrantStore
    ) -> None:
        before = self.dense(client)
        shared.upsert([0, 1], random_codes(0, 2))
        shared.delete([1, 2, 77])
        assert shared.count() == 1
        assert self.dense(client) == before

    def test_a_vector_added_by_somebody_else_later_is_kept(
        self, client: QdrantClient, store: QdrantStore
    ) -> None:
        codes = random_codes(0, 3)
        store.upsert([1], codes[0], [{"a": 1}])
        other = QdrantStore(client, "docs", name="other", retry=QUICK)
        other.upsert([1], codes[1])
        store.upsert([1], codes[2], [{"a": 2}])
        assert other.fetch([1]) == codes[1]
        assert other.search(codes[1], limit=1)[0][0].payload == {"a": 2}


class TestResiduals:
    def test_they_are_bytes_without_a_graph(self, client: QdrantClient) -> None:
        store = QdrantStore(client, "docs", retry=QUICK, on_disk=True)
        store.upsert([1], random_codes(0, 1), residuals=random_residuals(0, 1))
        vectors: Any = client.get_collection("docs").config.params.vectors
        params = vectors["csr_residual"]
        assert (params.size, params.distance) == (13, models.Distance.DOT)
        assert (params.datatype, params.on_disk) == (models.Datatype.UINT8, True)
        assert params.hnsw_config.m == 0

    def test_codes_and_residuals_come_in_one_request(
        self, shim: RestShim, client: QdrantClient
    ) -> None:
        store = QdrantStore(client, "docs", retry=QUICK)
        store.upsert(range(100), random_codes(0, 100), residuals=random_residuals(0, 100))
        shim.seen.clear()
        store.fetch_both(range(100))
        assert shim.seen == ["POST /collections/docs/points"]

    def test_the_collection_stays_csrkits_own(self, shim: RestShim, store: QdrantStore) -> None:
        codes, residuals = random_codes(0, 2), random_residuals(0, 2)
        store.upsert([1, 2], codes, [{"a": 1}] * 2, residuals=residuals)
        shim.seen.clear()
        store.upsert([1, 2], codes, [{"a": 1}] * 2, residuals=residuals)
        store.delete([1])  # the whole point
        assert not any("/points/batch" in line or "/vectors/" in line for line in shim.seen)

    def test_in_a_shared_collection_they_go_with_the_code(self, client: QdrantClient) -> None:
        dense = models.VectorParams(size=2, distance=models.Distance.DOT)
        client.create_collection("shared", vectors_config={"dense": dense})
        point = models.PointStruct(id=1, vector={"dense": [3, 4]}, payload={"text": "t"})
        client.upsert("shared", [point])
        store = QdrantStore(client, "shared", retry=QUICK)
        codes, residuals = random_codes(0, 2), random_residuals(0, 2)
        store.upsert([1, 2], codes, residuals=residuals)
        fetched, both = store.fetch_both([2, 1])
        assert fetched == codes[::-1]
        np.testing.assert_array_equal(both, residuals[::-1])
        store.delete([1])
        left = client.retrieve("shared", [1], with_vectors=True)[0]
        assert (left.vector, left.payload) == ({"dense": [3, 4]}, {"text": "t"})

    @pytest.mark.parametrize(
        ("size", "distance"), [(12, models.Distance.DOT), (13, models.Distance.COSINE)]
    )
    def test_a_vector_that_cannot_hold_them_is_refused(
        self, client: QdrantClient, size: int, distance: models.Distance
    ) -> None:
        other = models.VectorParams(size=size, distance=distance)
        client.create_collection("docs", vectors_config={"csr_residual": other})
        store = QdrantStore(client, "docs", retry=QUICK)
        with pytest.raises(StoreError, match="cannot hold residuals of 13 bytes"):
            store.upsert([1], random_codes(0, 1), residuals=random_residuals(0, 1))
        assert store.count() == 0

    def test_two_writers_agree(self, client: QdrantClient) -> None:
        one, two = (QdrantStore(client, "docs", retry=QUICK) for _ in range(2))
        one.upsert([1], random_codes(0, 1), residuals=random_residuals(0, 1))
        with pytest.raises(ShapeError, match=r"13 bytes per code.*got none"):
            two.upsert([2], random_codes(0, 1))
        fetched = QdrantStore(client, "docs", retry=QUICK).fetch_residuals([1])
        np.testing.assert_array_equal(fetched, random_residuals(0, 1))


class TestSettings:
    def test_a_missing_collection_is_made_as_asked(
        self, client: QdrantClient, shim: RestShim
    ) -> None:
        QdrantStore(client, "docs", name="codes", on_disk=True, datatype="uint8")
        params = client.get_collection("docs").config.params
        assert params.sparse_vectors is not None
        index = params.sparse_vectors["codes"].index
        assert index is not None
        assert (index.on_disk, index.datatype) == (True, models.Datatype.UINT8)
        QdrantStore(client, "docs", name="codes")  # and opened as it is
        with pytest.raises(StoreError, match="datatype=uint8, got float16"):
            QdrantStore(client, "docs", name="codes", datatype="float16")
        with pytest.raises(StoreError, match="on_disk=True, got False"):
            QdrantStore(client, "docs", name="codes", on_disk=False)
        assert not any(line.startswith("DELETE") for line in shim.seen)

    def test_nothing_is_made_where_nothing_may_be(
        self, client: QdrantClient, shim: RestShim
    ) -> None:
        with pytest.raises(StoreError, match=r"no collection 'dcos' on this server: check"):
            QdrantStore(client, "dcos", create=False)
        client.create_collection("docs", vectors_config={})
        shim.seen.clear()
        with pytest.raises(StoreError, match=r"no codes 'csr' in the collection 'docs': check"):
            QdrantStore(client, "docs", create=False)
        assert {line.split()[0] for line in shim.seen} == {"GET"}
        QdrantStore(client, "docs").upsert([1], random_codes(0, 1))
        assert QdrantStore(client, "docs", create=False).count() == 1

    def test_codes_of_another_codec_are_refused(self, client: QdrantClient) -> None:
        late = QdrantStore(client, "docs", codec="two", retry=QUICK)
        QdrantStore(client, "docs", codec="one").upsert([1], random_codes(0, 1))
        assert client.get_collection("docs").config.metadata == {
            "csrkit.csr": {"dim": 64, "residual_bytes": 0, "codec": "one"}
        }
        with pytest.raises(StoreError, match="of the codec one, got the codec two"):
            QdrantStore(client, "docs", codec="two")
        with pytest.raises(StoreError, match="of the codec one, got the codec two"):
            late.upsert([2], random_codes(0, 1))
        assert late.count() == 1

    def test_a_dense_vector_of_the_name_is_refused(self, client: QdrantClient) -> None:
        dense = models.VectorParams(size=2, distance=models.Distance.DOT)
        client.create_collection("docs", vectors_config={"csr": dense})
        with pytest.raises(StoreError, match="dense vector 'csr'"):
            QdrantStore(client, "docs")

    def test_a_modifier_is_refused(self, client: QdrantClient) -> None:
        idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
        client.create_collection("docs", sparse_vectors_config={"csr": idf})
        with pytest.raises(StoreError, match="modifier 'idf'"):
            QdrantStore(client, "docs")

    def test_an_older_server_cannot_add_the_vector(
        self, client: QdrantClient, shim: RestShim
    ) -> None:
        client.create_collection("docs", vectors_config={})
        shim.fail(404, only="/vectors/")
        with pytest.raises(StoreError, match=r"servers before 1\.18 cannot"):
            QdrantStore(client, "docs")

    def test_a_collection_made_in_between_is_taken(
        self, client: QdrantClient, shim: RestShim
    ) -> None:
        shim.fail(409, applied=True, only="/collections/docs", verb="PUT")
        assert QdrantStore(client, "docs").count() == 0
        assert shim.faults == []

    def test_two_writers_agree_on_the_width(self, client: QdrantClient) -> None:
        one, two = (QdrantStore(client, "docs", retry=QUICK) for _ in range(2))
        one.upsert([1], random_codes(0, 1, dim=64))
        assert two.fetch([1]) == random_codes(0, 1, dim=64)
        three = QdrantStore(client, "docs", retry=QUICK)
        with pytest.raises(ShapeError, match="over 64 latents"):
            three.upsert([2], random_codes(0, 1, dim=65))
        with pytest.raises(ShapeError, match="over 64 latents"):
            two.upsert([2], random_codes(0, 1, dim=65))


class TestUrl:
    def open(self, shim: RestShim) -> QdrantStore:
        return open_url(f"qdrant://127.0.0.1:{shim.port}/docs", create=True)

    def test_a_url_opens_the_collection(
        self, shim: RestShim, store: QdrantStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("QDRANT_API_KEY", raising=False)
        store.upsert([1], random_codes(0, 1))
        assert self.open(shim).count() == 1
        assert shim.api_keys == {None}

    def test_a_mistyped_url_makes_no_collection(
        self, shim: RestShim, store: QdrantStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("QDRANT_API_KEY", raising=False)
        with pytest.raises(StoreError, match="no collection 'dcos' on this server"):
            open_url(f"qdrant://127.0.0.1:{shim.port}/dcos")
        assert list(shim.collections) == ["docs"]

    @pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
    def test_the_key_goes_to_the_loopback(
        self, shim: RestShim, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("QDRANT_API_KEY", "s3cret")
        self.open(shim)
        assert shim.api_keys == {"s3cret"}
