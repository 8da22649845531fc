"""Standard streams that are closed, full, or lose their reader; and an early Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from csrkit import SparseVectors


def closed(*descriptors: int) -> Callable[[], None]:
    """Close standard streams in a new process, as ``>&-`` does in a shell."""

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


@pytest.mark.parametrize("descriptors", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_are_no_error(
    descriptors: tuple[int, ...], codec: Path, embeddings: Path, tmp_path: Path
) -> None:
    """Regression: a traceback, and code 1, before anything was done."""
    out = tmp_path / "c.safetensors"
    command = ("encode", codec, embeddings, "-o", out, "--progress")
    done = subprocess.run(
        [sys.executable, "-m", "csrkit.cli", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=closed(*descriptors),
    )
    assert done.returncode == 0, done.stderr
    assert len(SparseVectors.load(out)) == 500
    assert ("500 codes" in done.stdout) == (1 not in descriptors)
    assert "Traceback" not in done.stderr


def test_a_reader_of_the_progress_that_leaves_does_not_stop_the_work(
    start: Callable, codec: Path, embeddings: Path, tmp_path: Path
) -> None:
    """Regression: it ended with code 0, and without the file."""
    out = tmp_path / "c.safetensors"
    read, write = os.pipe()
    os.close(read)
    process = start("encode", codec, embeddings, "-o", out, "--progress", stderr=write)
    os.close(write)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert told.startswith(f"{out}: 500 codes")
    assert len(SparseVectors.load(out)) == 500


def test_a_result_that_cannot_be_printed_is_told(codec: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "csrkit.cli", "inspect", codec],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "csrkit: cannot print the result: No space left on device\n"


@pytest.mark.parametrize(
    "when",
    [
        "sys.modules['csrkit.cli.verbs'] = Interrupting('csrkit.cli.verbs')",
        "typer.core.TyperGroup.parse_args = interrupt",
    ],
    ids=["while modules load", "while arguments are parsed"],
)
def test_an_early_ctrl_c_is_told_like_any_other(when: str) -> None:
    """Regression: a traceback out of an import, or nothing at all and code 130."""
    code = f"""
import sys, types, typer.core
def interrupt(*_):
    raise KeyboardInterrupt
class Interrupting(types.ModuleType):
    __getattr__ = interrupt
{when}
import csrkit.cli
csrkit.cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "csrkit: interrupted; nothing was kept\n")


def test_little_is_loaded_before_a_ctrl_c_is_told() -> None:
    code = "import sys, csrkit.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"typer", "click", "pydantic", "numpy"} & set(loaded.stdout.split())
