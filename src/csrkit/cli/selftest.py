"""The self-tests of `csrkit doctor`: small, on random numbers, seconds in all."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from csrkit import __version__
from csrkit.cli.doctor import Check
from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["run_checks"]

Test: TypeAlias = "Callable[[CSRModel, NDArray[np.float32]], str]"  # returns what was seen

DIM, LATENTS, ROWS, K = 32, 256, 64, 8


def run_checks() -> list[Check]:
    """Run every self-test whose libraries are installed.

    Returns:
        One result per test; whatever a test raises is its failure.
    """
    return [
        _run("encode and files", None, _files),
        _run("encode with torch", "torch", _torch),
        _run("edge store", "qdrant_edge", _edge),
    ]


def _run(name: str, needs: str | None, test: Test) -> Check:
    if needs is not None and find_spec(needs) is None:
        return Check(name, None, f"{needs} is not installed")
    rng = np.random.default_rng(0)
    try:
        rows = rng.normal(size=(ROWS, DIM)).astype(np.float32)
        return Check(name, True, test(_random_model(rng), rows))
    except Exception as error:  # a broken installation may raise anything
        return Check(name, False, f"{type(error).__name__}: {error}")


def _random_model(rng: np.random.Generator) -> CSRModel:
    config = ModelConfig(
        dim=DIM,
        n_latents=LATENTS,
        ladder=(4, K),
        provenance=Provenance(csrkit=__version__, rows=0, steps=0),
    )
    arrays: dict[str, Any] = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in array_shapes(config).items()
    }
    return CSRModel(config=config, **arrays)


def _files(model: CSRModel, rows: NDArray[np.float32]) -> str:
    """A saved model makes the codes of the formula."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        codes = load(folder).encode(rows, k=K).to_dense()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    active = np.maximum((unit - model.pre_bias) @ model.encoder.T + model.latent_bias, 0)
    kept = np.where(active >= np.sort(active, axis=1)[:, [-K]], active, 0)
    expected = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(codes, expected, atol=1e-5)
    return f"{ROWS} codes as the formula gives them"


def _torch(model: CSRModel, rows: NDArray[np.float32]) -> str:
    """The torch path chooses the latents of the numpy path, on the GPU if there is one."""
    import torch

    from csrkit.model.torch_encode import encode

    device = "cuda" if torch.cuda.is_available() else "cpu"
    ours, theirs = model.encode(rows, k=K), encode(model, rows, K, device)
    np.testing.assert_array_equal(theirs.indices, ours.indices)
    np.testing.assert_allclose(theirs.values, ours.values, atol=1e-5)
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no CUDA device"
    return f"same codes as numpy; {gpu}"


def _edge(model: CSRModel, rows: NDArray[np.float32]) -> str:
    """What was stored comes back and is found, with the scores of the inner product."""
    from csrkit.stores import EdgeStore

    codes = model.encode(rows, k=K)
    ids = [f"row {row}" for row in range(ROWS)]
    with tempfile.TemporaryDirectory() as folder:
        with EdgeStore(Path(folder) / "index") as store:
            store.upsert(ids, codes)
        with EdgeStore(Path(folder) / "index") as store:
            hits = store.search(codes, limit=1)
            stored = store.fetch(ids)
    if stored != codes or [found[0].id for found in hits] != ids:
        raise ValueError("other codes came back than were stored")
    np.testing.assert_allclose([found[0].score for found in hits], 1, atol=1e-5)
    return f"{ROWS} codes stored, reopened and found"
