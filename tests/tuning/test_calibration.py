"""Maps from scores to cosines: isotonic, few knots, errors measured on other queries."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from csrkit.tuning.calibration import Pairs, calibrate


def pairs(n: int, noise: float = 0.05, seed: int = 0) -> Pairs:
    """Cosines that rise with the square of the score."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(3, 3, size=n)
    cosines = 0.2 + 0.7 * scores**2 + noise * rng.normal(size=n)
    return Pairs(np.arange(n) // 10, scores, np.clip(cosines, -1, 1))


def test_the_map_is_the_mean_cosine_of_a_score() -> None:
    one = calibrate(8, None, pairs(20_000))
    assert one is not None
    assert (one.k, one.rescore, one.pairs) == (8, None, 10_000)
    assert len(one.scores) <= 32
    asked = np.linspace(0.1, 0.9, 50)
    np.testing.assert_allclose(one.apply(asked), 0.2 + 0.7 * asked**2, atol=0.02)
    assert one.mean_error == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.05)  # of a normal
    assert one.p95_error == pytest.approx(0.05 * 1.96, rel=0.05)


def test_errors_are_of_queries_that_the_map_has_not_seen() -> None:
    seen = pairs(2000, noise=0.0)
    other = seen.query % 2 == 1
    shifted = seen._replace(cosine=np.where(other, seen.cosine - 0.125, seen.cosine))
    one = calibrate(8, "codes", shifted)
    assert one is not None
    np.testing.assert_allclose(one.apply([0.5]), 0.375, atol=0.01)  # of even queries alone
    assert one.mean_error == pytest.approx(0.125, abs=0.01)


def test_few_knots_say_what_scikit_learn_says_of_all_pairs() -> None:
    found = pairs(4000)
    even = found.query % 2 == 0
    exact = IsotonicRegression().fit(found.score[even], found.cosine[even])
    one = calibrate(8, None, found)
    assert one is not None
    inner = np.quantile(found.score, np.linspace(0.01, 0.99, 200))
    assert np.abs(one.apply(inner) - exact.predict(inner)).mean() < 0.01


def test_scores_that_say_nothing_give_a_flat_map() -> None:
    rng = np.random.default_rng(0)
    noise = Pairs(np.arange(2000), rng.uniform(size=2000), rng.normal(0.5, 0.1, size=2000))
    one = calibrate(8, None, noise._replace(cosine=np.clip(noise.cosine, -1, 1)))
    assert one is not None
    assert one.apply([0.9])[0] - one.apply([0.1])[0] < 0.1
    equal = calibrate(8, None, noise._replace(score=np.full(2000, 0.5)))
    assert equal is not None
    assert len(equal.scores) == 1
    assert equal.cosines[0] == pytest.approx(0.5, abs=0.02)


def test_too_few_pairs_give_no_map() -> None:
    assert calibrate(8, None, pairs(180)) is None
    assert calibrate(8, None, pairs(240)) is not None
