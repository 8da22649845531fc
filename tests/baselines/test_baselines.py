"""Every baseline against the same ranking computed in numpy or scikit-learn, and its bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from csrkit.baselines import DEFAULT, Subset, Way, least_docs, methods
from csrkit.baselines.base import engine
from csrkit.baselines.graph import Graph
from csrkit.baselines.indexes import Rescored
from csrkit.baselines.projected import PrincipalComponents, Truncated
from csrkit.baselines.quantized import Product, RaBitQ
from csrkit.baselines.scalar import Binary, Exact, Scalar
from csrkit.errors import ConfigError, MissingExtra
from csrkit.metrics import exact_top, recall_at

DIM, N, Q = 48, 700, 20


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(np.float32)


@pytest.fixture(scope="module")
def docs() -> np.ndarray:
    """Correlated dimensions and a mean that is not zero, as embeddings have them."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(DIM, DIM)) * np.linspace(1, 0.1, DIM)
    return _unit(rng.normal(size=(N, DIM)) @ spread + 0.3)


@pytest.fixture(scope="module")
def queries(docs: np.ndarray) -> np.ndarray:
    return _unit(docs[:Q] + np.random.default_rng(1).normal(scale=0.1, size=(Q, DIM)))


@pytest.fixture(scope="module")
def subset() -> Subset:
    return Subset(0.1, np.random.default_rng(2).permutation(N) % 10 == 0)


def _only(ways: list[Way]) -> Any:
    (way,) = ways
    return way  # with an index of any kind


def _scores_fall(scores: np.ndarray, found: np.ndarray, n: int, atol: float = 1e-5) -> None:
    """The found rows have the n largest scores, in order; which of equals is free."""
    want = -np.sort(-scores, axis=1)[:, :n]
    got = np.take_along_axis(scores, found[:, :n], axis=1)
    np.testing.assert_allclose(got, want, atol=atol)
    assert all(len(set(row)) == n for row in found[:, :n].tolist())


# -- against numpy and scikit-learn --------------------------------------------


def test_float32_is_exact(docs: np.ndarray, queries: np.ndarray) -> None:
    index = _only(Exact().build(docs, seed=0)).index
    np.testing.assert_array_equal(index.search(queries, 30), exact_top(queries, docs, 30))


def test_float16_rounds(docs: np.ndarray, queries: np.ndarray) -> None:
    index = _only(Scalar("float16").build(docs, seed=0)).index
    rounded = docs.astype(np.float16).astype(np.float32)
    _scores_fall(queries @ rounded.T, index.search(queries, 30), 30)


@pytest.mark.parametrize(("kind", "levels"), [("int8", 255), ("int4", 15)])
def test_integers_divide_the_range_of_each_dimension(
    kind: str, levels: int, docs: np.ndarray, queries: np.ndarray
) -> None:
    index = _only(Scalar(kind).build(docs, seed=0)).index  # type: ignore[arg-type]  # one of its two
    low, high = docs.min(axis=0), docs.max(axis=0)
    steps = np.floor((docs - low) / (high - low) * levels)
    decoded = low + (high - low) * (steps + 0.5) / levels
    atol = 1e-5 + 1e-3 / levels  # a value on the edge of a step may fall to either side
    _scores_fall(queries @ decoded.T, index.search(queries, 30), 30, atol)


def test_binary_is_hamming_distance(docs: np.ndarray, queries: np.ndarray) -> None:
    index = _only(Binary(rescore=False).build(docs, seed=0)).index
    agree = ((queries > 0)[:, None] == (docs > 0)[None]).sum(axis=2)
    _scores_fall(agree, index.search(queries, 30), 30)


def test_rescoring_ranks_the_candidates_exactly(docs: np.ndarray, queries: np.ndarray) -> None:
    index = _only(Binary(rescore=True).build(docs, seed=0)).index
    assert isinstance(index, Rescored)
    candidates = index.first.search(queries, index.candidates)
    exact = exact_top(queries, docs, N)
    for query, found in enumerate(index.search(queries, 30).tolist()):
        kept = set(candidates[query].tolist())
        assert found == [row for row in exact[query].tolist() if row in kept][:30]
    deeper = index.search(queries, 200)
    assert (np.sort(deeper, axis=1) == np.sort(index.first.search(queries, 200), axis=1)).all()


def test_components_are_those_of_scikit_learn(docs: np.ndarray, queries: np.ndarray) -> None:
    index = _only(PrincipalComponents(12).build(docs, seed=0)).index
    axes = PCA(12, svd_solver="full").fit(docs).components_
    _scores_fall((queries @ axes.T) @ (docs @ axes.T).T, index.search(queries, 30), 30)


def test_truncation_normalises_again(docs: np.ndarray, queries: np.ndarray) -> None:
    index = _only(Truncated(7).build(docs, seed=0)).index
    _scores_fall(_unit(queries[:, :7]) @ _unit(docs[:, :7]).T, index.search(queries, 30), 30)


@pytest.mark.parametrize("n_bytes", [12, 9])
@pytest.mark.parametrize("rotated", [False, True])
def test_products_are_scored_by_their_centroids(
    n_bytes: int, rotated: bool, docs: np.ndarray, queries: np.ndarray
) -> None:
    """Codes and codebooks read out of faiss, decoded in numpy; 9 does not divide 48."""
    index = _only(Product(n_bytes, rotated).build(docs, seed=0)).index
    faiss, wide = engine(), index.width
    books = faiss.vector_to_array(index.codes.pq.centroids).reshape(n_bytes, 256, -1)
    codes = faiss.vector_to_array(index.codes.codes).reshape(N, n_bytes)
    decoded = np.concatenate([books[m][codes[:, m]] for m in range(n_bytes)], axis=1)
    asked = np.pad(queries, ((0, 0), (0, wide - DIM)))
    if rotated:
        matrix = faiss.vector_to_array(index.rotation.A).reshape(wide, wide)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(wide), atol=1e-4)
        asked = asked @ matrix.T
    _scores_fall(asked @ decoded.T, index.search(queries, 30), 30)


def test_a_rotation_helps_where_few_dimensions_matter() -> None:
    """All variance in the first sub-vectors: plain PQ wastes its other bytes."""
    rows = _unit(np.random.default_rng(3).normal(size=(N, DIM)) * 0.8 ** np.arange(DIM))
    truth = exact_top(rows[:Q], rows, 10)
    plain, rotated = (
        recall_at(_only(Product(6, turn).build(rows, seed=0)).index.search(rows[:Q], 10), truth, 10)
        for turn in (False, True)
    )
    assert rotated.mean() > plain.mean() + 0.1


def test_rabitq_comes_nearer_with_every_bit(docs: np.ndarray, queries: np.ndarray) -> None:
    truth = exact_top(queries, docs, 10)
    recalls = [
        recall_at(_only(RaBitQ(bits).build(docs, seed=0)).index.search(queries, 10), truth, 10)
        for bits in (1, 2, 4)
    ]
    means = [float(recall.mean()) for recall in recalls]
    assert 0.4 < means[0] < means[1] < means[2]
    assert means[2] > 0.9


@pytest.mark.parametrize("quantized", [False, True])
def test_graphs_find_more_with_more_effort(
    quantized: bool, docs: np.ndarray, queries: np.ndarray
) -> None:
    ways = Graph(quantized).build(docs, seed=0)
    truth = exact_top(queries, docs, 10)
    recalls = [recall_at(way.index.search(queries, 10), truth, 10).mean() for way in ways]
    assert recalls == sorted(recalls)
    assert recalls[-1] > 0.97
    assert {way.index.footprint for way in ways} == {ways[0].index.footprint}
    assert all(way.deeper_is_better for way in ways)


# -- laws of all ----------------------------------------------------------------


@pytest.mark.parametrize("name", DEFAULT)
def test_a_filter_keeps_the_order_of_the_rest(
    name: str, docs: np.ndarray, queries: np.ndarray, subset: Subset
) -> None:
    way = methods(name, DIM)[-1].build(docs, seed=0)[-1]
    found = way.index.search(queries, 100, among=subset)
    assert found.shape == (Q, 100)
    assert found.dtype == np.int64
    kept = subset.rows
    assert len(kept) == N // 10
    for row in found.tolist():
        there = [one for one in row if one >= 0]
        assert row == there + [-1] * (100 - len(there))
        assert set(there) <= set(kept.tolist())
        assert len(set(there)) == len(there)
    if name.startswith("hnsw") or "binary" in name:  # which of equals comes first is free
        return
    everything = way.index.search(queries, N)
    for row, all_rows in zip(found.tolist(), everything.tolist(), strict=True):
        assert row[: len(kept)] == [one for one in all_rows if subset.mask[one]]


@pytest.mark.parametrize("name", DEFAULT)
def test_a_build_repeats(name: str, docs: np.ndarray, queries: np.ndarray) -> None:
    method = methods(name, DIM)[-1]
    first, second = (method.build(docs, seed=3)[0].index for _ in range(2))
    np.testing.assert_array_equal(first.search(queries, 10), second.search(queries, 10))
    assert first.footprint == second.footprint


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("float32", 4 * DIM),
        ("float16", 2 * DIM),
        ("int8", DIM),
        ("int4", DIM / 2),
        ("binary", DIM / 8),
        ("binary + float32", DIM / 8),
        ("pca", 4 * DIM / 8),
        ("pca + int8", DIM / 8),
        ("truncated", 4 * DIM / 8),
        ("pq", DIM / 24),
        ("opq", DIM / 12),
        ("rabitq", DIM / 8 + 8),  # two float32 factors
        ("hnsw", 4 * DIM),
        ("hnsw + int8", DIM),
    ],
)
def test_bytes_are_those_of_the_arrays(name: str, code: float, docs: np.ndarray) -> None:
    kept = methods(name, DIM)[-1].build(docs, seed=0)[0].index.footprint
    assert kept.code == code
    assert kept.retained == (4 * DIM if name == "binary + float32" else 0)
    rest = kept.per_vector - kept.code - kept.retained - 8  # 8: the id
    if name.startswith("hnsw"):
        assert 32 * 4 <= rest < 32 * 4 + 40  # 32 links of 4 bytes, sparse upper floors, offsets
    else:
        assert rest == pytest.approx(0, abs=0.01)


def test_faiss_writes_as_many_bytes_as_are_stated(docs: np.ndarray, tmp_path: Path) -> None:
    for name in ("pca + int8", "rabitq", "hnsw"):
        index: Any = methods(name, DIM)[0].build(docs, seed=0)[0].index
        engine().write_index(index.faiss_index, str(tmp_path / "index"))
        stated = index.footprint.shared + N * (index.footprint.per_vector - 8)
        assert (tmp_path / "index").stat().st_size == pytest.approx(stated)


def test_every_default_has_a_name_of_its_own(docs: np.ndarray) -> None:
    for name in DEFAULT:
        found = {way.name for way in methods(name, DIM)[-1].build(docs, seed=0)}
        assert found == {name}


# -- refusals -------------------------------------------------------------------


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected baselines among float32, .*, got 'lsh'"):
        methods("lsh", DIM)


def test_products_need_a_document_per_centroid(docs: np.ndarray) -> None:
    assert {name for name in DEFAULT if least_docs(name) > 1} == {"pq", "opq"}
    assert least_docs("pq") == 256
    for name in ("pq", "opq"):
        assert methods(name, DIM)[-1].build(docs[:256], seed=0)[0].index.footprint.code > 0


def test_a_missing_engine_names_the_extra(
    docs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtra, match=r'faiss-cpu.*pip install "csrkit\[report\]"'):
        Exact().build(docs, seed=0)
