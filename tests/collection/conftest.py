from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from ..contract.rest_shim import RestShim, running
from ..memory_disk import quick_folder
from .copies import OLD, N, fill_richly


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as rest:
        yield rest


@pytest.fixture(scope="module")
def old_client(rest: RestShim) -> Iterator[QdrantClient]:
    """Of the server that `old` is."""
    client = QdrantClient(url=rest.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def old(
    rest: RestShim, old_client: QdrantClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RestShim:
    """A server that cannot add a vector to its collection, and jobs that take small steps."""
    monkeypatch.setattr("csrkit.collection.jobs.backfill.RANGE_POINTS", 30)
    monkeypatch.setattr("csrkit.collection.jobs.pace.time.sleep", lambda seconds: None)
    rest.reset(tmp_path)
    rest.version = OLD
    fill_richly(rest, old_client, N)
    return rest
