from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from csrkit.stores import QdrantStore

from ..memory_disk import quick_folder
from .rest_shim import QUICK, RestShim, running


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


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
