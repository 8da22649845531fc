from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from milvus_lite.server_manager import server_manager_instance

IS_CORE = version("milvus-lite").startswith("2.")
_MEMORY = Path("/dev/shm")
_ENOUGH = 256 << 20  # bytes


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: Milvus Lite waits for the disk at each write."""
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH
    parent = _MEMORY if is_roomy else None
    with tempfile.TemporaryDirectory(prefix="csrkit-milvus-", dir=parent) as name:
        yield Path(name)
        if not IS_CORE:  # the rewrite in Python would write the files again at its end
            server_manager_instance.release_all()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Pymilvus logs each refusal with its traceback, and raises it."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
