"""What retrievers of texts are measured on: a corpus, queries with a teacher's triples, BM25."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from csrkit.llm import Triple
from csrkit.metrics import mrr_at, ndcg_at

NEIGHBOURS = 50  # of the teacher, from which negatives are drawn


class Data(NamedTuple):
    """Texts, their dense embeddings of norm 1, and which document each query asks for.

    Attributes:
        passages: All texts of the folder, for a tokenizer and for MNTP.
        docs: Those that are searched.
        queries: Test queries first, queries to train on last.
        doc_vectors: float32 (docs, dim), of the teacher.
        query_vectors: float32 (queries, dim).
        relevant: Row in ``docs`` of what each query asks for.
        n_test: How many of the queries test.
        n_train: How many train.
    """

    passages: list[str]
    docs: list[str]
    queries: list[str]
    doc_vectors: np.ndarray
    query_vectors: np.ndarray
    relevant: np.ndarray
    n_test: int
    n_train: int


class Domain(NamedTuple):
    """Queries and documents; query i asks for document ``relevant[i]``."""

    queries: list[str]
    docs: list[str]
    relevant: np.ndarray


def texts_of(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def unit(path: Path) -> np.ndarray:
    rows = np.load(path).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # the scale per row cancels


def load_data(path: Path, docs: int, n_test: int, n_train: int) -> Data:
    """Read a folder laid out as examples/data; search its first documents and those asked for."""
    passages, queries = texts_of(path / "docs.jsonl"), texts_of(path / "queries.jsonl")
    relevant = np.load(path / "relevant.npy")
    if n_test + n_train > len(queries):
        raise SystemExit(f"expected {n_test + n_train} queries in {path}, got {len(queries)}")
    kept = np.union1d(np.arange(min(docs, len(passages))), relevant)
    return Data(
        passages,
        [passages[row] for row in kept],
        queries,
        unit(path / "docs.npy")[kept],
        unit(path / "queries.npy"),
        np.searchsorted(kept, relevant),
        n_test,
        n_train,
    )


def load_transfer(path: Path, docs: int, queries: int) -> Domain:
    """Read another domain: the ``name`` of an item asks for its ``text``."""
    items = [json.loads(line) for line in path.read_text().splitlines()]
    unique = {item["text"]: item["name"].replace("-", " ") for item in items}
    texts = list(unique)[:docs]
    names = [unique[text] for text in texts[:queries]]
    return Domain(names, texts, np.arange(len(names)))


def neighbours(vectors: np.ndarray, docs: np.ndarray) -> np.ndarray:
    """Return the teacher's nearest documents of each vector, int64 (n, NEIGHBOURS)."""
    found = []
    for start in range(0, len(vectors), 512):
        scores = vectors[start : start + 512] @ docs.T
        found.append(np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    return np.concatenate(found)


def triples_of(data: Data, seed: int) -> list[Triple]:
    """Real queries and crops, each with sixteen of the teacher's neighbours as negatives.

    A crop is half of the words of a document, which it asks for.
    """
    rng = np.random.default_rng(seed)
    asked = np.arange(len(data.queries) - data.n_train, len(data.queries))
    texts = [data.queries[row] for row in asked]
    positives = list(data.relevant[asked])
    for row, text in enumerate(data.docs):
        words = text.split()
        if len(words) >= 6:
            kept = np.sort(rng.permutation(len(words))[: (len(words) + 1) // 2])
            texts.append(" ".join(words[at] for at in kept))
            positives.append(row)
    vectors = np.concatenate([data.query_vectors[asked], data.doc_vectors[positives[len(asked) :]]])
    found = []
    for text, positive, vector, near in zip(
        texts, positives, vectors, neighbours(vectors, data.doc_vectors), strict=True
    ):
        others = rng.permutation(near[near != positive])[:16]
        scores = data.doc_vectors[[positive, *others]] @ vector
        negatives = tuple(data.docs[other] for other in others)
        found.append(
            Triple(text, data.docs[positive], negatives, float(scores[0]), tuple(scores[1:]))
        )
    return found


def relevance(scores: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """Return nDCG and MRR at 10 of scores (queries, docs) with one relevant document each."""
    best = np.argpartition(-scores, 10, axis=1)[:, :10]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    found = np.take_along_axis(best, order, axis=1)
    return {
        "ndcg": float(ndcg_at(found, relevant, 10).mean()),
        "mrr": float(mrr_at(found, relevant, 10).mean()),
    }


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def bm25(
    queries: Sequence[str], docs: Sequence[str], k1: float = 0.9, b: float = 0.4
) -> np.ndarray:
    """Score with BM25 over lower-case words, with the parameters of Anserini."""
    names: dict[str, int] = {}
    lines = [[names.setdefault(w, len(names)) for w in words_of(text)] for text in docs]
    lengths = np.array([len(line) for line in lines])
    counted = [np.unique(line, return_counts=True) for line in lines]
    at = np.concatenate([[0], np.cumsum([len(words) for words, _ in counted])])
    words = np.concatenate([words for words, _ in counted])
    counts = np.concatenate([counts for _, counts in counted]).astype(np.float64)
    holding = np.bincount(words, minlength=len(names))
    idf = np.log(1 + (len(docs) - holding + 0.5) / (holding + 0.5))
    norm = np.repeat(k1 * (1 - b + b * lengths / lengths.mean()), np.diff(at))
    weights = csr_array((idf[words] * counts / (counts + norm), words, at), (len(docs), len(names)))
    asked = [np.unique([names[w] for w in words_of(text) if w in names]) for text in queries]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in asked])])
    ones = csr_array(
        (np.ones(starts[-1]), np.concatenate(asked).astype(np.int64), starts),
        (len(queries), len(names)),
    )
    return np.asarray((ones @ weights.T).toarray())
