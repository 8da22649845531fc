from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .amount import LONG

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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the long run measured, for docs/results/faults.md."""
    if LONG:
        for report in terminalreporter.getreports("passed"):
            for what, found in report.user_properties:
                terminalreporter.write_line(f"{what}: {found}")
