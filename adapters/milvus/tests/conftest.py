from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from milvus_lite.server_manager import server_manager_instance
from tests.memory_disk import quick_folder

IS_CORE = version("milvus-lite").startswith("2.")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Milvus Lite waits for the disk at each write."""
    with quick_folder() as folder:
        yield folder
        if not IS_CORE:  # the rewrite in Python would write the files again at its end
            server_manager_instance.release_all()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Pymilvus logs each refusal with its traceback, and raises it."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
