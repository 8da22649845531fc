"""A cutover verifies, sweeps and marks; and a verification of a server only reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import QdrantClient

from csrkit.collection import Job, NotVerified, VerifyConfig, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.collection.jobs.ledger import Phase

from ..contract.rest_shim import QUICK, RestShim, running
from .copies import N as COPIED
from .copies import copied
from .models import random_model
from .servers import everything, fill
from .shards import embeddings, make_shard, point_ids

N = 120
IDS = point_ids(N)
IDS_OF_COPY = point_ids(COPIED)
LOOSE = VerifyConfig(min_recall=0.3, n_queries=30)  # the model's weights are random


class Home(EdgeHome):
    """A home in which somebody else writes whenever a verification begins to look."""

    updates = 0

    def describe(self) -> Any:
        found = super().describe()
        if self.updates and self.marker("csr") is not None:
            self.updates -= 1
            row = np.random.default_rng(self.updates).normal(size=24).tolist()
            new = [qe.PointVectors(IDS[5], {"dense": row})]
            self.shard.update(qe.UpdateOperation.update_vectors(new))
        return found


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    make_shard(tmp_path / "shard", N).close()
    home = Home(tmp_path / "shard")
    yield compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    home.close()


def change(job: Job, operation: Any) -> None:
    assert isinstance(job.home, EdgeHome)
    job.home.shard.update(operation)


def assert_coded(job: Job) -> None:
    page = job.home.read([*IDS, *range(10**8, 10**8 + 9)], vector="dense", codes=job.manifest.codes)
    assert page.codes is not None
    assert page.vectors is not None
    want = job.model.encode(page.vectors, k=8).to_dense()
    np.testing.assert_allclose(page.codes.to_dense(), want, atol=1e-6)


def test_late_and_stale_points_are_swept_and_the_codes_marked_as_live(job: Job) -> None:
    late = [qe.Point(10**8 + i, {"dense": embeddings(3)[i].tolist()}, {}) for i in range(3)]
    change(job, qe.UpdateOperation.upsert_points(late))
    rows = embeddings(N, seed=4).tolist()
    stale = [qe.PointVectors(IDS[i], {"dense": rows[i]}) for i in range(9)]
    change(job, qe.UpdateOperation.update_vectors(stale))
    assert {check.name for check in job.verify(LOOSE).failed} == {"coded points", "codes"}
    done = job.cutover(verify=LOOSE)
    assert (done.swept.written, done.using, job.phase) == (12, "csr", Phase.CUTOVER)
    assert done.verdict is not None
    assert done.verdict.passed
    marker = job.home.marker("csr")
    assert marker is not None
    assert marker.is_live
    assert_coded(job)
    assert job.cutover(verify=LOOSE).swept.written == 0  # again is harmless
    assert job.verify(LOOSE).passed  # also once it is live
    assert job.phase is Phase.CUTOVER


def test_a_gate_that_is_missed_leaves_the_marker_as_it_was(job: Job) -> None:
    before = job.home.marker("csr")
    with pytest.raises(
        NotVerified, match=r"not cut over, .* recall@10 against .* to reach 0.9"
    ) as no:
        job.cutover()
    assert [check.name for check in no.value.verdict.failed] == ["recall"]
    assert job.home.marker("csr") == before
    assert job.phase is Phase.BACKFILLED
    assert job.cutover(verify=False).verdict is None
    assert job.phase is Phase.CUTOVER


def test_a_point_changed_while_it_is_verified_is_swept_and_verified_again(job: Job) -> None:
    assert isinstance(job.home, Home)
    job.home.updates = 5  # some before the sweep, some after it
    assert job.cutover(verify=LOOSE).swept.written >= 1
    assert_coded(job)


def test_a_point_changed_all_the_time_ends_the_cutover(job: Job) -> None:
    assert isinstance(job.home, Home)
    job.home.updates = 10**6
    with pytest.raises(NotVerified, match=r"1 of 120 codes are not those of their dense vectors"):
        job.cutover(verify=LOOSE)
    assert job.cutover(verify=VerifyConfig(min_recall=0.3, max_stale=0.02)).verdict


# -- on a server --------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_a_server_is_only_read_and_its_faults_are_named(server: RestShim, tmp_path: Path) -> None:
    client = QdrantClient(url=server.url, check_compatibility=False)
    server.reset(tmp_path)
    fill(server, client, N)
    home = QdrantHome(client, "docs", retry=QUICK)
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    before, settings = everything(server), home.describe()
    server.seen.clear()
    config = VerifyConfig(min_recall=0.3, n_queries=20, group_queries=5, by="cat")
    verdict = job.verify(config)
    assert verdict.passed, verdict.failed
    assert len({one.name for one in verdict.searches}) == 8
    routes = {one.partition("?")[0] for one in server.seen}
    assert routes == {
        "GET /",
        "GET /collections/docs",
        "GET /collections/docs/aliases",
        "POST /collections/docs/points",
        "POST /collections/docs/points/count",
        "POST /collections/docs/points/query/batch",
        "POST /collections/docs/points/scroll",
    }
    assert everything(server) == before
    assert home.describe() == settings
    rows = embeddings(N, seed=4).tolist()
    shard = server["docs"].shard
    stale = [qe.PointVectors(IDS[i], {"dense": rows[i]}) for i in range(20, 32)]
    shard.update(qe.UpdateOperation.update_vectors(stale))
    shard.update(qe.UpdateOperation.delete_vectors([IDS[3]], ["csr"]))
    shard.update(qe.UpdateOperation.delete_field_index("cat"))
    del server.aliases["live"]
    verdict = job.verify(config)
    names = {check.name for check in verdict.failed}
    assert names == {"codes", "coded points", "payload indexes", "aliases"}
    done = job.cutover(verify=VerifyConfig(min_recall=0.3, accept=("payload indexes", "aliases")))
    assert done.swept.written == 13
    client.close()


def test_a_copy_is_verified_against_its_original(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    job = copied(old_client, tmp_path)
    config = VerifyConfig(min_recall=0.3, max_changed=0, n_queries=20)
    verdict = job.verify(config)
    assert verdict.passed, verdict.failed
    assert "aliases" not in {check.name for check in verdict.checks}  # they have not moved yet
    assert verdict.compared == COPIED
    copy = old[f"docs__csrkit_{job.manifest.job}"].shard
    rows = embeddings(COPIED, seed=4).tolist()
    moved = [qe.PointVectors(IDS_OF_COPY[i], {"dense": rows[i]}) for i in range(5)]
    copy.update(qe.UpdateOperation.update_vectors(moved))
    verdict = job.verify(config)
    assert {check.name for check in verdict.failed} == {"codes", "dense vectors"}
    assert job.cutover(verify=config).verdict  # which copies again what differs
    assert "aliases" in {check.name for check in job.verify(config).checks}
    assert old.aliases["live"] == f"docs__csrkit_{job.manifest.job}"
