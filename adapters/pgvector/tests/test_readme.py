"""The README and the benchmark run, the first in a shell where libpq finds the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.test_docs import run_page


def test_the_readme_runs(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = conninfo_to_dict(server)
    monkeypatch.setenv("PGHOST", str(found["host"]))
    monkeypatch.setenv("PGUSER", str(found["user"]))
    assert run_page(Path(__file__).parents[1] / "README.md") == 4


def test_the_benchmark_runs(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmark.py"
    command = [sys.executable, "-W", "error", script, "--toy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "TOY SIZES" in done.stdout
