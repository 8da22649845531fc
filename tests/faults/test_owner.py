"""A collection that is written to all the while: nothing lost, nothing back, every code right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from csrkit.collection import compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.collection.jobs.pace import Pace

from ..collection.models import random_model
from ..collection.servers import fill
from ..collection.shards import make_shard
from ..contract.rest_shim import QUICK
from .amount import PATIENCE, SEEDS
from .faulty_shim import FaultyShim, failing
from .owner import Owner
from .patience import until_done

N = 150
MODEL = random_model()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.backfill.RANGE_POINTS", 32)
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "size", 8)
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "sleep", lambda seconds: None)


class SharedHome(EdgeHome):
    """A shard whose owner, in this process as it must be, writes around each call."""

    owner: Owner | None = None

    def read(self, *args: Any, **options: Any) -> Any:
        page = super().read(*args, **options)
        if self.owner:
            for _ in range(3):
                self.owner.write()  # what was read is out of date
        return page

    def write(self, *args: Any) -> Any:
        gone = super().write(*args)
        if self.owner:
            self.owner.write()
        return gone


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyShim]:
    with failing(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: FaultyShim) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_on_a_shard(tmp_path: Path, seed: int) -> None:
    make_shard(tmp_path / "shard", N).close()
    home = SharedHome(tmp_path / "shard")
    home.owner = owner = Owner(home.shard, seed)
    job = compress(home, model=MODEL, k=8, job=tmp_path / "job", progress=False)
    job.sweep()
    home.owner = None
    assert owner.writes > 20
    job.cutover(verify=False)
    owner.check(MODEL, job.manifest.codes, 8)
    assert job.sweep().written == 0
    job.close()


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("faults", [False, True])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_on_a_server(
    server: FaultyShim, client: QdrantClient, tmp_path: Path, seed: int, faults: bool
) -> None:
    server.reset(tmp_path)
    fill(server, client, N)
    owner = Owner(server["docs"].shard, seed)
    home = QdrantHome(client, "docs", retry=QUICK)
    server.somebody = owner.write
    if faults:
        server.begin(seed, 1 / 20)
    job = until_done(lambda: compress(home, model=MODEL, k=8, job=tmp_path / "job", progress=False))
    until_done(job.sweep)
    server.end()
    assert owner.writes > 20
    job.cutover(verify=False)
    owner.check(MODEL, job.manifest.codes, 8)
    assert job.sweep().written == 0
    job.close()
