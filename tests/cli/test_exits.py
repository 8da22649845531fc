"""What holds for every verb: quick start, version, exit codes, and what happens at the edges."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import csrkit
from csrkit.cli.codes import ExitCode
from csrkit.cli.verbs import app

VERBS = (
    *("demo", "fit", "tune", "encode", "search", "evaluate", "inspect", "doctor"),
    *(
        "plan",
        "compress",
        "status",
        "sweep",
        "verify",
        "cutover",
        "rollback",
        "finalize",
        "monitor",
    ),
)
HEAVY = {"numpy", "pydantic", "qdrant_client", "qdrant_edge", "scipy", "torch", "tqdm"}
START_BUDGET = 0.4  # seconds on top of a bare interpreter


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def cpu_seconds(code: str) -> float:
    """Processor time, which a busy machine does not stretch as it does the clock's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_loads_nothing_heavy_and_is_quick() -> None:
    show_help = "import sys; sys.argv = ['csrkit', '--help']; from csrkit.cli import main; "
    listed = python(
        show_help
        + "import atexit; atexit.register(lambda: print('\\nLOADED', *sys.modules)); main()"
    )
    text, _, loaded = listed.partition("LOADED")
    assert "Commands:" in text
    assert set(loaded.split()) & HEAVY == set()
    took = min(cpu_seconds(show_help + "main()") for _ in range(3))
    bare = min(cpu_seconds("pass") for _ in range(3))
    assert took - bare < START_BUDGET


def test_version(run: Callable) -> None:
    assert run("--version").stdout == f"csrkit {csrkit.__version__}\n"


def test_help_lists_every_verb_and_exit_code(run: Callable) -> None:
    text = run("--help").stdout
    assert re.findall(r"^  (\w+)  +[A-Z]", text.partition("Commands:")[2], re.MULTILINE) == [
        *VERBS,
        "llm",
    ]
    codes = re.findall(r"^    (\d+) +\w", text, re.MULTILINE)
    assert [int(code) for code in codes] == [code.value for code in ExitCode]
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Commands:")[2]  # nothing was cut


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_offers_json(verb: str, run: Callable) -> None:
    assert "--json " in run(verb, "--help").stdout


@pytest.mark.parametrize(
    "arguments", [("fly",), ("fit",), ("inspect",), ("fit", "x", "--steps", "a")]
)
def test_usage_errors_are_code_2(arguments: tuple[str, ...], run: Callable) -> None:
    result = run(*arguments, code=2)
    assert "Error: " in result.stderr
    assert result.stdout == ""


def test_a_reader_that_leaves_is_no_error(start: Callable, codec: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("inspect", codec, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")


def test_a_bug_keeps_its_traceback_and_has_its_own_code() -> None:
    """A verb that fails in a way nobody foresaw, in a copy of the command line."""
    code = (
        "import csrkit.cli, csrkit.cli.verbs, sys\n"
        "@csrkit.cli.verbs.app.command()\n"
        "def crash():\n    raise ZeroDivisionError('oops')\n"
        "sys.argv = ['csrkit', 'crash']\n"
        "csrkit.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.BUG
    assert "ZeroDivisionError: oops" in done.stderr
    assert done.stderr.endswith("please report it with the lines above\n")


def test_a_missing_extra_is_code_2_with_its_pip_line(
    start: Callable, codec: Path, embeddings: Path, tmp_path: Path
) -> None:
    (tmp_path / "qdrant_edge.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    url = f"edge://{tmp_path / 'index'}"
    process = start(
        "encode", codec, embeddings, "--store", url, env=os.environ | {"PYTHONPATH": path}
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == (
        "csrkit: EdgeStore needs qdrant-edge-py, which is not installed: "
        'pip install "csrkit[edge]"\n'
    )


def test_an_encoding_that_lacks_a_character_is_served(
    start: Callable, tmp_path: Path, codec: Path
) -> None:
    odd = tmp_path / "codec ✓"
    codec.rename(odd)
    process = start("inspect", odd, env=os.environ | {"PYTHONIOENCODING": "latin-1"})
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "codec ?: 16 dimensions" in out


def test_every_verb_is_registered_once() -> None:
    names = [command.callback.__name__ for command in app.registered_commands]
    assert names == [*VERBS]
    assert isinstance(app, typer.Typer)
