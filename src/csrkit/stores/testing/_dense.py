"""The laws of `DenseStore`: candidates by code, ranked by a dense vector."""

# the name of a law says what it demands

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.stores.base import DenseStore, Hit
from csrkit.stores.testing._laws import Laws
from csrkit.vectors import SparseVectors

__all__ = ["DenseStoreContract"]

_LATENTS, _DIM, _N = 48, 5, 120


def _codes(seed: int, n: int) -> SparseVectors:
    """Make codes of 4 latents whose scores do not tie, so that the candidates are certain."""
    rng = np.random.default_rng(seed)
    indices = np.sort(np.argsort(rng.random((n, _LATENTS)), axis=1)[:, :4], axis=1)
    values = rng.uniform(0.2, 1, (n, 4)).astype(np.float32)
    return SparseVectors(np.arange(n + 1) * 4, indices.ravel(), values.ravel(), _LATENTS)  # type: ignore[arg-type]  # the constructor converts and checks


def _rows(seed: int, n: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, _DIM)).astype(np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


class DenseStoreContract(Laws):
    """All laws of `DenseStore` as pytest tests: subclass it."""

    @abstractmethod
    def make_dense_store(self, tmp_path: Path, vector: str, dim: int) -> DenseStore:
        """Return a new, empty store that also has a dense vector, compared by cosine.

        Args:
            tmp_path: An empty folder that the test owns.
            vector: Name of the vector.
            dim: Its width.

        Returns:
            The store.
        """

    @abstractmethod
    def put_dense(
        self, store: DenseStore, vector: str, ids: Sequence[int], rows: NDArray[np.float32]
    ) -> None:
        """Set the dense vectors of stored ids, as the vendor has it done.

        Args:
            store: The store.
            vector: Name of the vector.
            ids: Ids that have codes.
            rows: float32 (n, dim).
        """

    @pytest.fixture
    def docs(self) -> SparseVectors:
        """Return the codes of the documents."""
        return _codes(60, _N)

    @pytest.fixture
    def rows(self) -> NDArray[np.float32]:
        """Return their dense vectors."""
        return _rows(60, _N)

    @pytest.fixture
    def dense_store(
        self, tmp_path: Path, docs: SparseVectors, rows: NDArray[np.float32]
    ) -> DenseStore:
        """Make a store of all documents."""
        store = self.make_dense_store(tmp_path, "dense", _DIM)
        store.upsert(range(_N), docs, [{"row": row, "third": row % 3} for row in range(_N)])
        self.put_dense(store, "dense", range(_N), rows)
        return store

    def exact(
        self,
        docs: SparseVectors,
        rows: NDArray[np.float32],
        codes: SparseVectors,
        queries: NDArray[np.float32],
        candidates: int,
        keep: NDArray[np.bool_] | None = None,
    ) -> list[list[tuple[int, float]]]:
        """Compute ids and cosines of all candidates of each query with numpy alone.

        Args:
            docs: Codes of the documents.
            rows: Their dense vectors.
            codes: Codes of the queries.
            queries: Their dense vectors.
            candidates: Documents per query.
            keep: Documents that pass the filter, bool (n,); all if None.

        Returns:
            Id and cosine of each candidate, best first.
        """
        sparse = codes.to_dense().astype(np.float64) @ docs.to_dense().astype(np.float64).T
        cosines = _unit(queries) @ _unit(rows).T
        found = []
        for scores, near in zip(sparse, cosines, strict=True):
            order = [row for row in np.argsort(-scores) if scores[row] > 0]
            chosen = [row for row in order if keep is None or keep[row]][:candidates]
            found.append(
                sorted(((int(row), float(near[row])) for row in chosen), key=lambda one: -one[1])
            )
        return found

    def same(self, got: list[list[Hit]], exact: list[list[tuple[int, float]]], limit: int) -> None:
        """Assert that hits are the first of the exact ones, with their cosines and payloads.

        Args:
            got: Hits per query.
            exact: As `exact` gives them.
            limit: Most hits per query.
        """
        assert [[hit.id for hit in hits] for hits in got] == [
            [one for one, _ in best[:limit]] for best in exact
        ]
        for hits, best in zip(got, exact, strict=True):
            cosines = [cosine for _, cosine in best[:limit]]
            assert [hit.score for hit in hits] == pytest.approx(cosines, abs=self.tolerance)
            assert all(hit.payload and hit.payload["row"] == hit.id for hit in hits)

    def test_it_is_a_dense_store(self, dense_store: DenseStore) -> None:
        assert isinstance(dense_store, DenseStore)

    @pytest.mark.parametrize("candidates", [10, 30, _N])
    def test_hits_are_the_nearest_of_the_candidates(
        self,
        dense_store: DenseStore,
        docs: SparseVectors,
        rows: NDArray[np.float32],
        candidates: int,
    ) -> None:
        codes, queries = _codes(61, 20), _rows(61, 20)
        exact = self.exact(docs, rows, codes, queries, candidates)
        assert min(cosine for best in exact for _, cosine in best) < 0
        for limit in (1, 10):
            got = dense_store.search_dense(
                codes, queries, vector="dense", candidates=candidates, limit=limit
            )
            self.same(got, exact, limit)

    def test_more_queries_than_a_batch(
        self, dense_store: DenseStore, docs: SparseVectors, rows: NDArray[np.float32]
    ) -> None:
        codes, queries = _codes(62, 300), _rows(62, 300)
        got = dense_store.search_dense(codes, queries, vector="dense", candidates=20, limit=3)
        self.same(got, self.exact(docs, rows, codes, queries, 20), 3)

    def test_the_filter_comes_before_the_candidates(
        self, dense_store: DenseStore, docs: SparseVectors, rows: NDArray[np.float32]
    ) -> None:
        codes, queries = _codes(63, 20), _rows(63, 20)
        keep = np.arange(_N) % 3 == 2
        for candidates in (10, _N):  # more than the filter keeps, and still they share a latent
            got = dense_store.search_dense(
                codes,
                queries,
                vector="dense",
                candidates=candidates,
                limit=10,
                filter=self.equals("third", 2),
            )
            self.same(got, self.exact(docs, rows, codes, queries, candidates, keep), 10)

    def test_a_document_without_the_vector_is_no_hit(
        self, dense_store: DenseStore, docs: SparseVectors, rows: NDArray[np.float32]
    ) -> None:
        dense_store.upsert([1000], docs[7], [{"row": 1000}])
        got = dense_store.search_dense(docs[7], rows[[7]], vector="dense", candidates=_N, limit=_N)
        assert got[0][0].id == 7
        assert 1000 not in [hit.id for hit in got[0]]

    def test_a_cosine_of_zero_is_a_hit(self, dense_store: DenseStore, docs: SparseVectors) -> None:
        across = np.array([[0, 0, 0, 0, 1]], np.float32)
        self.put_dense(dense_store, "dense", [7], across)
        query = np.array([[1, 0, 0, 0, 0]], np.float32)
        got = dense_store.search_dense(docs[7], query, vector="dense", candidates=_N, limit=_N)
        assert {hit.id: hit.score for hit in got[0]}[7] == 0

    def test_empty_codes_find_nothing(
        self, dense_store: DenseStore, docs: SparseVectors, rows: NDArray[np.float32]
    ) -> None:
        dense = docs[:3].to_dense()
        dense[1] = 0
        codes = SparseVectors.from_dense(dense)
        got = dense_store.search_dense(codes, rows[:3], vector="dense", candidates=10)
        assert [hits[0].id if hits else None for hits in got] == [0, None, 2]
        none = dense_store.search_dense(codes[:0], rows[:0], vector="dense", candidates=10)
        assert none == []

    def test_a_vector_that_is_not_there_is_named(self, tmp_path: Path, rows: Any) -> None:
        store = self.make_dense_store(tmp_path, "dense", _DIM)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"no dense vector 'dens': there are \['dense'\]"):
                store.search_dense(_codes(0, 2), rows[:2], vector="dens", candidates=10)
            store.upsert([1], _codes(0, 1))

    def test_queries_must_fit(self, dense_store: DenseStore) -> None:
        codes, queries = _codes(64, 2), _rows(64, 2)
        holes = queries.copy()
        holes[1, 2] = np.nan
        for bad, message in (
            (queries[:, :4], rf"{_DIM} dimensions.*'dense'.*got 4"),
            (queries[:1], r"one dense query per code.*\(2, dim\).*\(1, 5\)"),
            (queries[0], r"one dense query per code.*\(5,\)"),
            (holes, "finite dense queries.*row 1"),
            ([["a"] * _DIM] * 2, "numbers of shape"),
        ):
            rows: Any = bad
            with pytest.raises(ShapeError, match=message):
                dense_store.search_dense(codes, rows, vector="dense", candidates=10)
        wide = SparseVectors([0, 1], [_LATENTS], [1.0], _LATENTS + 1)  # type: ignore[arg-type]
        with pytest.raises(ShapeError, match=f"over {_LATENTS} latents"):
            dense_store.search_dense(wide, queries[:1], vector="dense", candidates=10)

    def test_there_are_as_many_candidates_as_hits(self, dense_store: DenseStore) -> None:
        codes, queries = _codes(65, 1), _rows(65, 1)
        for bad in (0, 9, True, 10.0, None):
            candidates: Any = bad
            with pytest.raises(ConfigError, match=f"limit=10, got candidates={bad}"):
                dense_store.search_dense(codes, queries, vector="dense", candidates=candidates)
        with pytest.raises(ConfigError, match="at least 1 hit"):
            dense_store.search_dense(codes, queries, vector="dense", candidates=9, limit=0)
