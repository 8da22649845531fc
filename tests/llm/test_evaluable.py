"""`csrkit.evaluate` of a retriever of texts, against searches that are written out."""

from __future__ import annotations

import numpy as np
import pytest
from tests.llm.tiny import tiny_backbone

import csrkit
from csrkit.errors import ConfigError, ShapeError
from csrkit.llm import LLMConfig, LLMRetriever, Triple, fit
from csrkit.metrics import ndcg_at
from csrkit.report import Row


@pytest.fixture(scope="module")
def retriever(triples: list[Triple]) -> LLMRetriever:
    config = LLMConfig(
        head="both", steps=4, batch_size=8, learning_rate=3e-3, target_active=12, query_prefix="a "
    )
    return fit(tiny_backbone(), triples, config, progress=False)


@pytest.fixture(scope="module")
def texts(triples: list[Triple]) -> tuple[list[str], list[str]]:
    return [one.positive for one in triples], [one.query for one in triples]


def test_a_report_says_what_the_codes_find(
    retriever: LLMRetriever, texts: tuple[list[str], list[str]]
) -> None:
    docs, queries = texts
    qrels = [{row: 1.0} for row in range(len(docs))]
    report = csrkit.evaluate(
        *retriever.evaluable(docs, queries), qrels=qrels, baselines=(), progress=False
    )
    codes, vectors = retriever.encode(docs), retriever.encode_dense(docs)
    cosines = retriever.encode_dense(queries, side="query") @ vectors.T
    cosines /= np.linalg.norm(vectors, axis=1)
    near = [set(row[:10]) for row in np.argsort(-cosines, axis=1).tolist()]
    assert [row.k for row in report.rows] == [8, 8, 32, 32, 40, 40]
    for row in report.rows[::2]:
        scores = retriever.encode_query(queries, k=row.k).dot(codes.top(row.k or 0))
        found = np.argsort(-scores, axis=1, kind="stable")[:, :10].tolist()
        hits = [len(near[query] & set(rows)) / 10 for query, rows in enumerate(found)]
        assert row.recall10.value == pytest.approx(np.mean(hits), abs=0.02)  # ties
        assert _ndcg(row) == pytest.approx(np.mean(ndcg_at(found, qrels, 10)), abs=0.02)
    best = report.rows[-1]
    assert best.recall10.value == 1  # all is found, and ranked by the vectors
    shared = sum(one.nbytes for one in retriever.backbone.model.parameters())
    assert best.shared_bytes == shared + retriever.head.shift.nbytes  # embeddings are tied


def _ndcg(row: Row) -> float:
    assert row.ndcg10 is not None
    return row.ndcg10.value


def test_codes_are_found_by_vectors_that_were_rounded(
    retriever: LLMRetriever, texts: tuple[list[str], list[str]]
) -> None:
    model, docs, queries = retriever.evaluable(*texts)
    assert np.allclose(np.linalg.norm(docs, axis=1), 1)
    noise = np.random.default_rng(0).normal(0, 1e-6, docs.shape).astype(np.float32)
    assert model.encode(docs) == model.encode(3 * docs + noise) == retriever.encode(texts[0])
    assert model.encode_query(queries[3:5], k=2) == retriever.encode_query(texts[1][3:5], k=2)
    with pytest.raises(ShapeError, match="vectors that `evaluable` returned, got another one"):
        model.encode(docs[:1] + docs[1:2])


def test_evaluate_says_how_texts_are_given(retriever: LLMRetriever) -> None:
    with pytest.raises(ConfigError, match=r"call csrkit.evaluate\(\*retriever.evaluable\(docs, q"):
        csrkit.evaluate(retriever, ["a text"], ["another"])


def test_it_takes_both_heads(retriever: LLMRetriever, triples: list[Triple]) -> None:
    config = retriever.config.model_copy(update={"head": "sparse", "steps": 0})
    sparse = fit(retriever, triples, config, progress=False)
    with pytest.raises(ConfigError, match=r"expected a retriever with a dense head.*head='both'"):
        sparse.evaluable(["a"], ["a"])
