"""A small codec, embeddings, and ways to run the command line in and out of this process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from csrkit import CSRModel
from csrkit.cli.verbs import app
from csrkit.model import ModelConfig, Provenance, array_shapes

DIM, LATENTS = 16, 96


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command in this process; its exit code must be the expected one."""

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception  # a bug, which `main` would report with its traceback
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a shell does, able to receive Ctrl-C even under a runner that is not."""

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "csrkit.cli", *map(str, arguments)],
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    return start


@pytest.fixture(scope="session")
def model() -> CSRModel:
    """A codec of random weights: encoding needs no good ones."""
    rng = np.random.default_rng(0)
    config = ModelConfig(
        dim=DIM,
        n_latents=LATENTS,
        ladder=(4, 8),
        provenance=Provenance(csrkit="0", rows=1000, steps=7, recall=0.5, fit={"recipe": "csr"}),
    )
    arrays = {name: rng.normal(size=shape) for name, shape in array_shapes(config).items()}
    loads = rng.choice([0, 0.02, 0.04], size=(2, LATENTS), p=[0.25, 0.5, 0.25])
    loads[:, 3] = 0.5, 0.75
    return CSRModel(config=config, **{**arrays, "loads": loads})


@pytest.fixture
def codec(model: CSRModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "codec")
    return tmp_path / "codec"


@pytest.fixture(scope="session")
def rows() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(500, DIM)).astype(np.float32)


@pytest.fixture
def embeddings(rows: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npy"
