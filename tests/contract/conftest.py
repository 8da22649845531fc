from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from csrkit.stores import QdrantStore

from .rest_shim import QUICK, RestShim, running

_MEMORY = Path("/dev/shm")
_ENOUGH = 256 << 20  # bytes; a full memory disk would kill the engine, which maps its files


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one.

    The engine waits for the disk at each close and optimize; on a busy disk the
    contract took 54 s of which 8 s were work.
    """
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ENOUGH:
        yield tmp_path_factory.mktemp("store")
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="csrkit-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def shim(server: RestShim, tmp_path: Path) -> RestShim:
    server.reset(tmp_path)
    return server


@pytest.fixture(scope="module")
def shared_client(server: RestShim) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def client(shim: RestShim, shared_client: QdrantClient) -> QdrantClient:
    return shared_client


@pytest.fixture
def store(client: QdrantClient) -> QdrantStore:
    return QdrantStore(client, "docs", retry=QUICK, batch_size=4)
