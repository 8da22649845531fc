"""What a hostile user sees: one true line, never a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit import SparseVectors
from csrkit.errors import StoreError
from csrkit.stores import MemoryStore

SMALL = ("--n-latents", 64, "--ladder", 4, "--steps", 2, "--batch-size", 32)


def refused(result: object, message: str) -> None:
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr  # type: ignore[attr-defined]


def test_an_output_without_a_folder_is_refused_by_the_name_that_was_given(
    run: Callable, codec: Path, embeddings: Path, tmp_path: Path
) -> None:
    """Regression: it named a temporary file that nobody asked for."""
    out = tmp_path / "no" / "c.safetensors"
    result = run("encode", codec, embeddings, "-o", out, code=2)
    assert result.stderr == f"csrkit: expected a folder to write to, found none at {out.parent}\n"
    result = run("encode", codec, embeddings, "-o", "/proc/c.safetensors", code=2)
    assert result.stderr == (
        "csrkit: cannot write to the folder /proc: No such file or directory\n"
    )


def test_codes_are_no_embeddings(
    run: Callable, codec: Path, embeddings: Path, tmp_path: Path
) -> None:
    codes = tmp_path / "codes.safetensors"
    SparseVectors([0, 1], [3], [1.0], dim=96).save(codes)
    out = tmp_path / "out.safetensors"
    for given in (codes, f"{codes}:values"):
        result = run("encode", codec, given, "-o", out, code=2)
        refused(result, rf"expected a tensor of rows in {codes}, found none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--ladder", 10**20),
            r"expected a ladder of k up to 16777216.*got .*\(\.\.\., 10{20}\)\)",
        ),
        (("--ladder", 4, "--n-latents", 2), r"bad setting expected n_latents of at least the long"),
        (("--config", "folder"), r"cannot read settings from .*folder: Is a directory"),
        (("--labels", "archive.npy"), r"archive\.npy is an archive of arrays, not a \.npy file of"),
        (("--labels", "folder"), r"folder is not a readable \.npy file of labels: Is a directory"),
    ],
)
def test_bad_settings_of_a_fit(
    options: tuple[object, ...], message: str, run: Callable, embeddings: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with open(tmp_path / "archive.npy", "wb") as file:
        np.savez(file, labels=np.arange(500))
    made = [
        tmp_path / str(one) if str(one) in ("folder", "archive.npy") else one for one in options
    ]
    refused(run("fit", embeddings, "-o", tmp_path / "c", *made, code=2), message)


def test_a_recall_that_was_not_measured_is_no_mean(
    run: Callable, embeddings: Path, rows: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "one.npy", rows[:1])
    options = ("-o", tmp_path / "c", *SMALL, "--queries", tmp_path / "one.npy")
    assert "held-out recall@10 not measured\n" in run("fit", embeddings, *options).stdout
    assert "(mean over k)\n" in run("fit", embeddings, "-o", tmp_path / "d", *SMALL).stdout


FAILING = """
import csrkit.cli, csrkit.cli.verbs, sys, warnings
@csrkit.cli.verbs.app.command()
def crash():
    warnings.warn("Failed to obtain server version. Unable to check. Set check_compatibility=False")
    raise {error}
sys.argv = ["csrkit", "crash"]
csrkit.cli.main()
"""


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        ("MemoryError('9 TiB')", 2, "csrkit: this machine has not enough memory for that: 9 TiB\n"),
        (
            "RuntimeError('DefaultCPUAllocator: can\\'t allocate memory')",
            2,
            "csrkit: this machine has not enough memory for that: DefaultCPUAllocator: can't ",
        ),
        ("RuntimeError('oops')", 70, "Traceback (most recent call last):\n"),
        ("OSError(28, 'No space left', 'x')", 2, "csrkit: No space left: 'x'\n"),
    ],
)
def test_how_errors_of_the_machine_are_told(error: str, code: int, told: str) -> None:
    """Not those of a client that looks a server's version up: the refusal itself follows."""
    done = subprocess.run(
        [sys.executable, "-c", FAILING.format(error=error)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr[: len(told)]) == (code, told)


@pytest.mark.parametrize("ends", ["alone", "after Ctrl-C"])
def test_a_store_that_fails_as_it_is_closed_promises_no_rows(
    ends: str, run: Callable, codec: Path, embeddings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that writes at the end, on a full disk, has stored nothing."""

    class Full(MemoryStore):
        def upsert(self, *args: Any, **options: Any) -> None:
            super().upsert(*args, **options)
            if ends != "alone" and self.count() == 200:
                raise KeyboardInterrupt

        def close(self) -> None:
            raise StoreError("cannot write to the store's folder x: No space left on device")

    monkeypatch.setattr("csrkit.stores.open_store", lambda url, *, create: Full())
    monkeypatch.setattr("csrkit.cli.encode.BLOCK_ROWS", 100)
    result = run("encode", codec, embeddings, "--store", "memory:", code=3)
    assert "No space left on device" in result.stderr
    assert "how much is stored is not known: run the same command again" in result.stderr
    assert "are stored" not in result.stderr
