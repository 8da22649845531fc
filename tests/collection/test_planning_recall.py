"""Recall of a plan: the same hits as a `Searcher`, a range that holds, and rivals by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from csrkit import Searcher
from csrkit.collection.plans.growth import Found, Sought, expected, judge, recalls, thinned
from csrkit.collection.plans.rivals import rivals_found
from csrkit.collection.plans.sampling import Drawn, Parts, parted
from csrkit.collection.plans.searching import EFFORTS, searched, tried
from csrkit.errors import ConfigError
from csrkit.evaluation.csr import row_numbers
from csrkit.metrics import exact_top, recall_at
from csrkit.model.card import Setting
from csrkit.stores import MemoryStore
from csrkit.tuning.answers import Answers

from .plan_data import model, rows

N, Q = 6000, 150


def parts(n: int, seed: int = 11) -> Parts:
    everything = rows(N + Q, seed=seed)
    return Parts(everything[:0], everything[Q : Q + n], everything[:Q], "documents")


def exact(sample: Parts) -> Any:
    return sample.queries @ sample.docs.T


@pytest.mark.parametrize("k_doc", [4, 8])
@pytest.mark.parametrize("rescore", ["codes", "dense", None])
def test_every_setting_finds_what_a_searcher_finds(k_doc: int, rescore: Any) -> None:
    sample = parts(700)
    found = tried(model(), sample, k_doc, exact(sample), 700)
    store = MemoryStore()
    dense = sample.docs if rescore == "dense" else None
    searcher = Searcher(model(), store, k_doc=k_doc, rescore=rescore or "codes", dense=dense)
    Searcher(model(), store, k_doc=k_doc).upsert(range(700), sample.docs)  # with residual bits
    truth = exact_top(sample.queries, sample.docs, 10)
    own = [one for one in found.recalls if one.rescore == rescore]
    assert {one.k for one in own} == {4, 8}
    for one in own:
        hits = row_numbers(searcher.run(sample.queries, one), 10)
        np.testing.assert_allclose(
            found.recalls[one].mean(), recall_at(hits, truth, 10).mean(), atol=3e-3
        )


def test_an_effort_reaches_its_share_of_the_best_and_no_cheaper_one_does() -> None:
    sample = parts(700)
    found = tried(model(), sample, 8, exact(sample), 10**6)
    best = max(one.mean() for one in found.recalls.values())
    assert [one.sought.effort for one in searched(model(), sample, 8, exact(sample), 9, 1.0)] == [
        *EFFORTS,
        *EFFORTS,
    ]
    for effort, share in {"fast": 0.85, "balanced": 0.95, "accurate": 0.99}.items():
        one = found.choose(effort, "dense")
        assert found.recalls[one].mean() >= share * best
        cheaper = [each for each in found.recalls if found.cost[each] < found.cost[one]]
        assert all(
            found.recalls[each].mean() < share * best for each in cheaper if each.rescore != "codes"
        )


@pytest.mark.parametrize("times", [3, 8])
@pytest.mark.parametrize("k_doc", [4, 8])
def test_the_range_holds_what_the_whole_collection_gives(times: int, k_doc: int) -> None:
    """The sample is every so many-th row; the truth is measured on all 6,000."""
    whole, sample = parts(N), parts(N // times)
    truth = tried(model(), whole, k_doc, exact(whole), N)
    spans = expected(searched(model(), sample, k_doc, exact(sample), N, float(times)), 0)
    for one in spans:
        assert one.k is not None
        mean = truth.recalls[Setting(one.k, one.candidates, one.rescore)].mean()
        assert one.recall.low <= mean <= one.recall.high, one
        assert one.recall.low < one.sample  # more documents find less
    assert any(mean_of(one, truth) < one.sample for one in spans)


def mean_of(one: Any, truth: Any) -> float:
    return float(truth.recalls[Setting(one.k, one.candidates, one.rescore)].mean())


def test_thinning_keeps_a_candidate_and_a_hit() -> None:
    assert thinned(Setting(8, 100, "codes"), 7.9) == Setting(8, 12, "codes")
    assert thinned(Setting(8, 20, "codes"), 500) == Setting(8, 1, "codes")
    assert thinned(Setting(8), 500) == Setting(8)


def test_recall_by_hand_with_ties_and_misses() -> None:
    cosines = np.array([[0.9, 0.8, 0.8, 0.1]], np.float32)
    for hits, want in (([0, 1], 1.0), ([0, 2], 1.0), ([1, 2], 1.0), ([0, 3], 0.5), ([-1, 3], 0)):
        assert recalls(np.array([hits]), cosines, 2).tolist() == [want]


def test_a_thinned_search_by_hand() -> None:
    """10 of 20 rows are in the sample: 5 hits of 2 candidates' worth of what 4 were."""
    cosines = np.linspace(0.9, 0.1, 10, dtype=np.float32)[None]
    order = np.array([[9, 0, 1, 2, 3, 4, 5, 6, 7, 8]])  # the first stage puts the worst on top
    scores = np.take_along_axis(cosines, order, axis=1).astype(np.float64)
    one = judge(
        Sought(None, Setting(1, 12, "dense")), Answers(order, {"dense": scores}), cosines, 2
    )
    assert one.whole.tolist() == [1.0]
    assert one.thinned.tolist() == [1.0]  # 6 candidates hold the best 5
    few = judge(Sought(None, Setting(1, 8, "dense")), Answers(order, {"dense": scores}), cosines, 2)
    assert few.thinned.tolist() == [0.8]  # 4 were thinned, and 5 have to come back: 9 0 1 2 3


def test_ranges_never_promise_what_nobody_has_seen() -> None:
    sure = Found(Sought("fast", Setting(8)), np.ones(40), np.ones(40))
    (one,) = expected([sure], 0)
    assert one.recall.low < 0.95
    assert one.recall.high == 1.0


def test_rivals_find_what_their_codes_by_hand_find() -> None:
    sample = parts(700)
    found = dict(rivals_found(sample, exact(sample), 1.0, 0))
    signs = (sample.docs > 0).astype(np.int32)
    near = (sample.queries > 0).astype(np.int32)
    apart = (near[:, None, :] != signs[None]).sum(axis=2)
    order = np.argsort(apart, axis=1, kind="stable")[:, :100]
    scores = np.take_along_axis(exact(sample), order, axis=1).astype(np.float64)
    top = Answers(order, {"dense": scores}).top(Setting(1, 100, "dense"), 10)
    want = recalls(top, exact(sample), 10).mean()
    assert found["binary"].whole.mean() == pytest.approx(want, abs=0.02)  # ties of distance
    assert found["int8"].whole.mean() > 0.99
    assert {one.sought.effort for one in found.values()} == {None}


def test_the_parts_of_a_sample_lie_apart() -> None:
    drawn = Drawn(3.0 * rows(500), 500, False, 1.0)
    fitted = parted(drawn, None, 1000, fits=True, seed=0)
    assert (len(fitted.fit), len(fitted.docs), len(fitted.queries)) == (250, 200, 50)
    together = np.concatenate(fitted[:3])
    assert len(np.unique(together, axis=0)) == 500
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    given = parted(drawn, None, 40, fits=False, seed=0)
    assert (len(given.fit), len(given.docs), len(given.queries)) == (0, 460, 40)
    everything = Drawn(drawn.rows, 500, True, 1.0)
    whole = parted(everything, None, 40, fits=True, seed=0)
    assert (len(whole.fit), len(whole.docs)) == (250, 460)
    asked = parted(drawn, 2 * rows(60, seed=4), 30, fits=True, seed=0)
    assert (len(asked.docs), len(asked.queries), asked.kind) == (250, 30, "given")
    with pytest.raises(ConfigError, match=r"at least 20 queries, got n_queries=40 of 12"):
        parted(drawn, rows(12), 40, fits=True, seed=0)
    with pytest.raises(ConfigError, match="n_queries=3"):
        parted(drawn, None, 3, fits=True, seed=0)
