"""A job on the stand-in server under faults of every kind, at random, and with a key to keep."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from csrkit.collection import Job, compress
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.errors import CsrkitError, StoreError

from ..collection.models import random_model
from ..collection.servers import everything, fill
from ..collection.shards import point_ids
from ..contract.rest_shim import QUICK, Fault, RestShim, running

N = 150
CANARY = "canary-key-9d1f"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: RestShim, tmp_path: Path) -> Iterator[QdrantClient]:
    server.reset(tmp_path)
    with pytest.warns(UserWarning, match="Api key is used with an insecure connection"):
        client = QdrantClient(url=server.url, api_key=CANARY, check_compatibility=False)
    fill(server, client, N)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit.collection.backfill.RANGE_POINTS", 32)
    monkeypatch.setattr("csrkit.collection.pace.time.sleep", lambda seconds: None)


class RandomFaults(list[Fault]):
    """A queue that is never empty: one request in eight meets a fault drawn by a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Fault]:
        if self.rng.random() < 1 / 8:
            status = [429, 500, 502, 503, 408, None][self.rng.integers(6)]
            applied = bool(self.rng.integers(2))
            yield Fault(status, {"Retry-After": "0"} if status == 429 else {}, applied, "", "")

    def remove(self, fault: Fault) -> None:
        pass


def finished(server: RestShim, client: QdrantClient, folder: Path, seed: int | None) -> Any:
    """Run a job to its cutover, calling again as a person would while the server fails."""
    server.faults = [] if seed is None else RandomFaults(seed)
    for _ in range(20):
        try:
            home = QdrantHome(client, "docs", retry=QUICK)
            job = compress(home, model=random_model(), k=8, job=folder, progress=False)
            job.cutover()
            break
        except StoreError:
            continue
    else:
        pytest.fail("twenty calls were not enough")
    server.faults = []
    marker = job.home.marker("csr")
    assert marker is not None
    return everything(server), marker.model_dump(exclude={"job"}), job.status().rejects


@pytest.mark.parametrize("seed", range(2))
def test_random_faults_change_nothing_in_the_result(
    server: RestShim, client: QdrantClient, tmp_path: Path, seed: int
) -> None:
    before = everything(server)
    disturbed = finished(server, client, tmp_path / "disturbed", seed)
    Job.open(tmp_path / "disturbed", target=client, progress=False).rollback()
    assert everything(server) == before
    assert disturbed == finished(server, client, tmp_path / "quiet", None)


def test_a_key_is_in_no_file_and_in_no_message(
    server: RestShim, client: QdrantClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, said = tmp_path / "job", []
    for fault in ({"status": 401}, {"status": 500, "times": 99}, {"status": None, "times": 99}):
        server.faults = []
        server.fail(fault["status"], fault.get("times", 1) or 1, only="")
        try:
            home = QdrantHome(client, "docs", retry=QUICK)
            compress(home, model=random_model(), k=8, job=folder, progress=True)
        except CsrkitError as error:
            said.append("".join(traceback.format_exception(error)))
    assert len(said) == 3
    server.faults = []
    home = QdrantHome(client, "docs", retry=QUICK)
    job = compress(home, model=random_model(), k=8, job=folder, progress=True)
    job.cutover()
    said += [repr(job.status()), repr(home.describe()), repr(job.manifest), home.url]
    said += list(capsys.readouterr())
    assert CANARY in server.api_keys  # it did travel
    assert job.status().written == len(point_ids(N))
    assert not [text for text in said if CANARY in text]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"manifest.json", "ledger.db"} <= {path.name for path in files}
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert CANARY not in str(server["docs"].metadata)
