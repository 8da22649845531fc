"""Small data that a sparse code suits: sums of three of forty directions, and noise."""

from __future__ import annotations

import numpy as np
import pytest

from csrkit.training.config import FitConfig

DIM, DIRECTIONS = 24, 40


def mixture(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    atoms = np.random.default_rng(5).normal(size=(DIRECTIONS, DIM))
    weights = np.zeros((n, DIRECTIONS))
    for row in weights:
        row[rng.choice(DIRECTIONS, 3, replace=False)] = rng.uniform(0.5, 1.5, 3)
    noise = 0.3 * rng.normal(size=(n, DIM))
    return (weights @ atoms + noise).astype(np.float32)


@pytest.fixture(scope="session")
def docs() -> np.ndarray:
    x = mixture(1000, 0)
    x.flags.writeable = False  # fit must not change it
    return x


@pytest.fixture(scope="session")
def queries() -> np.ndarray:
    x = mixture(200, 1)
    x.flags.writeable = False
    return x


@pytest.fixture(scope="session")
def small() -> FitConfig:
    """Settings under which a step takes a few milliseconds."""
    return FitConfig(n_latents=96, ladder=(2, 4, 8), steps=150, batch_size=128, learning_rate=5e-3)
