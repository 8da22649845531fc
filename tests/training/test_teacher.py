"""The distillation weight that follows from the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from csrkit.training.teacher import ROWS, distillation_weight, perplexity


def unit(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))


def groups(n: int, size: int) -> torch.Tensor:
    """Rows that are equal within groups of one size, and at right angles otherwise."""
    return torch.eye(n // size).repeat_interleave(size, dim=0)


def test_perplexity_is_that_of_the_formula() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(40, 6)))
    cosines = np.asarray(rows, dtype=np.float64) @ np.asarray(rows, dtype=np.float64).T
    entropies = []
    for i, row in enumerate(cosines):
        weights = np.exp(np.delete(row, i) / 0.1)
        shares = weights / weights.sum()
        entropies.append(-(shares * np.log(shares)).sum())
    assert perplexity(rows, 0.1) == pytest.approx(np.exp(np.mean(entropies)), rel=1e-4)


@pytest.mark.parametrize("size", [2, 5, 20])
def test_perplexity_counts_the_neighbours(size: int) -> None:
    assert perplexity(groups(200, size), 0.02) == pytest.approx(size - 1, rel=1e-4)


@pytest.mark.parametrize(("size", "weight"), [(8, 0.15), (16, 0.15), (64, 0.0605), (128, 0.0149)])
def test_the_weight_falls_with_the_neighbours_beyond_40(size: int, weight: float) -> None:
    assert distillation_weight(groups(ROWS, size), 0.02) == weight


def test_no_more_than_1024_rows_are_looked_at() -> None:
    sharp, flat = groups(ROWS, 4), torch.ones(ROWS, ROWS // 4) / 16
    assert distillation_weight(torch.cat([sharp, flat]), 0.02) == 0.15
    assert distillation_weight(torch.cat([flat, sharp]), 0.02) < 0.01
