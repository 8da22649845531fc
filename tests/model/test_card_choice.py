"""Cards: the rules that choose, and the maps from scores to cosines."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d

from csrkit.errors import ConfigError
from csrkit.model import Card, Setting

from .cards import calibration, make_card, row

SETTINGS = [
    Setting(k, candidates, rescore)
    for k in (4, 8)
    for candidates, rescore in ((None, None), (20, "codes"), (50, "codes"), (20, "dense"))
]
CARDS = st.lists(
    st.tuples(
        st.floats(0, 1).map(lambda low: round(low, 2)),
        st.floats(0, 1).map(lambda more: round(more, 2)),
        st.integers(1, 4),  # few, so that equal costs occur
    ),
    min_size=len(SETTINGS),
    max_size=len(SETTINGS),
).map(
    lambda drawn: make_card(
        *(
            row(setting, low, cost, value=min(1.0, low + more * (1 - low)))
            for setting, (low, more, cost) in zip(SETTINGS, drawn, strict=True)
        )
    )
)


@given(CARDS, st.floats(0.01, 1), st.sampled_from([None, "codes", "dense", "any"]))
def test_cheapest_is_the_cheapest_that_promises(card: Card, recall: float, rescore: Any) -> None:
    at_hand = [r for r in card.measured if rescore == "any" or r.setting.rescore in (None, rescore)]
    kept = [r for r in at_hand if r.recall.low >= recall]
    if not kept:
        best = max(r.recall.low for r in at_hand)
        with pytest.raises(ConfigError, match=f"{best:.3f} to 1.000") as caught:
            card.cheapest(recall, rescore=rescore)
        assert f"no measured setting promises recall={recall}" in str(caught.value)
        return
    chosen = card.cheapest(recall, rescore=rescore)
    assert chosen in kept
    assert chosen.cost == min(r.cost for r in kept)
    equal = [r.setting for r in kept if r.cost == chosen.cost]
    assert chosen.setting.k == min(s.k for s in equal)


@given(CARDS, st.sampled_from([None, "codes", "dense", "any"]))
def test_efforts_rise_in_cost_and_recall(card: Card, rescore: Any) -> None:
    at_hand = [r for r in card.measured if rescore == "any" or r.setting.rescore in (None, rescore)]
    best = max(r.recall.value for r in at_hand)
    chosen = [card.effort(name, rescore=rescore) for name in ("fast", "balanced", "accurate")]
    for share, one in zip((0.85, 0.95, 0.99), chosen, strict=True):
        enough = [r.cost for r in at_hand if r.recall.value >= share * best]
        assert one.recall.value >= share * best
        assert one.cost == min(enough)
    costs = [one.cost for one in chosen]
    assert costs == sorted(costs)
    recalls = [one.recall.value for one in chosen]
    assert recalls == sorted(recalls)


@given(CARDS, st.sampled_from([None, "codes", "dense", "any"]))
def test_the_frontier_is_what_is_worth_its_cost(card: Card, rescore: Any) -> None:
    shown = card.frontier(rescore=rescore)
    within = {None, "codes", "dense"} if rescore == "any" else {None, rescore}
    assert {one.setting.rescore for one in shown} <= within
    costs, recalls = [row.cost for row in shown], [row.recall.value for row in shown]
    assert costs == sorted(costs)
    assert recalls == sorted({*recalls})
    for one in card.measured:
        if one not in shown and one.setting.rescore in within:
            # another is no dearer and no worse
            assert any(o.cost <= one.cost and o.recall.value >= one.recall.value for o in shown)
    for effort in ("fast", "balanced", "accurate"):
        assert card.effort(effort, rescore=rescore) in shown


def test_what_it_cannot_choose_is_said() -> None:
    card = make_card(row(Setting(8, 20, "dense"), 0.9125, value=0.95))
    for recall in (0.0, -1, 1.01, float("nan")):
        with pytest.raises(ConfigError, match=f"at most 1, got recall={recall!r}"):
            card.cheapest(recall)
    with pytest.raises(ConfigError) as caught:
        card.cheapest(0.95)
    assert str(caught.value) == (
        "no measured setting promises recall=0.95: the best is k=8, candidates=20, "
        "rescore='dense' with 0.950 (0.912 to 1.000); ask for at most 0.912, "
        "or tune with a longer k_doc, more queries or dense rescoring"
    )
    assert card.cheapest(0.912).setting == Setting(8, 20, "dense")  # what it offered
    with pytest.raises(ConfigError, match="one of fast, balanced, accurate, got 'slow'"):
        card.effort("slow")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="measured with rescore='codes', the card has none"):
        card.cheapest(0.5, rescore="codes")
    with pytest.raises(ConfigError, match="measured with rescore=None, the card has none"):
        card.effort("fast", rescore=None)


def test_find_tells_settings_apart() -> None:
    card = make_card(*(row(setting, 0.5, cost) for cost, setting in enumerate(SETTINGS)))
    for cost, setting in enumerate(SETTINGS):
        found = card.find(Setting(setting.k, setting.candidates, setting.rescore))
        assert found is not None
        assert found.cost == cost
    assert card.find(Setting(5)) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "expected k and candidates of at least 1, got k=0"),
        ((8, 0, "codes"), "got k=8, candidates=0, rescore='codes'"),
        ((8, 20), "expected candidates with rescore and none without"),
        ((8, None, "codes"), "expected candidates with rescore and none without"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Setting(*arguments)


# -- scores as cosines ------------------------------------------------------------------


def test_scores_become_cosines_and_k_between_is_mixed() -> None:
    knots = {4: ((0.1, 0.4, 0.9), (0.2, 0.3, 0.8)), 16: ((0.0, 0.5), (0.1, 0.9))}
    card = make_card(calibrations=tuple(calibration(k, *xy) for k, xy in knots.items()))
    scores = np.linspace(-0.2, 1.2, 29).reshape(1, 29)
    maps = {
        k: interp1d(x, y, bounds_error=False, fill_value=(y[0], y[-1]))(scores)
        for k, (x, y) in knots.items()
    }
    np.testing.assert_allclose(card.to_cosine(scores, Setting(4)), maps[4])
    np.testing.assert_allclose(card.to_cosine(scores, Setting(16)), maps[16])
    between = card.to_cosine(scores, Setting(8))  # half way from 4 to 16
    np.testing.assert_allclose(between, (maps[4] + maps[16]) / 2)
    assert (np.diff(card.to_cosine(scores, Setting(5))[0]) >= 0).all()
    np.testing.assert_array_equal(card.to_cosine(scores, Setting(99, 20, "dense")), scores)


def test_scores_that_were_not_calibrated_are_refused() -> None:
    card = make_card(calibrations=(calibration(4, (0.1,), (0.2,)), calibration(8, (0.1,), (0.2,))))
    for k in (3, 9):
        with pytest.raises(ConfigError, match=f"got k={k}: the card knows k from 4 to 8"):
            card.to_cosine([0.5], Setting(k))
    with pytest.raises(ConfigError, match="rescore='codes': the card knows no such scores"):
        card.to_cosine([0.5], Setting(4, 20, "codes"))
