"""kill -9 at seeded moments of a job, then going on; `make faults` does it at many more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MOMENTS = 4
ROOT = Path(__file__).parents[2]


def test_a_killed_job_goes_on_to_the_same_result(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_job.py")
    done = subprocess.run(
        [sys.executable, script, str(tmp_path), "0", str(MOMENTS)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        },
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines, done.stderr[-2000:])
    assert len(lines) == MOMENTS
    assert all(line["killed"] and line["same"] for line in lines)
