"""`evaluate` against ir-measures, scikit-learn and rankings computed in the open."""

from __future__ import annotations

import sys
from typing import Any

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, R, nDCG
from sklearn.neighbors import KNeighborsClassifier

from csrkit.baselines import methods
from csrkit.errors import ConfigError, MissingExtra, ShapeError
from csrkit.evaluation import evaluate
from csrkit.evaluation.measure import one_thread
from csrkit.evaluation.trial import Known, trial
from csrkit.metrics import bootstrap_interval, posting_cost
from csrkit.model import CSRModel
from csrkit.report import Report, Row

QUIET: dict[str, Any] = {"progress": False}


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(np.float32)


def _row(report: Report, name: str, k: int | None = None) -> Row:
    (row,) = [row for row in report.rows if row.name == name and row.k == k]
    return row


def _sorted(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")


def _calculated(measure: Any, qrels: dict[str, dict[str, int]], found: np.ndarray) -> list[float]:
    """Ask ir-measures, query by query."""
    run = {
        str(query): {str(doc): float(-place) for place, doc in enumerate(row) if doc >= 0}
        for query, row in enumerate(found.tolist())
    }
    values = ir_measures.iter_calc([measure], qrels, run)
    return [value.value for value in sorted(values, key=lambda value: int(value.query_id))]


@pytest.fixture(scope="module")
def report(model: CSRModel, data: Any) -> Report:
    return evaluate(
        model,
        data.docs,
        data.queries,
        qrels=data.qrels,
        labels=data.labels,
        query_labels=data.query_labels,
        baselines=["float32", "binary", "hnsw"],
        title="made up",
        **QUIET,
    )


# -- what is measured ------------------------------------------------------------


def test_the_report_says_what_was_done(report: Report, data: Any) -> None:
    assert (report.title, report.n_docs, report.n_queries) == ("made up", 600, 60)
    assert (report.dim, report.queries, report.seed) == (24, "given", 0)
    names = [(row.name, row.k) for row in report.rows]
    ways = ["csr", "csr + bits", "csr + dense", "csr + codes"]
    assert names[:6] == [("float32", None), ("binary", None), *[("hnsw", None)] * 4]
    assert names[6:] == [(way, k) for k in (4, 16) for way in ways]
    assert report.rows[-1].setting == "k=16, 100 candidates"
    assert dict(report.machine.packages).keys() >= {"csrkit", "numpy", "faiss-cpu"}
    assert not any("Documents served" in note for note in report.notes)
    assert Report.from_json(report.to_json()) == report


def test_exact_search_loses_nothing(report: Report) -> None:
    row = _row(report, "float32")
    assert row.recall10 == row.recall100 == (1, 1, 1)
    assert row.worst == 1
    assert [part.recall for part in row.filtered] == [1]  # 1% of 600 has no top 10
    assert row.filtered[0].share == 0.1


def test_relevance_is_that_of_ir_measures(report: Report, data: Any) -> None:
    """Query 7 has no judgements and is left out, as trec_eval leaves it out."""
    docs, queries = _unit(data.docs), _unit(data.queries)
    signs = methods("binary", 24)[0].build(docs, seed=0)[0].index
    rankings = {"float32": _sorted(queries @ docs.T)[:, :10], "binary": signs.search(queries, 10)}
    qrels = {
        str(query): {str(doc): int(gain) for doc, gain in gains.items()}
        for query, gains in enumerate(data.qrels)
        if gains
    }
    for name, found in rankings.items():
        row = _row(report, name)
        for interval, measure in ((row.ndcg10, nDCG @ 10), (row.mrr10, RR @ 10)):
            values = _calculated(measure, qrels, found)
            assert len(values) == 59
            assert interval == pytest.approx(bootstrap_interval(values))
        assert row.ndcg10 is not None
        assert 0.02 < row.ndcg10.value < 0.9


def test_fidelity_is_that_of_ir_measures(report: Report, data: Any) -> None:
    docs, queries = _unit(data.docs), _unit(data.queries)
    exact = _sorted(queries @ docs.T)
    found = methods("binary", 24)[0].build(docs, seed=0)[0].index.search(queries, 100)
    row = _row(report, "binary")
    for interval, n in ((row.recall10, 10), (row.recall100, 100)):
        truth = {str(q): {str(doc): 1 for doc in docs[:n]} for q, docs in enumerate(exact.tolist())}
        values = _calculated(R @ n, truth, found)
        assert interval == pytest.approx(bootstrap_interval(values))
        assert 0.2 < interval.value < 0.9
    lowest = sorted(
        len({*one[:10]} & {*best[:10]}) / 10
        for one, best in zip(found.tolist(), exact.tolist(), strict=True)
    )[:3]
    assert row.worst == pytest.approx(np.mean(lowest))  # a twentieth of 60 queries


@pytest.mark.usefixtures("unweighed")
def test_accuracy_is_that_of_scikit_learn(report: Report, model: CSRModel, data: Any) -> None:
    knn = KNeighborsClassifier(1, metric="cosine").fit(data.docs, data.labels)
    want = (knn.predict(data.queries) == data.query_labels).mean()
    assert _row(report, "float32").accuracy == pytest.approx(want)
    assert 0.3 < want < 1

    same = evaluate(
        model, data.docs, labels=data.labels, baselines=["float32"], n_queries=600, **QUIET
    )
    others = KNeighborsClassifier(2, metric="cosine").fit(data.docs, data.labels)
    nearest = others.kneighbors(data.docs, return_distance=False)[:, 1]  # 0 is itself
    want = (data.labels[nearest] == data.labels).mean()
    assert _row(same, "float32").accuracy == pytest.approx(want)


@pytest.mark.parametrize("k", [4, 16])
def test_codes_are_ranked_as_the_model_ranks_them(
    k: int, report: Report, model: CSRModel, data: Any
) -> None:
    docs, queries = _unit(data.docs), _unit(data.queries)
    exact = _sorted(queries @ docs.T)[:, :10]
    stored, asked = model.encode(docs, k=k), model.encode_query(queries, k=k)
    refitted = model.refit(docs, stored)
    residuals = model.encode_residuals(docs, stored)
    for name, codes, estimated in (
        ("csr", stored, None),
        ("csr + codes", refitted, model.estimate_cosines(queries, refitted)),
        ("csr + bits", stored, model.estimate_cosines(queries, stored, residuals)),
        ("csr + dense", stored, queries @ docs.T),
    ):
        scores = asked.to_dense() @ codes.to_dense().T
        candidates = _sorted(scores)[:, :100]
        shared = np.take_along_axis(scores, candidates, axis=1)
        ranks = shared if estimated is None else np.take_along_axis(estimated, candidates, axis=1)
        order = _sorted(np.where(shared > 0, ranks, -np.inf))[:, :10]
        found = np.take_along_axis(np.where(shared > 0, candidates, -1), order, axis=1)
        pairs = zip(found.tolist(), exact.tolist(), strict=True)
        want = np.mean([len({*one} & {*best}) / 10 for one, best in pairs])
        # ties at the end of the candidates fall as the engine likes
        assert _row(report, name, k).recall10.value == pytest.approx(want, abs=0.01), name
        cost = float(posting_cost(asked, codes).mean())
        assert _row(report, name, k).posting_cost == pytest.approx(cost)


@pytest.mark.usefixtures("unweighed")
def test_filters_are_those_of_the_store(model: CSRModel, data: Any) -> None:
    report = evaluate(model, data.docs, data.queries, baselines=["float32"], k_doc=16, **QUIET)
    (subset,) = trial(data.docs, data.queries, 24, Known(), 1000, 0).subsets
    assert (subset.share, subset.mask.sum()) == (0.1, 60)
    docs, queries = _unit(data.docs)[subset.mask], _unit(data.queries)[:12]
    cosines = queries @ docs.T
    scores = model.encode_query(queries, k=16).to_dense() @ model.encode(docs, k=16).to_dense().T
    exact = _sorted(cosines)[:, :10]
    for name, ranked in {"csr": scores, "csr + dense": np.where(scores > 0, cosines, -1)}.items():
        pairs = zip(_sorted(ranked)[:, :10].tolist(), exact.tolist(), strict=True)
        want = np.mean([len({*one} & {*best}) / 10 for one, best in pairs])
        (part,) = _row(report, name, 16).filtered
        assert part.share == 0.1
        assert part.recall == pytest.approx(want, abs=0.02), name
        assert part.ms_p50 > 0
    assert _row(report, "csr + dense", 16).filtered[0].recall > 0.9


def test_bytes_are_all_in(report: Report, model: CSRModel, data: Any) -> None:
    for k in (4, 16):
        codes = model.encode(data.docs, k=k)
        sparse, bits, dense, decoded = report.rows[6:10] if k == 4 else report.rows[10:14]
        assert sparse.code_bytes == codes.nnz / 600 * 8
        left = model.refit(data.docs, codes).nnz / 600  # less where the best value is 0
        assert decoded.code_bytes == left * 8
        assert bits.code_bytes == sparse.code_bytes + model.residual_bytes
        # stored vector and postings of 12 bytes, ids and the engine's own tables
        assert 20 * k + 8 < sparse.bytes_per_vector < 20 * k + 8 + 300
        assert 20 * left + 8 < decoded.bytes_per_vector < 20 * left + 8 + 300
        assert (sparse.retained_bytes, decoded.retained_bytes) == (0, 0)
        assert bits.retained_bytes >= model.residual_bytes
        assert bits.bytes_per_vector == sparse.bytes_per_vector + bits.retained_bytes
        assert dense.bytes_per_vector == sparse.bytes_per_vector + 4 * 24
        assert dense.retained_bytes == 4 * 24
        weights = 4 * (192 * 24 + 192 + 24)
        assert (sparse.shared_bytes, bits.shared_bytes) == (weights, weights)  # tied


def test_memory_is_measured_outside(report: Report) -> None:
    if sys.platform != "linux":
        assert _row(report, "csr", 16).resident_bytes is None
        return
    sizes = [row.resident_bytes for row in report.rows[6:10]]
    sparse, bits, dense, decoded = [size for size in sizes if size is not None]
    assert 100 < sparse <= bits < 100_000  # 600 vectors share what is fixed
    assert 100 < decoded < 100_000
    assert dense == sparse + 4 * 24
    assert _row(report, "float32").resident_bytes == _row(report, "float32").bytes_per_vector


def test_times_are_positive_and_in_order(report: Report) -> None:
    for row in report.rows:
        assert 0 < row.ms_p50 <= row.ms_p95
        assert row.build_seconds > 0


# -- documents as queries ----------------------------------------------------------


@pytest.mark.usefixtures("unweighed")
def test_documents_do_not_find_themselves(model: CSRModel, data: Any) -> None:
    """Every document twice: each finds its twin, and a ranking with itself would be told."""
    docs = np.concatenate([data.docs[:200], data.docs[:200] * 3])
    labels = np.repeat([0, 1], 200)  # a twin has the other label, the query its own
    report = evaluate(
        model, docs, labels=labels, baselines=["float32", "hnsw"], n_queries=400, **QUIET
    )
    assert report.queries == "documents"
    assert report.notes[0].startswith("Documents served as queries")
    for row in report.rows:
        if row.name in ("float32", "csr + dense"):
            assert row.accuracy == 0, row.name
    assert _row(report, "float32").recall10.value == 1  # whichever of two twins comes tenth
    assert _row(report, "float32").recall100.value == 1
    # a query that counted itself would miss one in ten
    assert next(row for row in report.rows if row.setting == "ef=256").recall10.value > 0.95


# -- what is drawn -----------------------------------------------------------------


def test_fewer_queries_are_drawn_by_the_seed(data: Any) -> None:
    known = Known(data.qrels, data.labels, data.query_labels)
    first, again, other = (
        trial(data.docs, data.queries, 24, known, 25, seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.queries, again.queries)
    np.testing.assert_array_equal(first.buckets, again.buckets)
    assert not np.array_equal(first.queries, other.queries)
    assert not np.array_equal(first.buckets, other.buckets)
    asked = _unit(data.queries)
    chosen = [
        int(np.flatnonzero(np.isclose(asked, query).all(axis=1))[0]) for query in first.queries
    ]
    assert chosen == sorted({*chosen})
    assert first.query_labels is not None
    assert first.query_labels.tolist() == data.query_labels[chosen].tolist()
    assert first.judged is not None
    judged = [chosen[row] for row in first.judged.rows.tolist()]
    assert judged == [query for query in chosen if data.qrels[query]]
    assert first.judged.gains == [data.qrels[query] for query in judged]


@pytest.mark.usefixtures("unweighed")
def test_documents_at_one_k_are_searched_at_several(model: CSRModel, data: Any) -> None:
    report = evaluate(model, data.docs, data.queries, baselines=(), k_doc=16, **QUIET)
    settings = [(row.k, row.setting) for row in report.rows if row.name == "csr"]
    assert settings == [(4, "k=4 over k=16"), (16, "k=16")]
    assert len({row.bytes_per_vector for row in report.rows if row.name == "csr"}) == 1
    costs = [row.posting_cost or 0 for row in report.rows if row.name == "csr"]
    stored = model.encode(data.docs, k=16)
    want = [float(posting_cost(model.encode(data.queries, k=k), stored).mean()) for k in (4, 16)]
    assert costs == pytest.approx(want)
    low = evaluate(model, data.docs, data.queries, baselines=(), k_doc=3, **QUIET)
    assert {row.k for row in low.rows} == {3}


@pytest.mark.parametrize(
    "spelled",
    [
        lambda rows: rows,
        lambda rows: np.array(rows),
        lambda rows: [[row] for row in rows],
        lambda rows: [{row} for row in rows],
        lambda rows: np.array([[row, -1] for row in rows]),
        lambda rows: [{row: 1, (row + 1) % 600: 0} for row in rows],
    ],
)
def test_judgements_have_several_spellings(spelled: Any, data: Any) -> None:
    rows = np.random.default_rng(6).integers(0, 600, 60).tolist()
    judged = trial(data.docs, data.queries, 24, Known(spelled(rows)), 1000, 0).judged
    assert judged is not None
    assert judged.rows.tolist() == list(range(60))
    assert judged.gains == [{row: 1.0} for row in rows]


# -- conditions ----------------------------------------------------------------------


def test_one_thread_means_one_thread() -> None:
    import faiss
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(limits=2):
        with one_thread():
            assert faiss.omp_get_max_threads() == 1
            assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert faiss.omp_get_max_threads() == 2


@pytest.mark.usefixtures("unweighed")
def test_without_the_engine_the_report_says_so(
    model: CSRModel, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engine = evaluate(model, data.docs, data.queries, baselines=(), k_doc=16, **QUIET)
    monkeypatch.setitem(sys.modules, "qdrant_edge", None)
    report = evaluate(model, data.docs, data.queries, baselines=(), k_doc=16, **QUIET)
    assert any("MemoryStore" in note for note in report.notes)
    assert not any("MemoryStore" in note for note in with_engine.notes)
    for ours, theirs in zip(report.rows, with_engine.rows, strict=True):
        assert ours.recall10.value == pytest.approx(theirs.recall10.value, abs=0.01)
        assert ours.filtered[0].recall == pytest.approx(theirs.filtered[0].recall, abs=0.01)
    assert _row(report, "csr", 16).bytes_per_vector == 16 * (8 + 16) + 8
    assert _row(report, "csr", 16).resident_bytes is None


def test_missing_extras_are_named(
    model: CSRModel, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(MissingExtra, match=r'threadpoolctl.*pip install "csrkit\[report\]"'):
        evaluate(model, data.docs, data.queries, **QUIET)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtra, match=r'faiss-cpu.*pip install "csrkit\[report\]"'):
        evaluate(model, data.docs, data.queries, **QUIET)


# -- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"baselines": ["int9"]}, ConfigError, r"baselines among float32, .*, got 'int9'"),
        ({"baselines": "int8"}, ConfigError, r"a list of baselines, got 'int8'"),
        ({"k_doc": 0}, ConfigError, r"k_doc from 1 to n_latents=192, got k_doc=0"),
        ({"k_doc": 193}, ConfigError, r"got k_doc=193"),
        ({"n_queries": 19}, ConfigError, r"20 queries, got 600 documents and n_queries=19"),
        ({"docs": np.ones((255, 24))}, ConfigError, r"256 documents for the baseline 'pq', got"),
        ({"docs": np.ones((600, 25))}, ShapeError, r"\(n, 24\).*got \(600, 25\)"),
        ({"queries": np.zeros((60, 24))}, ShapeError, r"zero"),
        ({"qrels": [1]}, ShapeError, r"one entry of qrels per query, got 1 for 60 queries"),
        ({"qrels": [600] * 60}, ShapeError, r"from 0 to 599, got 600 for query 0"),
        ({"qrels": [["a"]] * 60}, ShapeError, r"got 'a' for query 0"),
        ({"qrels": {"q": {0: 1}}}, ShapeError, r"one entry per query, in their order, got dict"),
        ({"qrels": [{0: np.inf}] * 60}, ShapeError, r"finite gains .* got {0: inf} for query 0"),
        ({"n_queries": 30.0}, ConfigError, r"got 600 documents and n_queries=30.0"),
        ({"seed": -1}, ConfigError, r"a seed of at least 0, got seed=-1"),
        ({"labels": [1] * 600, "query_labels": ["1"] * 60}, ShapeError, r"of one kind, got int64"),
        ({"qrels": [None] * 60}, ConfigError, r"relevant to at least one query, got none"),
        ({"qrels": [1] * 60, "queries": None}, ConfigError, r"expected queries with qrels"),
        ({"labels": np.ones(599)}, ShapeError, r"per document, \(600,\), got \(599,\)"),
        ({"labels": np.ones(600)}, ConfigError, r"query_labels with labels and queries"),
        ({"query_labels": np.ones(60)}, ConfigError, r"got query_labels alone"),
        (
            {"labels": np.ones(600), "query_labels": np.ones(59)},
            ShapeError,
            r"per query, \(60,\), got \(59,\)",
        ),
        (
            {"labels": np.ones(600), "query_labels": np.ones(60), "queries": None},
            ConfigError,
            r"no query_labels without queries",
        ),
    ],
)
def test_bad_calls_are_refused_before_the_work(
    change: dict[str, Any],
    error: type[Exception],
    message: str,
    model: CSRModel,
    data: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("csrkit.evaluation.run.measured", None)  # nothing may be measured
    call = {"docs": data.docs, "queries": data.queries, **QUIET, **change}
    with pytest.raises(error, match=message):
        evaluate(model, **call)
