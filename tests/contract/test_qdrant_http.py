"""The real client over HTTP to the real engine; see rest_shim for what stands between."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from csrkit.errors import StoreError
from csrkit.stores.qdrant import QdrantStore
from csrkit.stores.testing import (
    CandidateStoreContract,
    CodecStoreContract,
    DenseStoreContract,
    ResidualStoreContract,
    random_codes,
    random_residuals,
)

from .rest_shim import QUICK, RestShim, running


class TestQdrantOverHttp(CandidateStoreContract, ResidualStoreContract, CodecStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, client: QdrantClient) -> None:
        self.client = client

    def make_store(self, tmp_path: Path) -> QdrantStore:
        return QdrantStore(self.client, "docs", retry=QUICK)

    def equals(self, key: str, value: int) -> Any:
        match = models.MatchValue(value=value)
        return models.Filter(must=[models.FieldCondition(key=key, match=match)])

    def reopen(self, store: Any, tmp_path: Path) -> QdrantStore:
        return QdrantStore(self.client, "docs", retry=QUICK)


class TestQdrantDenseOverHttp(DenseStoreContract):
    _server = TestQdrantOverHttp._server
    make_store = TestQdrantOverHttp.make_store
    equals = TestQdrantOverHttp.equals

    def make_dense_store(self, tmp_path: Path, vector: str, dim: int) -> QdrantStore:
        params = models.VectorParams(size=dim, distance=models.Distance.COSINE)
        self.client.create_collection("docs", vectors_config={vector: params})
        return QdrantStore(self.client, "docs", retry=QUICK)

    def put_dense(self, store: Any, vector: str, ids: Any, rows: Any) -> None:
        pairs = zip(ids, rows.tolist(), strict=True)
        points = [models.PointVectors(id=one, vector={vector: row}) for one, row in pairs]
        self.client.update_vectors("docs", points)

    def test_queries_are_one_request(
        self, dense_store: QdrantStore, docs: Any, rows: Any, shim: RestShim
    ) -> None:
        dense_store.search_dense(docs[:9], rows[:9], vector="dense", candidates=20)
        shim.seen.clear()
        dense_store.search_dense(docs[:9], rows[:9], vector="dense", candidates=20)
        assert shim.seen == ["POST /collections/docs/points/query/batch"]

    def test_the_residuals_are_no_vector_to_rank_by(self, store: QdrantStore) -> None:
        store.upsert([1], random_codes(0, 1), residuals=random_residuals(0, 1))
        query = np.ones((1, 13), np.float32)
        with pytest.raises(StoreError, match=r"no dense vector 'csr_residual': it holds none"):
            store.search_dense(random_codes(0, 1), query, vector="csr_residual", candidates=10)


class TestFaults:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, None])
    @pytest.mark.parametrize("applied", [False, True])
    def test_what_may_pass_is_tried_again(
        self, shim: RestShim, store: QdrantStore, status: int | None, applied: bool
    ) -> None:
        codes = random_codes(0, 6)
        shim.fail(status, 2, applied=applied)
        store.upsert(range(6), codes, [{"row": row} for row in range(6)])
        assert store.fetch(range(6)) == codes
        assert sum(line.startswith("PUT /collections/docs/points") for line in shim.seen) == 4
        shim.fail(status, 1, applied=applied)
        assert store.search(codes[3], limit=1)[0][0].id == 3
        shim.fail(status, 1, applied=applied)
        store.delete([3])
        shim.fail(status, 1, applied=applied)
        assert store.count() == 5

    @pytest.mark.parametrize("applied", [False, True])
    def test_an_upsert_without_payloads_is_harmless_to_repeat(
        self, shim: RestShim, store: QdrantStore, applied: bool
    ) -> None:
        codes = random_codes(1, 4)
        store.upsert(["a", "b"], codes[:2], [{"kept": 1}, None])
        shim.fail(500, 2, applied=applied, only="/points/batch")
        store.upsert(["a", "c"], codes[2:])
        assert store.fetch(["a", "b", "c"]) == codes[[2, 1, 3]]
        assert {hit.id: hit.payload for hit in store.search(random_codes(1, 1, k=64))[0]} == {
            "a": {"kept": 1},
            "b": None,
            "c": None,
        }

    def test_retry_after_is_waited_for(self, shim: RestShim, store: QdrantStore) -> None:
        shim.fail(429, Retry_After="1")
        started = time.monotonic()
        store.upsert([1], random_codes(0, 1), [None])
        assert 1 <= time.monotonic() - started < 3
        assert store.count() == 1

    def test_retry_after_with_a_date_counts_as_passing(
        self, shim: RestShim, store: QdrantStore
    ) -> None:
        shim.fail(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")
        store.upsert([1], random_codes(0, 1), [None])
        assert store.count() == 1

    def test_a_server_that_asks_for_minutes_is_not_waited_for(
        self, shim: RestShim, store: QdrantStore
    ) -> None:
        shim.fail(429, Retry_After="600")
        with pytest.raises(StoreError, match=r"upsert \[1\]"):
            store.upsert([1], random_codes(0, 1), [None])

    def test_failing_for_good_names_the_ids(self, shim: RestShim, store: QdrantStore) -> None:
        ids = ["a", "b", "c", "d", "e", "f"]
        shim.fail(500, QUICK.attempts)
        with pytest.raises(StoreError) as caught:
            store.upsert(ids, random_codes(0, 6), [None] * 6)
        assert "upsert ['a', 'b', 'c', 'd'], after 0 of 6 were stored" in str(caught.value)
        assert "500" in str(caught.value)
        assert isinstance(caught.value.__cause__, UnexpectedResponse)
        assert store.count() == 0

    def test_a_later_batch_that_fails_tells_how_many_are_stored(
        self, client: QdrantClient, shim: RestShim
    ) -> None:
        store = QdrantStore(client, "docs", retry=QUICK, batch_size=4)
        shim.refused = b'"poison"'
        with pytest.raises(StoreError) as caught:
            store.upsert(range(9), random_codes(0, 9), [None] * 8 + [{"poison": 1}])
        assert "upsert [8], after 8 of 9 were stored" in str(caught.value)
        assert "the server's own words" in str(caught.value)
        assert store.count() == 8

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
    def test_what_cannot_pass_is_not_tried_again(
        self, shim: RestShim, store: QdrantStore, status: int
    ) -> None:
        shim.fail(status)
        shim.seen.clear()
        with pytest.raises(StoreError, match=f"{status}"):
            store.upsert([1], random_codes(0, 1), [None])
        assert sum("/points" in line for line in shim.seen) == 1

    def test_nothing_is_sent_when_an_argument_is_refused(
        self, shim: RestShim, store: QdrantStore
    ) -> None:
        shim.seen.clear()
        with pytest.raises(StoreError):
            store.upsert([1, -1], random_codes(0, 2))
        with pytest.raises(StoreError):
            store.fetch([-1])
        with pytest.raises(StoreError, match="csrkit_id"):
            store.upsert([1], random_codes(0, 1), [{"csrkit_id": "x"}])
        assert shim.seen == []

    def test_a_filter_of_another_vendor_is_refused(self, store: QdrantStore) -> None:
        store.upsert([1], random_codes(0, 1))
        with pytest.raises(StoreError, match="cannot search: ValidationError") as caught:
            store.search(random_codes(0, 1), filter=12)  # type: ignore[arg-type]
        assert isinstance(caught.value.__cause__, ValueError)

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        with running(tmp_path) as gone:
            url = gone.url
        client = QdrantClient(url=url, check_compatibility=False)
        with pytest.raises(StoreError, match="cannot look it up: ConnectError"):
            QdrantStore(client, "docs", retry=QUICK)
