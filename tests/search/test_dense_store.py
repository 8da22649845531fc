"""Dense rescoring inside the store: a named vector of the same collection, in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge
from qdrant_client import QdrantClient, models

from csrkit import CSRModel
from csrkit.errors import StoreError
from csrkit.model.card import Setting
from csrkit.search import Searcher
from csrkit.stores import EdgeStore, QdrantStore

Cosines = Callable[[np.ndarray, np.ndarray], np.ndarray]


def edge(folder: Path, docs: np.ndarray, codes: Any, payloads: Any) -> EdgeStore:
    store = EdgeStore(folder / "index")
    store.upsert(range(len(docs)), codes, payloads)
    change = qdrant_edge.UpdateOperation
    store.shard.update(
        change.create_dense_vector("dense", docs.shape[1], qdrant_edge.Distance.Cosine)
    )
    rows = [qdrant_edge.PointVectors(i, {"dense": row}) for i, row in enumerate(docs.tolist())]
    store.shard.update(change.update_vectors(rows))
    return store


def qdrant(folder: Path, docs: np.ndarray, codes: Any, payloads: Any) -> QdrantStore:
    client = QdrantClient(":memory:")
    params = models.VectorParams(size=docs.shape[1], distance=models.Distance.COSINE)
    client.create_collection("docs", vectors_config={"dense": params})
    points = [
        models.PointStruct(id=i, vector={"dense": row}, payload=payloads[i])
        for i, row in enumerate(docs.tolist())
    ]
    client.upsert("docs", points)
    store = QdrantStore(client, "docs")
    store.upsert(range(len(docs)), codes)
    return store


@pytest.fixture(params=[edge, qdrant], ids=["edge", "qdrant"])
def store(request: Any, tmp_path: Path, model: CSRModel, docs: np.ndarray) -> Any:
    payloads = [{"odd": row % 2} for row in range(len(docs))]
    return request.param(tmp_path, docs, model.encode(docs, k=8), payloads)


def expected(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, exact: np.ndarray, candidates: int
) -> list[list[int]]:
    first = model.encode_query(queries, k=4).dot(model.encode(docs, k=8))
    best = [
        [row for row in np.argsort(-scores)[:candidates] if scores[row] > 0] for scores in first
    ]
    return [
        sorted(rows, key=lambda row: -cosine[row]) for rows, cosine in zip(best, exact, strict=True)
    ]


def test_the_store_rescores_in_one_call(
    store: Any,
    model: CSRModel,
    docs: np.ndarray,
    queries: np.ndarray,
    cosines: Cosines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = cosines(queries, docs)
    calls: list[str] = []
    inside = store.search_dense
    monkeypatch.setattr(
        store, "search_dense", lambda *a, **b: calls.append("one") or inside(*a, **b)
    )
    monkeypatch.setattr(store, "search", None)  # and nothing else may be called
    monkeypatch.setattr(store, "fetch_both", None)
    searcher = Searcher(model, store, rescore="dense", dense="dense")
    results = searcher.search(queries, k=4, candidates=30, limit=7)
    assert calls == ["one"]
    assert results.setting == Setting(4, 30, "dense")
    wanted = expected(model, docs, queries, exact, 30)
    for hits, rows, cosine in zip(results, wanted, exact, strict=True):
        assert [hit.id for hit in hits] == rows[:7]
        assert [hit.score for hit in hits] == pytest.approx(cosine[rows[:7]], abs=1e-5)
        assert [hit.payload for hit in hits] == [{"odd": row % 2} for row in rows[:7]]


def test_filters_thresholds_and_explanations_hold_there_too(
    store: Any, model: CSRModel, docs: np.ndarray, queries: np.ndarray, cosines: Cosines
) -> None:
    searcher = Searcher(model, store, rescore="dense", dense="dense")
    if isinstance(store, EdgeStore):
        match = qdrant_edge.FieldCondition("odd", match=qdrant_edge.MatchValue(0))
        even: Any = qdrant_edge.Filter(must=[match])
    else:
        match = models.FieldCondition(key="odd", match=models.MatchValue(value=0))
        even = models.Filter(must=[match])
    results = searcher.search(
        queries, k=4, candidates=300, filter=even, score_threshold=0.3, explain=True
    )
    exact = cosines(queries, docs)
    first = model.encode_query(queries, k=4).dot(model.encode(docs, k=8))
    assert results.explanations is not None
    for q, (hits, reasons) in enumerate(zip(results, results.explanations, strict=True)):
        near = [row for row in np.argsort(-exact[q]) if row % 2 == 0 and first[q, row] > 0]
        assert [hit.id for hit in hits] == [row for row in near[:10] if exact[q, row] >= 0.3]
        for hit, why in zip(hits, reasons, strict=True):
            assert why.score == pytest.approx(first[q, hit.id], abs=1e-6)
    assert any(map(len, results))


def test_an_unknown_vector_is_the_stores_error(
    store: Any, model: CSRModel, queries: np.ndarray
) -> None:
    searcher = Searcher(model, store, rescore="dense", dense="other")
    with pytest.raises(StoreError, match="other"):
        searcher.search(queries)
