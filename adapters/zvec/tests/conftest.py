from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.memory_disk import quick_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Zvec waits for the disk at each new folder."""
    with quick_folder() as folder:
        yield folder
