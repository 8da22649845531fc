"""What the benchmark of `csrkit.llm` rests on: BM25, triples without test queries, domains."""

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("_texts")
    del sys.modules["_texts"]


def test_bm25_is_its_formula(texts: Any) -> None:
    docs = ["the cat, the dog", "a cat", "nothing else here at all", "dog dog"]
    found = texts.bm25(["Cat dog", "unheard"], docs)
    lengths = [4, 2, 5, 2]
    for row, counts in enumerate([(1, 1), (1, 0), (0, 0), (0, 2)]):  # of cat and of dog
        norm = 0.9 * (1 - 0.4 + 0.4 * lengths[row] / (13 / 4))
        idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))  # both are in two documents
        assert found[0, row] == pytest.approx(sum(idf * tf / (tf + norm) for tf in counts))
    assert not found[1].any()


def test_triples_hold_no_test_query_and_the_teachers_scores(texts: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    docs = [f"one two three four five six word{row}" for row in range(80)]
    queries = [f"query {row}" for row in range(12)]
    for name, rows in (("docs", docs), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in rows)
        )
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(len(rows), 8)))
    np.save(tmp_path / "relevant.npy", np.arange(60, 72))
    data = texts.load_data(tmp_path, 55, 5, 4)
    assert data.docs == docs[:55] + docs[60:72]  # the first, and those asked for
    assert [data.docs[row] for row in data.relevant] == docs[60:72]
    triples = texts.triples_of(data, 0)
    real = [triple for triple in triples if triple.query in queries]
    assert [triple.query for triple in real] == queries[8:]
    assert [triple.positive for triple in real] == docs[68:72]
    assert len(triples) == len(data.docs) + 4  # a crop of each document
    for triple in triples:
        assert len(set(triple.negatives) - {triple.positive}) == 16
    at = data.docs.index(real[0].negatives[3])
    assert real[0].negative_scores[3] == pytest.approx(data.doc_vectors[at] @ data.query_vectors[8])
    assert texts.triples_of(data, 0) == triples != texts.triples_of(data, 1)


def test_names_ask_for_texts_that_come_once(texts: Any, tmp_path: Path) -> None:
    items = [("a-b", "one"), ("c", "two"), ("d", "one"), ("e", "three")]
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps({"name": n, "text": t}) + "\n" for n, t in items))
    domain = texts.load_transfer(path, 3, 2)
    assert domain.docs == ["one", "two", "three"]
    assert domain.queries == ["d", "c"]  # of texts that are alike the last name
    assert domain.relevant.tolist() == [0, 1]


def test_relevance_is_that_of_the_ranks(texts: Any) -> None:
    scores = np.zeros((3, 30), np.float32)
    scores[0, 7], scores[1, :2], scores[2, 20:] = 1, (2, 1), np.arange(10, 20)
    found = texts.relevance(scores, np.array([7, 1, 0]))  # ranks 1, 2, and beyond ten
    assert found["mrr"] == pytest.approx((1 + 1 / 2) / 3)
    assert found["ndcg"] == pytest.approx((1 + 1 / math.log2(3)) / 3)
