"""A job on the stand-in server under faults of every kind: the result is that of a quiet day."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from csrkit.collection import Job, compress
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.collection.jobs.pace import Pace
from csrkit.errors import StoreError

from ..collection.models import random_model
from ..collection.servers import everything, fill
from ..contract.rest_shim import QUICK
from .amount import PATIENCE, SEEDS
from .faulty_shim import KINDS, FaultyShim, failing
from .owner import Owner
from .patience import until_done
from .stories import same

N = 100
MODEL = random_model()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyShim]:
    with failing(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: FaultyShim) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def filled(server: FaultyShim, client: QdrantClient, tmp_path: Path) -> FaultyShim:
    server.reset(tmp_path)
    fill(server, client, N)
    return server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.backfill.RANGE_POINTS", 32)
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "size", 16)
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "sleep", lambda seconds: None)


def finished(server: FaultyShim, client: QdrantClient, folder: Path) -> tuple[Job, Any]:
    """Run a job to its cutover, calling again as a person would while the server fails."""

    def whole() -> Job:
        home = QdrantHome(client, "docs", retry=QUICK)
        job = compress(home, model=MODEL, k=8, job=folder, progress=False)
        job.cutover(verify=False)
        return job

    job = until_done(whole)
    server.end()
    marker = job.home.marker("csr")
    assert marker is not None
    status = job.status()
    marks = marker.model_dump(exclude={"job"})
    return job, (everything(server), marks, (status.phase, status.rejects))


@pytest.mark.timeout(PATIENCE)
def test_random_faults_change_nothing_in_the_result(
    filled: FaultyShim, client: QdrantClient, tmp_path: Path, record_property: Any
) -> None:
    filled.met.clear()
    before = everything(filled)
    job, quiet = finished(filled, client, tmp_path / "quiet")
    job.rollback()
    for seed in range(SEEDS):
        filled.begin(seed)
        job, disturbed = finished(filled, client, tmp_path / f"{seed}")
        assert same(disturbed, quiet)
        filled.begin(seed + 1000)
        until_done(job.rollback)
        filled.end()
        assert everything(filled) == before
        assert not [key for key in filled["docs"].metadata if key.startswith("csrkit")]
    assert len(filled.met) > len(KINDS) / 2
    record_property("seeds of faults survived", f"{SEEDS} of {SEEDS}")
    record_property("faults met by them", dict(sorted(filled.met.items())))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_fault_alone_is_survived(
    server: FaultyShim, client: QdrantClient, tmp_path: Path, kind: str
) -> None:
    server.reset(tmp_path)
    fill(server, client, 60)
    owner = Owner(server["docs"].shard, 0)
    server.met.clear()
    server.begin(7, 1 / 6, (kind,))
    job, _ = finished(server, client, tmp_path / "job")
    assert server.met[kind] > 1
    owner.check(MODEL, job.manifest.codes, 8)


def test_a_server_that_takes_too_long_is_asked_again(
    filled: FaultyShim, client: QdrantClient, tmp_path: Path
) -> None:
    hasty = QdrantClient(url=filled.url, timeout=1, check_compatibility=False)
    home = QdrantHome(hasty, "docs", retry=QUICK)
    slept: list[float] = []

    def dawdle() -> None:
        slept.append(1.2)
        time.sleep(1.2)

    filled.meanwhile["/collections/docs/points/vectors"] = dawdle
    job = compress(home, model=MODEL, k=8, job=tmp_path / "job", progress=False)
    assert (slept, job.status().retries, job.status().written) == ([1.2], 1, N)
    hasty.close()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = QdrantClient(url=f"http://127.0.0.1:{port}", check_compatibility=False)
    with pytest.raises(StoreError, match=r"'docs': cannot look it up: ConnectError"):
        QdrantHome(client, "docs", retry=QUICK)
    client.close()
