"""A job that makes a copy, on a server that fails, and one that is written to all the while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from csrkit.collection import Job, compress
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.collection.jobs.pace import Pace

from ..collection.copies import OLD, assert_equal, records, title
from ..collection.models import random_model
from ..collection.servers import fill
from ..contract.rest_shim import QUICK
from .amount import PATIENCE, SEEDS
from .faulty_shim import FaultyShim, failing
from .owner import Owner
from .patience import until_done

N = 100


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyShim]:
    monkeypatch.setattr("csrkit.collection.jobs.backfill.RANGE_POINTS", 32)
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "size", 16)
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "sleep", lambda seconds: None)
    with failing(tmp_path / "server") as server:
        yield server


@pytest.fixture
def client(server: FaultyShim) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


def filled(server: FaultyShim, client: QdrantClient, folder: Path) -> None:
    server.reset(folder)
    server.version = OLD
    fill(server, client, N)


def begun(client: QdrantClient, folder: Path) -> Job:
    """Make the copy, calling again as a person would while the server fails."""

    def whole() -> Job:
        home = QdrantHome(client, "live", retry=QUICK)
        return compress(home, model=random_model(), k=8, job=folder, progress=False)

    return until_done(whole)


@pytest.mark.timeout(PATIENCE)
def test_random_faults_change_nothing_in_a_copy(
    server: FaultyShim, client: QdrantClient, tmp_path: Path, record_property: Any
) -> None:
    for seed in range(SEEDS):
        filled(server, client, tmp_path / f"{seed}")
        before = records(server, "docs")
        server.begin(seed)
        job = begun(client, tmp_path / f"{seed}" / "job")
        until_done(lambda: job.cutover(verify=False))  # noqa: B023
        server.end()
        assert_equal(server, job)
        assert server.aliases == {"live": title(job)}
        server.begin(seed + 1000)
        until_done(lambda: job.rollback(confirm=title(job)))  # noqa: B023
        server.end()
        assert (list(server.collections), server.aliases) == (["docs"], {"live": "docs"})
        assert records(server, "docs") == before
    record_property("seeds of faults survived by copies", f"{SEEDS} of {SEEDS}")


@pytest.mark.timeout(PATIENCE)
def test_an_owner_who_writes_meanwhile_finds_it_all_in_the_copy(
    server: FaultyShim, client: QdrantClient, tmp_path: Path, record_property: Any
) -> None:
    written = 0
    for seed in range(SEEDS):
        filled(server, client, tmp_path / f"{seed}")
        owner = Owner(server["docs"].shard, seed)
        server.somebody = owner.write
        server.begin(seed, 1 / 16)
        job = begun(client, tmp_path / f"{seed}" / "job")
        until_done(job.sweep)
        server.somebody = lambda: None  # the pause
        until_done(lambda: job.cutover(verify=False))  # noqa: B023
        server.end()
        assert_equal(server, job)
        assert {one: load for one, (load, _) in records(server, "live").items()} == owner.payloads
        written += owner.writes
    record_property("writes followed by copies", written)
