"""Rescoring against rankings worked out from whole dense matrices, in float64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from csrkit import CSRModel, Hit, SparseVectors
from csrkit.errors import ConfigError, ShapeError
from csrkit.search import Searcher, rescoring, stages
from csrkit.stores import EdgeStore, MemoryStore, Store

Cosines = Callable[[np.ndarray, np.ndarray], np.ndarray]


class PlainStore:
    """The smallest store that an adapter may be: no residuals, no dense vectors; counts calls."""

    def __init__(self) -> None:
        self._inside = MemoryStore()
        self.calls: Counter[str] = Counter()

    def upsert(self, ids: Any, codes: SparseVectors, payloads: Any = None) -> None:
        self._inside.upsert(ids, codes, payloads)

    def search(self, codes: SparseVectors, *, limit: int = 10, filter: Any = None) -> Any:
        self.calls["search"] += 1
        return self._inside.search(codes, limit=limit, filter=filter)

    def fetch(self, ids: Any) -> SparseVectors:
        self.calls["fetch"] += 1
        return self._inside.fetch(ids)

    def delete(self, ids: Any) -> None:
        self._inside.delete(ids)

    def count(self) -> int:
        return self._inside.count()


@pytest.fixture(params=["memory", "edge", "plain"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "edge":
        return EdgeStore(tmp_path / "index")
    return MemoryStore() if request.param == "memory" else PlainStore()


def candidates_of(scores: np.ndarray, count: int) -> list[int]:
    """Rows of the largest positive scores, as any sparse stage finds them."""
    return [row for row in np.argsort(-scores, kind="stable")[:count] if scores[row] > 0]


def assert_ranked(hits: Sequence[Hit], rows: list[int], scores: np.ndarray, limit: int) -> None:
    """The hits are those rows of the largest scores, which they carry."""
    expected = sorted(rows, key=lambda row: -scores[row])[:limit]
    assert [hit.score for hit in hits] == pytest.approx(scores[expected], abs=1e-5)
    assert [hit.id for hit in hits] == expected


def code_scores(model: CSRModel, queries: np.ndarray, docs: np.ndarray, k: int) -> np.ndarray:
    return model.encode_query(queries, k=k).to_dense() @ model.encode(docs, k=8).to_dense().T


@pytest.mark.parametrize(("k", "candidates", "limit"), [(4, 40, 10), (2, 7, 7), (8, 300, 3)])
def test_codes_rank_by_the_cosine_with_the_decoded_rows(
    store: Store,
    model: CSRModel,
    docs: np.ndarray,
    queries: np.ndarray,
    cosines: Cosines,
    k: int,
    candidates: int,
    limit: int,
) -> None:
    codes = model.encode(docs, k=8)
    store.upsert(range(len(docs)), codes, [{"row": row} for row in range(len(docs))])
    searcher = Searcher(model, store, rescore="codes")
    results = searcher.search(queries, k=k, candidates=candidates, limit=limit)
    exact = cosines(queries, model.decode(codes))
    first = code_scores(model, queries, docs, k)
    for hits, stage, scores in zip(results, first, exact, strict=True):
        assert_ranked(hits, candidates_of(stage, candidates), scores, limit)
        assert [hit.payload for hit in hits] == [{"row": hit.id} for hit in hits]


def test_residual_bits_are_stored_and_used(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, cosines: Cosines, tmp_path: Path
) -> None:
    true = cosines(queries, docs)
    codes = model.encode(docs, k=8)
    bits = model.encode_residuals(docs, codes)
    estimates = model.estimate_cosines(queries, codes, bits)
    for store in (MemoryStore(), EdgeStore(tmp_path / "index")):
        searcher = Searcher(model, store, rescore="codes")
        searcher.upsert(range(len(docs)), docs)
        np.testing.assert_array_equal(store.fetch_residuals(range(len(docs))), bits)
        results = searcher.search(queries, k=8, candidates=300, limit=300)
        errors = []
        first = code_scores(model, queries, docs, 8)
        for hits, stage, scores, cosine in zip(results, first, estimates, true, strict=True):
            assert_ranked(hits, candidates_of(stage, 300), scores, 300)
            errors += [hit.score - cosine[hit.id] for hit in hits]
        decoded = cosines(queries, model.decode(codes))
        assert np.std(errors) < 0.7 * np.std(decoded - true)


def test_a_searcher_adds_bits_exactly_where_they_belong(model: CSRModel, docs: np.ndarray) -> None:
    width = model.residual_bytes
    kept: list[int] = []
    for rescore in ("codes", None):
        store = MemoryStore()
        Searcher(model, store, rescore=rescore).upsert(range(5), docs[:5])
        # later upserts follow the store, not the searcher
        Searcher(model, store, rescore=None).upsert(range(5, 7), docs[5:7])
        Searcher(model, store, rescore="codes").upsert(range(7, 9), docs[7:9])
        assert store.count() == 9
        kept.append(store.residual_bytes)
    assert kept == [width, 0]


class LazyRows:
    """Rows as HDF5 reads them: by rising row numbers, each once, nothing else."""

    def __init__(self, rows: np.ndarray) -> None:
        self.shape = rows.shape
        self._rows = rows

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        assert (np.diff(rows) > 0).all()
        return self._rows[rows]


@pytest.mark.parametrize(
    "kind", ["float32", "float16", "list", "memmap", "lazy", "tensor", "function", "tensors"]
)
def test_dense_rows_rank_by_the_exact_cosine(
    kind: str,
    model: CSRModel,
    docs: np.ndarray,
    queries: np.ndarray,
    cosines: Cosines,
    tmp_path: Path,
) -> None:
    longer = docs * np.random.default_rng(3).uniform(0.1, 9, size=(len(docs), 1)).astype(docs.dtype)
    np.save(tmp_path / "rows.npy", longer)
    dense: Any = {
        "float32": longer,
        "float16": longer.astype(np.float16),
        "list": longer.tolist(),
        "memmap": np.load(tmp_path / "rows.npy", mmap_mode="r"),
        "lazy": LazyRows(longer),
        "tensor": torch.tensor(longer, requires_grad=True),
        "function": lambda ids: longer[ids],
        "tensors": lambda ids: torch.tensor(longer[ids], requires_grad=True),
    }[kind]
    searcher = Searcher(model, MemoryStore(), rescore="dense", dense=dense)
    searcher.upsert(range(len(docs)), docs)
    results = searcher.search(queries, k=4, candidates=40, limit=10)
    exact = cosines(queries, longer.astype(np.float16) if kind == "float16" else longer)
    first = code_scores(model, queries, docs, 4)
    for hits, stage, scores in zip(results, first, exact, strict=True):
        assert_ranked(hits, candidates_of(stage, 40), scores, 10)


def test_a_function_serves_ids_of_any_kind(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, cosines: Cosines
) -> None:
    asked: list[list[str]] = []

    def vectors(ids: list[str]) -> list[list[float]]:
        asked.append(ids)
        return [docs[int(one.removeprefix("doc "))].tolist() for one in ids]

    searcher = Searcher(model, MemoryStore(), rescore="dense", dense=vectors)
    searcher.upsert([f"doc {row}" for row in range(len(docs))], docs)
    (hits,) = searcher.search(queries[0], k=4, limit=5)
    stage = code_scores(model, queries[:1], docs, 4)[0]
    rows = [hit._replace(id=int(str(hit.id).removeprefix("doc "))) for hit in hits]
    assert_ranked(rows, candidates_of(stage, 100), cosines(queries[:1], docs)[0], 5)
    assert len(asked) == 1
    assert len(asked[0]) == len(set(asked[0])) == len(candidates_of(stage, 100))


def test_a_row_of_zeros_is_near_to_nothing(model: CSRModel, docs: np.ndarray) -> None:
    emptied = docs.copy()
    emptied[7] = 0
    searcher = Searcher(model, MemoryStore(), rescore="dense", dense=emptied)
    searcher.upsert(range(len(docs)), docs)
    (hits,) = searcher.search(docs[7], k=8, limit=300)
    assert {hit.id: hit.score for hit in hits}[7] == 0


@pytest.mark.parametrize("length", [1e300, 1e-300, 1e38, 1e-42])
def test_lengths_beyond_float32_change_no_cosine(
    length: float, model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    results = [
        filled_by_rows(model, docs, dense).search(queries, limit=20)
        for dense in (docs.astype(np.float64), docs.astype(np.float64) * length)
    ]
    for near, far in zip(*results, strict=True):
        np.testing.assert_allclose(scores(near), scores(far), atol=1e-6)


def filled_by_rows(model: CSRModel, docs: np.ndarray, dense: Any) -> Searcher:
    searcher = Searcher(model, MemoryStore(), rescore="dense", dense=dense)
    searcher.upsert(range(len(docs)), docs)
    return searcher


def scores(hits: Sequence[Hit]) -> list[float]:
    return [hit.score for hit in hits]


class Frame:
    """What matters of a data frame: numbers of any kind of array, and columns by []."""

    iloc = None

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape = rows, rows.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.rows

    def __getitem__(self, columns: Any) -> Any:
        raise KeyError(columns)


def test_a_data_frame_is_read_by_its_rows(model: CSRModel, docs: np.ndarray) -> None:
    framed, plain = (filled_by_rows(model, docs, dense) for dense in (Frame(docs), docs))
    assert framed.search(docs[:5]) == plain.search(docs[:5])


@pytest.mark.parametrize(("group", "held"), [(1, 100), (30, 60), (4096, 60), (4096, 10**5)])
def test_a_batch_makes_few_calls_and_no_difference(
    group: int,
    held: int,
    model: CSRModel,
    docs: np.ndarray,
    queries: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = PlainStore()
    searcher = Searcher(model, store)
    searcher.upsert(range(len(docs)), docs)
    alone = [searcher.search(query, k=4, candidates=15)[0] for query in queries]
    store.calls.clear()
    monkeypatch.setattr(rescoring, "GROUP_CANDIDATES", group)
    monkeypatch.setattr(stages, "HELD_CANDIDATES", held)
    batch = searcher.search(queries, k=4, candidates=15)
    assert [[hit.id for hit in hits] for hits in batch] == [[h.id for h in hits] for hits in alone]
    at_once = min(held // 15, len(queries))  # queries per search; some of them per fetch
    fetches = -(-at_once // max(1, group // 15))
    searches = len(queries) // at_once
    assert store.calls == {"search": searches, "fetch": searches * fetches}


class Vanishing(EdgeStore):
    """A store whose best document is deleted by somebody else in the middle of every search."""

    gone: Any = None

    def candidates(self, codes: SparseVectors, *, limit: int, filter: Any = None) -> Any:
        found = super().candidates(codes, limit=limit, filter=filter)
        self.gone = found[0].keys[0]
        self.delete([self.gone])
        return found


def test_a_document_that_is_deleted_during_the_search_is_no_error(
    model: CSRModel, docs: np.ndarray, tmp_path: Path
) -> None:
    with EdgeStore(tmp_path / "index") as store:
        searcher = Searcher(model, store)
        searcher.upsert(range(len(docs)), docs)
        whole = searcher.search(docs[3], limit=5, candidates=5)[0]
    with Vanishing(tmp_path / "index") as store:
        results = Searcher(model, store).search(docs[3], limit=5, candidates=5)
        assert store.count() == len(docs) - 1
    assert results[0] == [hit for hit in whole if hit.id != store.gone]
    assert (len(results[0]), results.short) == (4, 1)


def test_queries_without_candidates_stay_in_their_place(model: CSRModel, docs: np.ndarray) -> None:
    """Of three queries the middle one finds nothing: its latents are in no document."""
    codes = model.encode(docs, k=2)
    lone = int(np.argmin(np.bincount(codes.indices, minlength=codes.dim)))
    kept = [row for row in range(len(docs)) if lone not in codes[row].indices]
    query = _query_of_latent(model, lone)
    store = MemoryStore()
    store.upsert(kept, codes[kept])
    searcher = Searcher(model, store, rescore="codes")
    results = searcher.search(np.stack([docs[kept[0]], query, docs[kept[1]]]), k=1, limit=1)
    assert [len(hits) for hits in results] == [1, 0, 1]
    assert results.short == 1
    assert searcher.search(query, k=1)[0] == []


def _query_of_latent(model: CSRModel, latent: int) -> np.ndarray:
    """A vector whose largest latent is the given one."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5000, model.dim)) + 4 * model.encoder[latent]
    strongest = model.encode_query(rows, k=1)
    return rows[np.flatnonzero(strongest.indices == latent)[0]]


@pytest.mark.parametrize(
    ("ids", "got"), [(["a", "b", "c"], "'[abc]'"), ([0, 1, 300], "300"), ([2**63, 0, 1], "92233")]
)
def test_ids_that_are_no_rows_are_refused(
    ids: list[Any], got: str, model: CSRModel, docs: np.ndarray
) -> None:
    searcher = Searcher(model, MemoryStore(), rescore="dense", dense=docs)
    searcher.upsert(ids, np.repeat(docs[:1], 3, axis=0))
    message = rf"ids that are row numbers of dense=, from 0 to 299, got the id {got}.*function"
    with pytest.raises(ConfigError, match=message):
        searcher.search(docs[0])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda ids: np.ones((len(ids), 3)),
            r"shape \(1, 16\) for 1 ids, got float64 of .*\(1, 3\)",
        ),
        (lambda ids: np.ones(16), r"shape \(1, 16\) for 1 ids, got float64 of shape \(16,\)"),
        (lambda ids: [["x"] * 16], r"dense= returns to be real numbers, got <U1 of .*\(1, 16\)"),
        (lambda ids: np.full((1, 16), np.nan), r"finite dense vectors, got NaN or Inf .* id 'a'"),
    ],
)
def test_what_a_function_may_not_return(
    answer: Callable[[list[str]], Any], message: str, model: CSRModel, docs: np.ndarray
) -> None:
    searcher = Searcher(model, MemoryStore(), rescore="dense", dense=answer)
    searcher.upsert(["a"], docs[:1])
    with pytest.raises(ShapeError, match=message):
        searcher.search(docs[0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"rescore": "sparse"},
            ConfigError,
            "rescore to be 'codes', 'dense' or None, got 'sparse'",
        ),
        ({"rescore": "dense"}, ConfigError, "together with rescore='dense', got no dense="),
        ({"dense": np.ones((3, 16))}, ConfigError, "got dense= of type ndarray with .*'codes'"),
        ({"rescore": None, "dense": "d"}, ConfigError, "got dense= of type str with rescore=None"),
        ({"rescore": "dense", "dense": "d"}, ConfigError, "dense='d', got a MemoryStore: pass an"),
        ({"rescore": "dense", "dense": np.ones((3, 9))}, ShapeError, r"\(n, 16\).*got \(3, 9\)"),
        ({"rescore": "dense", "dense": np.ones(16)}, ShapeError, r"\(n, 16\).*got \(16,\)"),
        ({"rescore": "dense", "dense": np.ones((3, 16)) * 1j}, ShapeError, "real .* complex128"),
        ({"rescore": "dense", "dense": csr_array(np.eye(16))}, ShapeError, "sparse csr_array"),
        ({"k_doc": 65}, ConfigError, r"k_doc from 1 to n_latents=64, got Searcher\(k_doc=65\)"),
        ({"k_doc": True}, ConfigError, r"k_doc from 1 to n_latents=64"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str, model: CSRModel
) -> None:
    with pytest.raises(error, match=message):
        Searcher(model, MemoryStore(), **arguments)
