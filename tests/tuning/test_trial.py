"""The measurement itself: what is indexed, what is exact, and prefixes that are searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from csrkit import CSRModel
from csrkit.errors import ConfigError, ShapeError
from csrkit.model import Setting
from csrkit.search import Searcher
from csrkit.stores import EdgeStore, MemoryStore, Store
from csrkit.tuning import trial as trials
from csrkit.tuning.answers import answers
from csrkit.tuning.grid import grid
from csrkit.tuning.trial import Plan, Trial, split, trial

LIMIT = 5
PLAN = Plan(k_doc=16, limit=LIMIT, dense=True, residuals=True)


@pytest.fixture(scope="module")
def docs(clustered: Callable) -> np.ndarray:
    return clustered(500)


@pytest.fixture(scope="module")
def model(docs: np.ndarray, landmark_model: Callable) -> CSRModel:
    return landmark_model(docs, n_latents=96)


@pytest.fixture(params=[MemoryStore, EdgeStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param is MemoryStore else EdgeStore(tmp_path / "index")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# -- queries and documents ----------------------------------------------------------------


def test_documents_that_ask_are_not_searched(docs: np.ndarray) -> None:
    parts = split(docs, None, 32, 60, seed=1)
    assert parts.kind == "documents"
    assert (len(parts.queries), len(parts.kept)) == (60, 440)
    left_out = np.setdiff1d(np.arange(500), parts.kept)
    np.testing.assert_allclose(parts.queries, unit(docs[left_out]), rtol=1e-5)
    assert len(split(docs, None, 32, 400, seed=1).queries) == 100  # a fifth


def test_given_queries_leave_all_documents(docs: np.ndarray, clustered: Callable) -> None:
    asked = clustered(80, seed=5)
    parts = split(docs, asked, 32, 50, seed=1)
    assert (parts.kind, len(parts.queries), len(parts.kept)) == ("given", 50, 500)
    distances = np.linalg.norm(parts.queries[:, None] - unit(asked)[None], axis=2)
    assert (distances.min(axis=1) < 1e-5).all()
    assert len({*distances.argmin(axis=1)}) == 50  # none twice
    np.testing.assert_array_equal(split(docs, asked, 32, 50, seed=1).queries, parts.queries)
    assert (split(docs, asked, 32, 50, seed=2).queries != parts.queries).any()


def test_too_little_is_refused(docs: np.ndarray, model: CSRModel) -> None:
    with pytest.raises(ConfigError, match="least 20 queries, got n_queries=500 out of a fifth of"):
        split(docs[:99], None, 32, 500, seed=0)
    with pytest.raises(ConfigError, match="got n_queries=500 out of 19 given"):
        split(docs, docs[:19], 32, 500, seed=0)
    with pytest.raises(ConfigError, match="got n_queries=19 out of"):
        split(docs, None, 32, 19, seed=0)
    with pytest.raises(ShapeError, match=r"of shape \(n, 31\)"):
        split(docs, None, 31, 500, seed=0)
    with pytest.raises(ShapeError, match=r"of shape \(n, 32\)"):
        split(docs, docs[:, :7], 32, 500, seed=0)
    few = split(docs[:4], docs[:20], 32, 20, seed=0)
    with pytest.raises(ConfigError, match="at least limit=5 documents, got 4 besides 20 queries"):
        trial(model, few, PLAN, MemoryStore())


def test_queries_that_are_documents_are_noticed(docs: np.ndarray, model: CSRModel) -> None:
    def of(queries: np.ndarray) -> Trial:
        return trial(model, split(docs, queries, 32, 500, seed=0), PLAN, MemoryStore())

    with pytest.warns(UserWarning, match="^60 of 60 queries are documents, which find themselves"):
        of(docs[100:160] * 3)
    of(np.concatenate([docs[:20], -docs[20:60]]))  # warnings are errors


def test_a_store_in_use_is_refused(docs: np.ndarray, model: CSRModel, store: Store) -> None:
    store.upsert([1], model.encode(docs[:1]))
    with pytest.raises(ConfigError, match="expected an empty store to measure in, got one of 1 "):
        trial(model, split(docs, None, 32, 60, seed=0), PLAN, store)
    assert store.count() == 1


# -- the exact answers --------------------------------------------------------------------


@pytest.mark.parametrize("block", [7, 440, 4096])
def test_truth_is_exact_whatever_the_blocks(
    block: int, docs: np.ndarray, model: CSRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "BLOCK_ROWS", block)
    parts = split(docs, None, 32, 60, seed=1)
    built = trial(model, parts, PLAN, MemoryStore())
    exact = NearestNeighbors(n_neighbors=LIMIT, metric="cosine").fit(docs[parts.kept])
    expected = parts.kept[exact.kneighbors(parts.queries, return_distance=False)]
    np.testing.assert_array_equal(built.truth, expected)
    found = built.run(parts.queries, Setting(16, 440, "dense"), LIMIT)
    assert [[hit.id for hit in hits] for hits in found] == expected.tolist()


def test_cosines_of_pairs_are_dense_cosines(docs: np.ndarray, model: CSRModel) -> None:
    built = trial(model, split(docs, None, 32, 60, seed=1), PLAN, MemoryStore())
    ids = np.array([[3, -1, 10], *[[-1] * 3] * 59])
    ids[7, 2] = 499
    found = built.pairs(ids, np.arange(180.0).reshape(60, 3))
    assert (found.query.tolist(), found.score.tolist()) == ([0, 0, 7], [0, 2, 23])
    expected = np.einsum("ij,ij->i", built.split.queries[[0, 0, 7]], unit(docs[[3, 10, 499]]))
    np.testing.assert_allclose(found.cosine, expected, rtol=1e-5)


# -- prefixes -----------------------------------------------------------------------------


@pytest.fixture
def built(docs: np.ndarray, model: CSRModel, store: Store) -> Trial:
    return trial(model, split(docs, None, 32, 60, seed=1), PLAN, store)


def test_settings_read_off_one_search_are_searches(built: Trial, model: CSRModel) -> None:
    settings = grid((4, 16), LIMIT, 100, ("codes", "dense"))
    checked = 0
    for k in (4, 16):
        found = answers(built, k, 100, ("codes", "dense"))
        for setting in (one for one in settings if one.k == k):
            ids = found.top(setting, LIMIT)
            for query, hits in enumerate(built.run(built.split.queries, setting, LIMIT)):
                scores = dict(
                    zip(found.ids[query], found.scores[setting.rescore][query], strict=True)
                )
                own = [scores[one] for one in ids[query] if one >= 0]
                assert own == pytest.approx([hit.score for hit in hits], abs=1e-5)
                same = set(ids[query].tolist()) - {-1} == {hit.id for hit in hits}
                # engines order equal scores as they like
                assert same or own.count(own[-1]) > 1 or np.diff(own).max() > -1e-6
                checked += 1
    assert checked == 60 * len(settings)


def test_what_was_indexed_is_said(docs: np.ndarray, model: CSRModel, store: Store) -> None:
    parts = split(docs, None, 32, 60, seed=1)
    built = trial(model, parts, replace(PLAN, residuals=False), store)
    assert (built.residuals, built.refitted) == (False, True)
    assert built.searchers.keys() == {None, "codes", "dense"}
    assert store.count() == len(parts.kept)
    codes = store.fetch(parts.kept[:5]).to_dense()
    rows = docs[parts.kept[:5]]
    refitted = model.refit(rows, model.encode(rows, k=16))
    np.testing.assert_allclose(codes, refitted.to_dense(), atol=1e-6)
    plain = Searcher(model, store, k_doc=16)
    assert built.run(parts.queries[:1], Setting(8, 20, "codes"), 5) == plain.run(
        parts.queries[:1], Setting(8, 20, "codes"), limit=5
    )


def test_an_emptied_store_is_said_to_hold_what_it_can(docs: np.ndarray, model: CSRModel) -> None:
    store = MemoryStore()
    store.upsert([1], model.encode(docs[:1]))  # without residuals, for good
    store.delete([1])
    built = trial(model, split(docs, None, 32, 60, seed=1), PLAN, store)
    assert (built.residuals, built.refitted) == (False, False)


def test_residual_bits_are_stored_and_help(built: Trial, docs: np.ndarray, model: CSRModel) -> None:
    assert (built.residuals, built.refitted) == (True, False)
    without = trial(model, built.split, Plan(16, LIMIT, False, False), MemoryStore())
    assert without.searchers.keys() == {None, "codes"}
    error = {}
    for name, one in (("with", built), ("without", without)):
        found = answers(one, 16, 50, ("codes",))
        pairs = one.pairs(found.ids, found.scores["codes"])
        error[name] = np.abs(pairs.score - pairs.cosine).mean()
    assert error["with"] < 0.85 * error["without"]


def test_of_documents_that_tie_any_counts(model: CSRModel, docs: np.ndarray) -> None:
    twice = np.repeat(docs[:60], 8, axis=0)
    built = trial(model, split(twice, docs[100:140], 32, 40, seed=0), PLAN, MemoryStore())
    cosines = unit(docs[100:140]).astype(np.float64) @ unit(twice).astype(np.float64).T
    order = np.argsort(-cosines, axis=1, kind="stable")
    exact, others = order[:, :LIMIT], order[:, 3 : 3 + LIMIT]  # eight tie for the first five
    none = np.full_like(exact, -1)
    half = np.concatenate([others[:, :3], order[:, 8:10]], axis=1)
    recalls = built.recalls(np.stack([exact, others, half, none]))
    np.testing.assert_array_equal(recalls.T, [[1, 1, 0.6, 0]] * 40)


@pytest.mark.parametrize("length", [1e30, 1e-30])
def test_lengths_that_float32_cannot_square_change_nothing(
    model: CSRModel, docs: np.ndarray, length: float
) -> None:
    far = docs.astype(np.float32) * np.float32(length)
    here, there = (split(rows, None, 32, 60, seed=1) for rows in (docs, far))
    np.testing.assert_allclose(here.queries, there.queries, rtol=1e-5)
    truths = [trial(model, parts, PLAN, MemoryStore()).truth for parts in (here, there)]
    np.testing.assert_array_equal(*truths)
