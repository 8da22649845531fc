"""The rows that every kind of input is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(203, 12)).astype(np.float32)


@pytest.fixture
def npy(data: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "docs.npy"
    np.save(path, data)
    return path
