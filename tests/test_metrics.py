"""Metrics against scikit-learn, literal loops, and small cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import ndcg_score
from sklearn.neighbors import KNeighborsClassifier

from csrkit.errors import ConfigError, ShapeError
from csrkit.metrics import (
    Interval,
    _fidelity,
    _interval,
    bootstrap_interval,
    bytes_per_vector,
    exact_top,
    hit_rate_at,
    latent_loads,
    mrr_at,
    ndcg_at,
    neighbour_accuracy,
    posting_cost,
    recall_at,
)
from csrkit.vectors import SparseVectors

DOCS = 12
ragged = st.lists(st.lists(st.integers(0, DOCS - 1), max_size=9, unique=True), min_size=1)
gains = st.dictionaries(st.integers(0, DOCS - 1), st.integers(1, 4), min_size=1, max_size=8)
depths = st.integers(1, 12)


# -- fidelity -----------------------------------------------------------------


@settings(deadline=None)  # a busy machine is no failure
@given(st.data(), ragged, depths)
def test_recall_is_the_overlap(data: st.DataObject, found: list[list[int]], n: int) -> None:
    exact = st.permutations(range(DOCS))
    truth = data.draw(st.lists(exact, min_size=len(found), max_size=len(found)))
    want = [sum(doc in t[:n] for doc in f[:n]) / n for f, t in zip(found, truth, strict=True)]
    np.testing.assert_allclose(recall_at(found, truth, n), want)
    np.testing.assert_allclose(recall_at(found, np.array(truth), n), want)
    assert (recall_at(truth, truth, n) == 1).all()


def test_recall_of_missing_repeated_and_padded_hits() -> None:
    truth = np.array([[1, 2, 3, 4]] * 5)
    found = [[], [1, 1, 1, 1], [9, 1, 2], [4, 3, 2, 1], [5, 6, 7, 8, 1]]
    assert recall_at(found, truth, 4).tolist() == [0, 0.25, 0.5, 1, 0]
    assert recall_at(np.array([[1, -1, -1, -1]]), truth[:1], 4).tolist() == [0.25]
    assert recall_at([[1]], [[1]], 10).tolist() == [1]  # a collection of one document
    assert recall_at(np.array([[1, -1]]), np.array([[1, -1]]), 2).tolist() == [1]


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 60), st.integers(1, 5), st.data())
def test_exact_top_is_a_stable_sort(
    seed: int, q: int, m: int, dim: int, data: st.DataObject
) -> None:
    """Small whole numbers: many ties, and no rounding to argue about."""
    rng = np.random.default_rng(seed)
    queries, docs = rng.integers(-2, 3, (q, dim)), rng.integers(-2, 3, (m, dim))
    n = data.draw(st.integers(1, m))
    want = np.argsort(-(queries @ docs.T), axis=1, kind="stable")[:, :n]
    np.testing.assert_array_equal(exact_top(queries, docs, n), want)


def test_exact_top_over_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    queries, docs = rng.normal(size=(50, 8)), rng.normal(size=(300, 8))
    docs[200:250] = docs[:50]  # the same vectors again, far away
    queries, docs = queries.astype(np.float32), docs.astype(np.float32)
    docs = np.round(docs * 4) / 4  # sums of these are exact: equal rows give equal scores
    queries = np.round(queries * 4) / 4
    want = np.argsort(-(queries @ docs.T), axis=1, kind="stable")[:, :40]
    monkeypatch.setattr(_fidelity, "_DOC_ROWS", 16)
    monkeypatch.setattr(_fidelity, "_QUERY_ROWS", 7)
    np.testing.assert_array_equal(exact_top(queries, docs, 40), want)


def test_exact_top_of_tiny_huge_and_zero_scores() -> None:
    docs = np.array([[0.0], [-0.0], [1e-45], [-1e-45], [3e38], [-3e38]])
    assert exact_top([[1.0]], docs, 6).tolist() == [[4, 2, 0, 1, 3, 5]]
    assert exact_top(np.empty((0, 1)), docs, 6).shape == (0, 6)


@pytest.mark.parametrize(
    ("queries", "docs", "n", "message"),
    [
        (np.ones((2, 3)), np.ones((5, 4)), 1, r"\(2, 3\) and \(5, 4\)"),
        (np.ones(3), np.ones((5, 3)), 1, r"\(3,\) and \(5, 3\)"),
        (np.ones((2, 3)), np.ones((5, 3)), 6, "between 1 and 5 documents, got n=6"),
        (np.ones((2, 3)), np.ones((5, 3)), 0, "got n=0"),
        (np.ones((1, 1)), [[1.0], [np.nan]], 1, "finite scores, got nan for row 1"),
    ],
)
def test_exact_top_refuses(queries: object, docs: object, n: int, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        exact_top(queries, docs, n)


# -- relevance ----------------------------------------------------------------


@settings(deadline=None)  # a busy machine is no failure
@given(st.permutations(range(DOCS)), gains, depths)
def test_ndcg_is_that_of_scikit_learn(found: list[int], judged: dict[int, int], n: int) -> None:
    true = [[judged.get(doc, 0) for doc in range(DOCS)]]
    scores = [[-found.index(doc) for doc in range(DOCS)]]
    want = ndcg_score(true, scores, k=n)
    np.testing.assert_allclose(ndcg_at([found], [judged], n), [want])


@settings(deadline=None)  # a busy machine is no failure
@given(ragged, st.data(), depths)
def test_relevance_is_that_of_literal_loops(
    found: list[list[int]], data: st.DataObject, n: int
) -> None:
    relevant = data.draw(st.lists(gains, min_size=len(found), max_size=len(found)))
    ndcg, mrr, hit = [], [], []
    for ranking, judged in zip(found, relevant, strict=True):
        dcg = sum(judged.get(d, 0) / math.log2(r + 2) for r, d in enumerate(ranking[:n]))
        best = sorted(judged.values(), reverse=True)[:n]
        ndcg.append(dcg / sum(gain / math.log2(r + 2) for r, gain in enumerate(best)))
        ranks = [r for r, doc in enumerate(ranking[:n], start=1) if doc in judged]
        mrr.append(1 / ranks[0] if ranks else 0)
        hit.append(bool(ranks))
    np.testing.assert_allclose(ndcg_at(found, relevant, n), ndcg)
    np.testing.assert_allclose(mrr_at(found, relevant, n), mrr)
    np.testing.assert_array_equal(hit_rate_at(found, relevant, n), hit)


def test_the_ideal_counts_what_was_not_found() -> None:
    judged = [{"a": 1, "b": 3}]
    ideal = 3 + 1 / math.log2(3)
    assert ndcg_at([["a"]], judged, 10) == pytest.approx([1 / ideal])
    assert ndcg_at([["b"]], judged, 1) == pytest.approx([1])  # depth 1 has room for one
    assert ndcg_at([["a"]], judged, 1) == pytest.approx([1 / 3])


def test_a_repeated_id_is_found_once_and_keeps_its_rank() -> None:
    assert ndcg_at([["b", "b", "b"]], [{"b": 1, "c": 1}], 3) == pytest.approx(
        [1 / (1 + 1 / math.log2(3))]
    )
    assert mrr_at([["a", "a", "b"]], ["b"], 3) == pytest.approx([1 / 3])


def test_relevance_has_several_spellings() -> None:
    found = [[3, 1], [2, 0]]
    for relevant in ([1, 0], np.array([1, 0]), [[1], {0}], [{1: 2.0}, {0: 1, 9: 0}]):
        assert mrr_at(found, relevant, 5).tolist() == [0.5, 0.5]
        assert hit_rate_at(np.array(found), relevant, 1).tolist() == [0, 0]
    padded = np.array([[1, -1], [0, -1]])
    assert ndcg_at([[1], [0]], padded, 5).tolist() == [1, 1]
    assert hit_rate_at([["n17"]], ["n17"], 1).tolist() == [1]  # a string is one id


@pytest.mark.parametrize("metric", [ndcg_at, mrr_at, hit_rate_at])
def test_relevance_refuses(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ShapeError, match=r"relevant per query, got 2 rankings and 1"):
        metric([[1], [2]], [{1: 1}], 10)
    with pytest.raises(ShapeError, match=r"got {} for query 1: leave out"):
        metric([[1], [2]], [{1: 1}, {}], 10)
    with pytest.raises(ShapeError, match=r"got {2: 0} for query 0"):
        metric([[1]], [{2: 0}], 10)
    with pytest.raises(ShapeError, match=r"at least 0 and one above, got {1: -1, 2: 1}"):
        metric([[1]], [{1: -1, 2: 1}], 10)
    with pytest.raises(ShapeError, match="depth of at least 1, got n=0"):
        metric([[1]], [{1: 1}], 0)


def test_recall_refuses() -> None:
    with pytest.raises(ShapeError, match="truth per query, got 1 rankings and 2"):
        recall_at([[1]], [[1], [2]], 10)
    with pytest.raises(ShapeError, match="none for query 1"):
        recall_at([[1], [2]], [[1], []], 10)


def test_neighbour_accuracy_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    docs, labels = rng.normal(size=(80, 4)), rng.integers(0, 3, 80)
    docs /= np.linalg.norm(docs, axis=1, keepdims=True)
    knn = KNeighborsClassifier(1)
    want = [
        knn.fit(np.delete(docs, i, axis=0), np.delete(labels, i)).predict(docs[[i]])[0] == labels[i]
        for i in range(80)
    ]
    got = neighbour_accuracy(exact_top(docs, docs, 2), labels, labels, same_rows=True)
    np.testing.assert_array_equal(got, want)
    assert 0 < got.mean() < 1


def test_neighbour_accuracy_of_odd_lists() -> None:
    labels = ["a", "b", "a"]
    found = [[0, 2], [1], [], [1, 0]]
    own = ["a", "b", "a", "a"]
    assert neighbour_accuracy(found, own, labels).tolist() == [1, 1, 0, 0]
    assert neighbour_accuracy(found, own, labels, same_rows=True).tolist() == [1, 0, 0, 0]
    assert neighbour_accuracy(np.array([[-1, -1]]), ["a"], labels).tolist() == [0]
    with pytest.raises(ShapeError, match=r"rows in \[0, 3\), got 3 at query 1"):
        neighbour_accuracy([[0], [3]], ["a", "a"], labels)


# -- cost ---------------------------------------------------------------------

codes = st.integers(1, 8).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 0.5, 2.0]), min_size=6, max_size=6),
        min_size=n,
        max_size=n,
    )
)


@settings(deadline=None)  # a busy machine is no failure
@given(codes, codes)
def test_posting_cost_counts_postings(asked: list[list[float]], stored: list[list[float]]) -> None:
    queries, docs = SparseVectors.from_dense(asked), SparseVectors.from_dense(stored)
    visited = [sum(1 for row in stored for j in range(6) if query[j] and row[j]) for query in asked]
    got = posting_cost(queries, docs)
    np.testing.assert_allclose(got * len(stored), visited, atol=1e-9)
    shares = (np.array(asked) != 0).mean(axis=0), (np.array(stored) != 0).mean(axis=0)
    assert got.mean() == pytest.approx(shares[0] @ shares[1])
    np.testing.assert_allclose(latent_loads(docs), shares[1])


def test_posting_cost_of_balanced_codes() -> None:
    """k_query * k_doc / n_latents when all latents fire equally often."""
    eye = np.eye(8, dtype=np.float32)
    docs = SparseVectors.from_dense(eye + np.roll(eye, 1, axis=1))
    queries = SparseVectors.from_dense(np.ones((1, 8)))
    np.testing.assert_allclose(posting_cost(docs, docs), 2 * 2 / 8)
    np.testing.assert_allclose(posting_cost(queries, docs), 8 * 2 / 8)


def test_bytes_are_those_of_the_arrays() -> None:
    batch = SparseVectors.from_dense([[1, 2, 0], [0, 0, 0], [3, 4, 5]])
    assert bytes_per_vector(batch).tolist() == [16, 0, 24]
    assert bytes_per_vector(batch).sum() == batch.indices.nbytes + batch.values.nbytes


def test_cost_refuses() -> None:
    batch = SparseVectors.from_dense([[1.0, 2.0]])
    with pytest.raises(ShapeError, match="queries of dim 2 and documents of dim 3"):
        posting_cost(batch, SparseVectors.from_dense([[1.0, 0.0, 0.0]]))
    with pytest.raises(ShapeError, match="at least one code, got none"):
        posting_cost(batch, batch[:0])


# -- intervals ----------------------------------------------------------------


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_is_that_of_scipy(level: float) -> None:
    values = np.random.default_rng(2).beta(5, 1, 300)
    rng = np.random.default_rng(3)
    want = bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        method="percentile",
        n_resamples=20_000,
        random_state=rng,
    ).confidence_interval
    got = bootstrap_interval(values, level=level, resamples=20_000, seed=1)
    # the same ends to the noise of 20,000 draws, about a hundredth of the width
    assert got.low == pytest.approx(want.low, abs=0.04 * (want.high - want.low))
    assert got.high == pytest.approx(want.high, abs=0.04 * (want.high - want.low))
    assert got.value == pytest.approx(values.mean())


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    ends = [bootstrap_interval(rng.beta(4, 2, 80), seed=i, resamples=400) for i in range(400)]
    covered = np.mean([one.low <= 4 / 6 <= one.high for one in ends])
    assert 0.91 <= covered <= 0.98  # 0.95, give or take three deviations of 400 tries


def test_interval_is_repeatable_and_blocks_do_not_change_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.arange(50) % 7 / 7
    whole = bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) == whole
    assert bootstrap_interval(values, seed=6) != whole
    monkeypatch.setattr(_interval, "_DRAWS", 170)
    assert bootstrap_interval(values, seed=5) == whole
    assert bootstrap_interval([0.3, 0.3, 0.3]) == pytest.approx(Interval(0.3, 0.3, 0.3))


def test_interval_refuses() -> None:
    for values in ([], [[1.0]], [1.0, np.nan]):
        with pytest.raises(ShapeError, match="expected finite values, one per query"):
            bootstrap_interval(values)
    with pytest.raises(ConfigError, match=r"got level=1, resamples=1000"):
        bootstrap_interval([1.0], level=1)
    with pytest.raises(ConfigError, match=r"resamples=0"):
        bootstrap_interval([1.0], resamples=0)
