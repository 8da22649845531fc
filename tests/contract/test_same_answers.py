"""The same real codes in every store: the same ids and scores as `MemoryStore`, at any k.

The stores are those of the table in `docs/stores.md`, opened as its benchmark opens them, and
`QdrantStore` over HTTP. The codes are of 4,000 of the demo's texts. All that a folder has, and more
queries, are compared with CSRKIT_EMBEDDINGS=FOLDER, of files like those of `examples/data`;
``make answers`` does so with those.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from examples.benchmarks._stores import ENGINES, KINDS, Kind
from numpy.typing import NDArray
from qdrant_client import QdrantClient

import csrkit
from csrkit import FitConfig, SparseVectors
from csrkit.stores import Hit, MemoryStore, QdrantStore, Store

from .rest_shim import QUICK

LARGE = os.environ.get("CSRKIT_EMBEDDINGS")
FOLDER = Path(LARGE or Path(__file__).parents[2] / "examples" / "data")
ROWS, QUERIES = (None, 200) if LARGE else (4000, 40)
LADDER, LIMIT = (4, 16, 64), 10
BATCH = 2500
TOLERANCE = 2e-6  # of scores up to 1, which each store sums in float32 in an order of its own
FOUND = 0.97  # least share of the exact hits that graphs and Seismic find here, at each k


class Data(NamedTuple):
    """What is stored and asked, and the exact answers: hits by k, and every score."""

    ids: list[int | str]
    codes: SparseVectors
    payloads: list[dict[str, Any]]
    queries: dict[int, SparseVectors]
    exact: dict[int, list[list[Hit]]]


def vectors(name: str) -> NDArray[np.float32]:
    scale = np.load(FOLDER / f"{name}.scale.npy")[:, None]
    return np.load(FOLDER / f"{name}.npy").astype(np.float32) * scale


@pytest.fixture(scope="module")
def data() -> Data:
    """Fit a small model to a part of the embeddings, encode all, and ask the reference."""
    docs = vectors("docs")[:ROWS]
    config = FitConfig(n_latents=2048, ladder=LADDER, steps=10, kmeans_rounds=1)
    model = csrkit.fit(docs[:3000], config=config, progress=False)
    codes, rows = model.encode(docs), range(len(docs))
    queries = {k: model.encode(vectors("queries")[:QUERIES], k=k) for k in LADDER}
    ids = [row if row % 2 else f"text {row}" for row in rows]
    payloads = [{"row": row} for row in rows]
    memory = MemoryStore()
    memory.upsert(ids, codes, payloads)
    exact = {k: memory.search(asked, limit=LIMIT) for k, asked in queries.items()}
    return Data(ids, codes, payloads, queries, exact)


def fill(store: Store, data: Data) -> None:
    for start in range(0, len(data.ids), BATCH):
        part = slice(start, start + BATCH)
        store.upsert(data.ids[part], data.codes[part], data.payloads[part])


def assert_true(got: list[list[Hit]], queries: SparseVectors, data: Data) -> None:
    """Assert that hits are in order, once each, with the score and payload of their id."""
    every = queries.dot(data.codes)
    for hits, scores in zip(got, every, strict=True):
        rows = [hit.payload["row"] for hit in hits if hit.payload]
        assert [hit.id for hit in hits] == [data.ids[row] for row in rows]
        assert len(set(rows)) == len(rows)
        found = [hit.score for hit in hits]
        assert found == pytest.approx(scores[rows].tolist(), rel=0, abs=TOLERANCE)
        assert found == sorted(found, reverse=True)


def assert_same(got: list[list[Hit]], exact: list[list[Hit]]) -> None:
    """Assert that the scores are those of the reference, rank by rank, and so are the ids.

    Ids may differ only where scores are equal but for rounding.
    """
    for hits, truth in zip(got, exact, strict=True):
        scores = [hit.score for hit in truth]
        assert [hit.score for hit in hits] == pytest.approx(scores, rel=0, abs=TOLERANCE)
        for hit, other in zip(hits, truth, strict=True):
            equal = {h.id for h in truth if abs(h.score - other.score) <= 2 * TOLERANCE}
            is_last = other.score - scores[-1] <= 2 * TOLERANCE  # a tie with what is left out
            assert hit.id in equal or is_last


def share_found(got: list[list[Hit]], exact: list[list[Hit]]) -> float:
    pairs = zip(got, exact, strict=True)
    hits = [len({h.id for h in hits} & {h.id for h in truth}) for hits, truth in pairs]
    return sum(hits) / sum(map(len, exact))


@pytest.fixture(scope="module")
def _engines() -> Iterator[None]:
    with ENGINES:
        yield


@pytest.mark.usefixtures("_engines")
@pytest.mark.parametrize("kind", [one for one in KINDS if one.opened], ids=lambda one: one.store)
def test_a_store_answers_as_the_reference_does(kind: Kind, data: Data, tmp_path: Path) -> None:
    assert kind.opened is not None
    with kind.opened(tmp_path) as opened:
        fill(opened.store, data)
        opened.settle()
        for k, queries in data.queries.items():
            got = opened.store.search(queries, limit=LIMIT)
            assert_true(got, queries, data)
            if kind.search == "exact":
                assert_same(got, data.exact[k])
            assert share_found(got, data.exact[k]) >= FOUND


def test_qdrant_answers_as_the_reference_does(client: QdrantClient, data: Data) -> None:
    store = QdrantStore(client, "docs", retry=QUICK)
    fill(store, data)
    for k, queries in data.queries.items():
        got = store.search(queries, limit=LIMIT)
        assert_true(got, queries, data)
        assert_same(got, data.exact[k])


def test_wrong_answers_are_seen(data: Data) -> None:
    queries, (first, *others) = data.queries[16], data.exact[16]
    assert_true(data.exact[16], queries, data)
    assert_same(data.exact[16], data.exact[16])
    other = Hit("text 0" if first[0].id != "text 0" else "text 2", *first[0][1:])
    wrong = {
        "another id": [other, *first[1:]],
        "another score": [*first[:3], first[3]._replace(score=first[3].score - 1e-5), *first[4:]],
        "another order": [first[1], first[0], *first[2:]],
        "twice": [first[0], *first[:-1]],
        "one less": first[:-1],
    }
    for what, hits in wrong.items():
        with pytest.raises(AssertionError):
            assert_same([hits, *others], data.exact[16])
        if what != "one less":
            with pytest.raises(AssertionError):
                assert_true([hits, *others], queries, data)
