from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..memory_disk import quick_folder
from .amount import LONG


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the long run measured, for docs/results/faults.md."""
    if LONG:
        for report in terminalreporter.getreports("passed"):
            for what, found in report.user_properties:
                terminalreporter.write_line(f"{what}: {found}")
