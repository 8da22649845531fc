from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from ..contract.rest_shim import RestShim, running
from .copies import OLD, N, fill_richly

_MEMORY = Path("/dev/shm")
_ENOUGH = 256 << 20  # bytes; a full memory disk would kill the engine, which maps its files


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: the engine waits for the disk at each close."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ENOUGH:
        yield tmp_path_factory.mktemp("job")
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="csrkit-test-") as folder:
        yield Path(folder)


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
