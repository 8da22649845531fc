"""`QdrantHome`: the real client over HTTP to the real engine; faults, and a whole job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from csrkit.collection import Job, compress
from csrkit.collection.home import Busy
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.errors import ConfigError, JobError, StoreError
from csrkit.stores import QdrantStore

from ..contract.rest_shim import QUICK, RestShim, running
from .home_laws import CODES, MARKER, HomeLaws, random_page
from .models import random_model
from .servers import everything, fill
from .shards import point_ids

N = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RestShim) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def shim(server: RestShim, client: QdrantClient, tmp_path: Path) -> RestShim:
    server.reset(tmp_path)
    fill(server, client)
    return server


@pytest.fixture
def home(shim: RestShim, client: QdrantClient) -> QdrantHome:
    return QdrantHome(client, "docs", retry=QUICK)


class TestQdrantHome(HomeLaws):
    @pytest.fixture(autouse=True)
    def _server(self, shim: RestShim) -> None:
        self.shim = shim

    def delete(self, home: Any, ids: list[Any]) -> None:
        self.shim["docs"].shard.update(qe.UpdateOperation.delete_points(ids))

    def contents(self, home: Any) -> Any:
        return everything(self.shim)


def test_it_names_its_place_its_version_and_its_aliases(home: QdrantHome, shim: RestShim) -> None:
    assert home.url == f"qdrant://127.0.0.1:{shim.port}/docs"
    found = home.describe()
    assert (found.engine, found.version, found.aliases) == ("Qdrant", shim.version, ("live",))
    assert found.can_add_in_place
    by_alias = QdrantHome(home.client, "live").describe()
    assert (by_alias.title, by_alias.aliases) == ("live", ("live",))


@pytest.mark.parametrize(
    ("version", "strategy", "words"),
    [
        ("1.17.9", "in_place", "cannot add a vector .* upgrade the server, or let .*'copy'"),
        ("1.9.0", "in_place", "cannot add a vector"),
        ("1.15.4", "auto", "keeps no metadata of a collection, .* upgrade the server"),
        ("1.17.9", "both", "expected strategy to be 'auto', 'in_place' or 'copy', got 'both'"),
    ],
)
def test_a_server_that_cannot_add_a_vector_is_told_apart(
    home: QdrantHome, shim: RestShim, tmp_path: Path, version: str, strategy: Any, words: str
) -> None:
    shim.version = version
    before = everything(shim)
    with pytest.raises(ConfigError, match=words):
        compress(
            home,
            model=random_model(),
            k=8,
            job=tmp_path / "job",
            strategy=strategy,
            progress=False,
        )
    assert home.marker("csr") is None
    assert everything(shim) == before
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("status", [429, 503, 500, None])
def test_a_read_is_repeated_while_a_failure_may_pass(
    home: QdrantHome, shim: RestShim, status: int | None
) -> None:
    shim.fail(status, 2)
    assert len(home.read(point_ids(N)[:5], vector="dense").ids) == 5


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("status", [429, 503, 500, 413, None])
def test_a_write_that_may_pass_is_busy_and_not_repeated(
    home: QdrantHome, shim: RestShim, status: int | None, applied: bool
) -> None:
    home.add(CODES)
    shim.fail(status, 1, applied=applied, only="/points/vectors", Retry_After="3")
    with pytest.raises(Busy) as caught:
        home.write(CODES, random_page(point_ids(N)[:9]))
    assert caught.value.wait_s == (3.0 if status == 429 else 0.0)
    assert home.write(CODES, random_page(point_ids(N)[:9])) == []


def test_a_write_that_is_refused_for_good_says_so(home: QdrantHome, shim: RestShim) -> None:
    home.add(CODES)
    shim.fail(400, 1, only="/points/vectors")
    with pytest.raises(StoreError, match="cannot set codes on 9 points: 400"):
        home.write(CODES, random_page(point_ids(N)[:9]))


def test_rows_of_nan_cost_themselves_alone(home: QdrantHome, shim: RestShim) -> None:
    one, two = 10**8, 10**8 + 1
    bad = [qe.Point(one, {"dense": [float("nan")] * 24}, {}), qe.Point(two, {}, {})]
    shim["docs"].shard.update(qe.UpdateOperation.upsert_points(bad))
    page = home.read([one, *point_ids(N)[:6], two], vector="dense", payload=True)
    assert page.ids == [one, *point_ids(N)[:6], two]
    assert page.vectors is not None
    assert np.isnan(page.vectors).all(axis=1).tolist() == [True, *[False] * 6, True]


def test_a_missing_collection_is_refused(client: QdrantClient, shim: RestShim) -> None:
    with pytest.raises(ConfigError, match="no collection 'nope'"):
        QdrantHome(client, "nope")


def test_a_marker_of_a_newer_csrkit_is_not_taken_for_none(
    home: QdrantHome, client: QdrantClient
) -> None:
    client.update_collection("docs", metadata={"csrkit.csr.job": {**MARKER.model_dump(), "x": 1}})
    with pytest.raises(StoreError, match="the marker of 'csr' cannot be read"):
        home.marker("csr")


def test_a_job_under_faults_and_its_rollback(
    home: QdrantHome, shim: RestShim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.backfill.RANGE_POINTS", 64)
    monkeypatch.setattr("csrkit.collection.jobs.pace.time.sleep", lambda seconds: None)
    before, described, metadata = everything(shim), home.describe(), dict(shim["docs"].metadata)
    model = random_model()
    shim.fail(429, 1, only="/points/vectors", Retry_After="1")
    shim.fail(500, 1, only="/points/vectors", applied=True)
    shim.fail(None, 1, only="/points/vectors", applied=True)
    shim.fail(503, 2, only="/points/scroll")
    job = compress(home, model=model, k=8, job=tmp_path / "job", progress=False)
    assert (job.status().written, job.status().retries) == (N, 3)
    page = home.read(point_ids(N), vector="dense", codes=job.manifest.codes)
    assert page.vectors is not None
    assert page.codes is not None
    want = model.encode(page.vectors, k=8)
    np.testing.assert_allclose(page.codes.to_dense(), want.to_dense(), atol=1e-6)
    np.testing.assert_array_equal(page.residuals, model.encode_residuals(page.vectors, want))
    store = QdrantStore(home.client, "docs", create=False, codec=model.fingerprint)
    assert store.search(want[:1], limit=1)[0][0].score == pytest.approx(1.0, abs=1e-4)
    assert store.residual_bytes == model.residual_bytes
    again = Job.open(tmp_path / "job", target=home.client, progress=False)
    again.rollback()
    assert everything(shim) == before
    assert home.describe() == described
    assert shim["docs"].metadata == metadata


def test_a_url_opens_the_same(shim: RestShim, tmp_path: Path) -> None:
    url = f"qdrant://127.0.0.1:{shim.port}/docs"
    job = compress(url, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    assert job.status().written == N
    job.close()
    with pytest.raises(JobError, match="and this is the job"):
        compress(url, model=random_model(), k=8, job=tmp_path / "other", progress=False)


@pytest.mark.parametrize("name", ["a#b", "50%41", "ü b", "日本語", "what?"])
def test_a_name_that_a_url_would_misread_comes_back(
    shim: RestShim, client: QdrantClient, tmp_path: Path, name: str
) -> None:
    params = models.VectorParams(size=24, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config={"dense": params})
    points = [models.PointStruct(id=1, vector={"dense": [1.0] * 24})]
    client.upsert(name, points, wait=True)
    job = compress(client, name, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    for target in (None, client):
        again = Job.open(tmp_path / "job", target=target, progress=False)
        assert (again.home.url, again.home.describe().count) == (job.home.url, 1)
        again.close()
    assert job.status().written == 1
