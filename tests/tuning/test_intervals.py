"""Intervals that hold together, so that choosing by them is no winner's curse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from csrkit.metrics import Interval, bootstrap_interval
from csrkit.tuning.intervals import simultaneous_intervals

QUERIES, SETTINGS, DRAWS = 150, 30, 100


def population(n: int, seed: int) -> np.ndarray:
    """Return recalls (settings, n): hard and easy queries, settings from poor to nearly exact."""
    rng = np.random.default_rng(seed)
    ease, strength = rng.normal(scale=1.2, size=n), np.linspace(-0.5, 4.5, SETTINGS)
    chance = 1 / (1 + np.exp(-(strength[:, None] + ease)))
    return rng.binomial(10, chance) / 10


EVERYONE = population(40_000, seed=0)
TRUTH = EVERYONE.mean(axis=1)


def holds(intervals: list[Interval]) -> bool:
    return all(one.low <= truth <= one.high for one, truth in zip(intervals, TRUTH, strict=True))


def test_all_settings_are_covered_at_once_and_single_intervals_do_not_do_that() -> None:
    rng = np.random.default_rng(1)
    together = alone = 0
    for seed in range(DRAWS):
        recalls = EVERYONE[:, rng.choice(EVERYONE.shape[1], QUERIES)]
        together += holds(simultaneous_intervals(recalls, resamples=1000, seed=seed))
        alone += holds([bootstrap_interval(row, resamples=200, seed=seed) for row in recalls])
    assert together >= 0.91 * DRAWS  # 95% within two standard errors of this many draws
    assert alone < 0.85 * DRAWS  # the winner's curse, if one chose by these


def test_one_setting_gets_the_classical_interval() -> None:
    recalls = EVERYONE[10:11, :2000]
    (one,) = simultaneous_intervals(recalls, seed=3)
    classical = stats.bootstrap((recalls[0],), np.mean, rng=0).confidence_interval
    assert one.value == recalls.mean()
    # the query more of recall 0 or 1 widens both ends by at most 1 / (q + 1)
    assert one.low == pytest.approx(classical.low, abs=1e-3)
    assert one.high == pytest.approx(classical.high, abs=1e-3)


def test_many_equal_settings_are_one() -> None:
    recalls = EVERYONE[10:11, :300]
    (one,) = simultaneous_intervals(recalls, seed=3)
    for other in simultaneous_intervals(np.repeat(recalls, 20, axis=0), seed=3):
        assert other == pytest.approx(one)


@pytest.mark.parametrize("q", [30, 300])
def test_what_never_failed_is_not_promised_forever(q: int) -> None:
    """If a share p of queries had recall 0, q without one would have chance (1 - p)**q."""
    (one,) = simultaneous_intervals(np.ones((1, q)))
    assert (one.value, one.high) == (1.0, 1.0)
    assert one.low == pytest.approx(0.025 ** (1 / q), rel=0.01)
    (never,) = simultaneous_intervals(np.zeros((1, q)))
    assert (never.low, never.value) == (0.0, 0.0)
    assert never.high == pytest.approx(1 - one.low, rel=0.01)


def test_more_queries_and_lower_levels_narrow() -> None:
    def width(q: int, level: float) -> float:
        return float(
            np.mean([i.high - i.low for i in simultaneous_intervals(EVERYONE[:, :q], level=level)])
        )

    assert width(1600, 0.95) == pytest.approx(width(400, 0.95) / 2, rel=0.15)
    assert width(400, 0.8) < 0.85 * width(400, 0.95)


def test_a_seed_gives_one_answer() -> None:
    recalls = EVERYONE[:, :100]
    first = simultaneous_intervals(recalls, seed=1)
    assert simultaneous_intervals(recalls, seed=1) == first
    assert simultaneous_intervals(recalls, seed=2) != first
