"""A small model with random weights, documents, queries, and a card made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from csrkit.metrics import Interval
from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes
from csrkit.model.card import Calibration, Card, Measured, Setting

DIM, LATENTS, LADDER = 16, 64, (2, 4, 8)
N, Q = 300, 12


@pytest.fixture(scope="session")
def model() -> CSRModel:
    config = ModelConfig(
        dim=DIM,
        n_latents=LATENTS,
        ladder=LADDER,
        provenance=Provenance(csrkit="0.0.0", rows=7, steps=3),
    )
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape) for name, shape in array_shapes(config).items()}
    # a decoder along the encoder, so that decoded rows have something of the embeddings
    arrays |= {"decoder": arrays["encoder"] / 8, "scales": np.ones(len(arrays["scales"]))}
    return CSRModel(config=config, **{**arrays, "pre_bias": arrays["pre_bias"] / 8})


@pytest.fixture(scope="session")
def docs() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N, DIM)).astype(np.float32)


@pytest.fixture(scope="session")
def queries() -> np.ndarray:
    return 3 * np.random.default_rng(2).normal(size=(Q, DIM)).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    wide = np.asarray(rows, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def cosines() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Cosines of all pairs in float64."""
    return lambda left, right: _unit(left) @ _unit(right).T


def _measured(setting: Setting, low: float, ms: float) -> Measured:
    return Measured(
        setting=setting,
        recall=Interval(low, low + 0.01, low + 0.02),
        worst=0.1,
        posting_cost=0.5,
        ms=ms,
        cost=ms,
        short=0.0,
    )


def _make_card(
    model: CSRModel, kinds: tuple[str | None, ...] = (None, "codes", "dense"), **changes: Any
) -> Card:
    rows = (
        _measured(Setting(2), 0.30, 0.1),
        _measured(Setting(4), 0.50, 0.2),
        _measured(Setting(2, 20, "codes"), 0.60, 0.3),
        _measured(Setting(4, 20, "codes"), 0.80, 0.4),
        _measured(Setting(8, 50, "codes"), 0.90, 0.8),
        _measured(Setting(4, 20, "dense"), 0.85, 0.35),
        _measured(Setting(8, 50, "dense"), 0.97, 0.9),
    )
    rows = tuple(row for row in rows if row.setting.rescore in kinds)
    maps = tuple(
        Calibration(
            k=k,
            rescore=None,
            scores=(0.0, 1.0),
            cosines=(0.0, 0.1 * k),
            pairs=9,
            mean_error=0.1,
            p95_error=0.2,
        )
        for k in (2, 4)
    )
    settings = {
        "csrkit": "0.0.0",
        "fingerprint": model.fingerprint,
        "k_doc": 8,
        "residuals": True,
        "n_docs": N,
        "n_queries": Q,
        "queries": "given",
        "limit": 10,
        "store": "MemoryStore",
        "seed": 0,
        "measured": rows,
        "calibrations": maps,
    }
    return Card(**(settings | changes))


@pytest.fixture(scope="session")
def make_card(model: CSRModel) -> Callable[..., Card]:
    """Make a card by hand, with changes; its figures are read and not believed."""
    return lambda **changes: _make_card(model, **changes)
