from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from .postgres import running


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with running() as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute("create extension vector")
        yield conninfo


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection
