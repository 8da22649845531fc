from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_ENOUGH = 256 << 20  # bytes


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: zvec waits for the disk at each new folder."""
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH
    with tempfile.TemporaryDirectory(
        prefix="csrkit-zvec-", dir=_MEMORY if is_roomy else None
    ) as name:
        yield Path(name)
