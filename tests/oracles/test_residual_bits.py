"""What the residual bits rest on: quantisers of a normal variable, and who gets how many bits."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from csrkit.model.residual import LEFT, STEPS, _share_out


def left_by(step: float, bits: int) -> float:
    """Integrate the variance that a uniform quantiser leaves of a standard normal."""
    half = 2 ** (bits - 1)
    edges = [*(step * level for level in range(half)), np.inf]
    return 2 * sum(
        quad(lambda x, m=(i + 0.5) * step: (x - m) ** 2 * norm.pdf(x), edges[i], edges[i + 1])[0]
        for i in range(half)
    )


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_table_of_quantisers(bits: int) -> None:
    assert left_by(STEPS[bits], bits) == pytest.approx(LEFT[bits], rel=1e-3)
    best = minimize_scalar(
        left_by, bounds=(STEPS[bits] / 2, STEPS[bits] * 2), args=(bits,), method="bounded"
    )
    assert best.x == pytest.approx(STEPS[bits], rel=2e-3)
    assert best.fun == pytest.approx(LEFT[bits], rel=1e-3)


def test_no_bits_leave_everything() -> None:
    assert (STEPS[0], LEFT[0]) == (0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_way_to_share_out_bits_leaves_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=4) ** 2
    for bits in (1, 3, 7):
        found = _share_out(weights, bits)
        assert found.sum() == bits
        ways = [way for way in product(range(bits + 1), repeat=4) if sum(way) == bits]
        least = min(sum(w * LEFT[b] for w, b in zip(weights, way, strict=True)) for way in ways)
        assert weights @ np.array(LEFT)[found] == pytest.approx(least)


def test_nothing_is_given_to_directions_without_weight() -> None:
    assert _share_out(np.array([0.0, 1.0, 0.0]), 20).tolist() == [0, 8, 0]
    assert _share_out(np.zeros(3), 20).tolist() == [0, 0, 0]
