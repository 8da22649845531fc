"""Which settings are measured, and costs that never fall where more is done."""

from __future__ import annotations

import numpy as np
import pytest

from csrkit.model import Setting
from csrkit.tuning.grid import fitted_costs, grid


def test_the_grid_is_this_one() -> None:
    assert grid((4, 8), 10, 1000, ("codes",)) == [
        Setting(4),
        Setting(8),
        *(Setting(k, c, "codes") for k in (4, 8) for c in (20, 50, 100, 200, 400)),
    ]
    assert len(grid((8, 16, 32, 64), 10, 1000, ("codes", "dense"))) == 44


def test_candidates_are_no_more_than_documents() -> None:
    settings = grid((4,), 100, 700, ("dense",))
    assert [s.candidates for s in settings] == [None, 200, 500, 700]


GRID = grid((8, 16, 32, 64), 10, 10_000, ("codes", "dense"))
POSTINGS = np.array([1000 * setting.k**1.2 for setting in GRID])


def true_ms(setting: Setting, postings: float) -> float:
    rescoring = {None: 0.0, "codes": 0.1, "dense": 0.05}[setting.rescore]
    each = {None: 0.0, "codes": 0.004, "dense": 0.001}[setting.rescore]
    return 0.2 + 1e-5 * postings + rescoring + each * (setting.candidates or 0)


TRUE = np.array([true_ms(*pair) for pair in zip(GRID, POSTINGS, strict=True)])


def test_costs_are_the_times_where_the_model_holds() -> None:
    np.testing.assert_allclose(fitted_costs(GRID, POSTINGS, TRUE), TRUE, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_costs_see_through_noise_and_never_fall_with_work(seed: int) -> None:
    noise = np.random.default_rng(seed).lognormal(sigma=0.3, size=len(GRID))
    costs = fitted_costs(GRID, POSTINGS, TRUE * noise)
    of = dict(zip(GRID, costs, strict=True))
    assert np.abs(costs / TRUE / np.median(costs / TRUE) - 1).mean() < 0.15
    assert np.abs(noise / np.median(noise) - 1).mean() > 0.2  # what was seen through
    rose = 0
    for one in GRID:
        for more in GRID:
            if (
                more.rescore == one.rescore
                and more.k >= one.k
                and (more.candidates or 0) >= (one.candidates or 0)
            ):
                assert of[more] >= of[one]
                rose += of[more] > of[one]
    assert rose > 100
