"""Small models with random weights, and the formula of a code in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes

MakeModel = Callable[..., CSRModel]


def _make_model(
    dim: int = 12, n_latents: int = 50, ladder: tuple[int, ...] = (2, 5), seed: int = 0
) -> CSRModel:
    config = ModelConfig(
        dim=dim,
        n_latents=n_latents,
        ladder=ladder,
        provenance=Provenance(csrkit="0.0.0", rows=7, steps=3),
    )
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=shape) for name, shape in array_shapes(config).items()}
    return CSRModel(config=config, **{**arrays, "pre_bias": arrays["pre_bias"] / 8})


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    return _make_model


def _dense_codes(model: CSRModel, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes as float64 (n, latents), and which rows are clear of ties at k."""
    wide = np.asarray(x, dtype=np.float64)
    wide = wide / np.abs(wide).max(axis=1, keepdims=True, initial=1e-320)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    encoder = model.encoder.astype(np.float64)
    pre = (unit - model.pre_bias) @ encoder.T + model.latent_bias
    codes = np.zeros_like(pre)
    clear = np.empty(len(pre), dtype=bool)
    for row, values in enumerate(pre):
        order = np.argsort(-values, kind="stable")
        for latent in order[:k]:
            codes[row, latent] = max(0.0, values[latent])
        edges = np.concatenate([values[order[: k + 1]], [0.0]])
        gaps = [values[order[k - 1]] - values[order[k]]] if k < len(values) else []
        clear[row] = min([*gaps, np.abs(edges[:-1]).min()]) > 1e-5
    norms = np.linalg.norm(codes, axis=1, keepdims=True)
    return np.divide(codes, norms, out=codes, where=norms > 0), clear


@pytest.fixture(scope="session")
def dense_codes() -> Callable[[CSRModel, np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    return _dense_codes


@pytest.fixture
def saved(make_model: MakeModel, tmp_path: Path) -> Path:
    make_model().save(tmp_path / "codec")
    return tmp_path / "codec"
