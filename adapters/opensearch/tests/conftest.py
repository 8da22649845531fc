from __future__ import annotations

from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from .stand_in import Server, running


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[OpenSearch]:
    made = OpenSearch(server.url)
    yield made
    made.close()
