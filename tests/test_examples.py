"""The numbered scripts of examples/ and the benchmarks run, at toy size, as a user runs them.

A script reads CSRKIT_TOY=1 from its environment, a benchmark takes ``--toy``: then it works on
little data and promises nothing about speed. Every script must print something.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
BENCHMARKS = [
    path for path in sorted(EXAMPLES.glob("benchmarks/*.py")) if '"--toy"' in path.read_text()
]
TOO_LONG = 120  # seconds; toy size means a few


def _run_toy(script: Path, folder: Path, *arguments: str) -> str:
    """Run a script in an empty folder and return what it printed; raises if it fails."""
    env = os.environ | {"CSRKIT_TOY": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=TOO_LONG, check=False
    )
    assert done.returncode == 0, f"{script.name} ended with {done.returncode}\n{done.stderr}"
    assert done.stdout.strip(), f"{script.name} printed nothing"
    return done.stdout


def test_there_are_scripts_and_benchmarks_to_run() -> None:
    assert SCRIPTS, "no numbered script in examples/"
    assert BENCHMARKS, "no benchmark that takes --toy in examples/benchmarks/"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example_runs(script: Path, tmp_path: Path) -> None:
    _run_toy(script, tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example_is_short(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 80


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmark_runs(script: Path, tmp_path: Path) -> None:
    _run_toy(script, tmp_path, "--toy")


def test_a_script_learns_that_it_is_a_toy(tmp_path: Path) -> None:
    script = tmp_path / "01_toy.py"
    script.write_text("import os, sys; print(os.environ['CSRKIT_TOY'], *sys.argv[1:])")
    assert _run_toy(script, tmp_path, "--toy") == "1 --toy\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit('no data')", r"01_bad\.py ended with 1\s+no data"),
        (
            "import warnings; warnings.warn('old')",
            r"01_bad\.py ended with 1\s+(.|\n)*UserWarning: old",
        ),
        ("pass", r"01_bad\.py printed nothing"),
    ],
)
def test_a_script_that_fails_is_reported(code: str, message: str, tmp_path: Path) -> None:
    script = tmp_path / "01_bad.py"
    script.write_text(code)
    with pytest.raises(AssertionError, match=message):
        _run_toy(script, tmp_path)
