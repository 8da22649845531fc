"""kill -9 and full disks at seeded moments of a job, then going on; in processes of their own.

`make faults` does it at many more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .amount import MOMENTS, PATIENCE

ROOT = Path(__file__).parents[2]


def lines_of(script: str, *arguments: str) -> list[dict[str, Any]]:
    """Run a script beside this one, and return its lines."""
    path = os.pathsep.join([str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines, done.stderr[-2000:])
    return lines


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("home", ["edge", "server", "old"])
def test_a_killed_job_goes_on_to_the_same_result(
    tmp_path: Path, home: str, record_property: Any
) -> None:
    lines = lines_of("killed_job.py", home, str(tmp_path), "0", str(MOMENTS))
    same = sum(line["killed"] and line["same"] for line in lines)
    assert same == len(lines) == MOMENTS
    record_property(f"kill -9 survived, {home}", f"{same} of {MOMENTS}")


@pytest.mark.timeout(PATIENCE)
def test_a_full_disk_is_told_and_the_job_goes_on(tmp_path: Path, record_property: Any) -> None:
    lines = lines_of("full_disk.py", str(tmp_path), "0", str(MOMENTS))
    assert all(line["same"] for line in lines)
    said = [line["said"] for line in lines if line["said"]]
    assert said
    assert all(str(one).startswith(("JobError", "FormatError", "StoreError")) for one in said)
    record_property("full disks survived", f"{len(said)} of {len(said)}")
