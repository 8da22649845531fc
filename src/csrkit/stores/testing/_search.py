"""The laws of `Store.search`."""

# the name of a law says what it demands

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from csrkit.errors import ConfigError
from csrkit.stores.base import Store
from csrkit.stores.testing._laws import Laws, random_codes
from csrkit.vectors import SparseVectors

__all__ = ["SearchLaws"]


class SearchLaws(Laws):
    """Scores, ties, empty rows, negative weights, filters, limits."""

    def test_it_is_a_store(self, store: Store) -> None:
        assert isinstance(store, Store)

    def test_ids_scores_and_payloads_are_exact(self, store: Store) -> None:
        store, exact = self.filled(store, random_codes(0, 200))
        self.check(store, exact, random_codes(1, 20))

    def test_the_query_chooses_its_own_k(self, store: Store) -> None:
        store, exact = self.filled(store, random_codes(2, 100))
        for k in (1, 3, 24):
            self.check(store, exact, random_codes(3, 5, k=k))

    def test_equal_scores_come_in_any_order_but_once_each(self, store: Store) -> None:
        store, exact = self.filled(store, random_codes(4, 1)[[0] * 20])
        self.check(store, exact, random_codes(4, 1), 1, 5, 20, 30)

    def test_rows_of_one_equal_entry(self, store: Store) -> None:
        codes = SparseVectors.from_dense(np.eye(12, dtype=np.float32)[[0, 1, 1, 2, 2, 2]])
        store, exact = self.filled(store, codes)
        self.check(store, exact, codes)

    def test_empty_documents_are_kept_and_never_found(self, store: Store) -> None:
        dense = random_codes(5, 6).to_dense()
        dense[[1, 4]] = 0
        codes = SparseVectors.from_dense(dense)
        store, exact = self.filled(store, codes)
        self.check(store, exact, random_codes(6, 5, k=64))
        assert store.count() == 6
        assert store.fetch(range(6)) == codes

    def test_empty_queries_find_nothing(self, store: Store) -> None:
        store, exact = self.filled(store, random_codes(7, 10))
        dense = random_codes(8, 4).to_dense()
        dense[[0, 2]] = 0
        self.check(store, exact, SparseVectors.from_dense(dense))
        assert store.search(random_codes(8, 4)[0:0]) == []

    def test_documents_without_a_shared_latent_are_no_hits(self, store: Store) -> None:
        even, odd = np.zeros((2, 8), np.float32)
        even[::2], odd[1::2] = 1, 1
        store, exact = self.filled(store, SparseVectors.from_dense([even, even * 0.5]))
        assert store.search(SparseVectors.from_dense([odd, even]), limit=5)[0] == []
        self.check(store, exact, SparseVectors.from_dense([odd, even]))

    def test_negative_query_weights_lower_the_score(self, store: Store) -> None:
        store, exact = self.filled(store, random_codes(9, 150, k=4))
        # off the grid of values by up to 4/300, so that no sum is exactly 0
        queries = random_codes(10, 20, k=5, signed=True)
        tilt = (1 + np.arange(queries.nnz) % 5 / 300).astype(np.float32)
        queries = SparseVectors(queries.indptr, queries.indices, queries.values * tilt, queries.dim)
        lowest = min(hit.score for hits in exact.search(queries, limit=151) for hit in hits)
        assert lowest < 0
        self.check(store, exact, queries)

    def test_a_score_of_exactly_zero_is_no_hit(self, store: Store) -> None:
        codes = SparseVectors.from_dense([[0.5, 0.5], [0.5, 0.25], [0.25, 0.5]])
        store, exact = self.filled(store, codes)
        query = SparseVectors.from_dense([[1.0, -1.0]])
        assert len(exact.search(query)[0]) == 2
        self.check(store, exact, query)
        only = self.equals("third", 0)
        self.check(store, exact, query, filter=only, keep=lambda load: load["third"] == 0)

    def test_an_empty_store_finds_nothing(self, store: Store) -> None:
        assert store.search(random_codes(0, 2)) == [[], []]
        assert store.count() == 0

    def test_a_limit_below_one_is_refused(self, store: Store) -> None:
        store.upsert([1], random_codes(0, 1))
        for bad in (0, -1, True, 1.5, None):
            limit: Any = bad
            with pytest.raises(ConfigError, match=f"at least 1 hit, got limit={bad}"):
                store.search(random_codes(0, 1), limit=limit)

    def test_a_filter_is_applied_before_the_limit(self, store: Store) -> None:
        store, exact = self.filled(store, random_codes(11, 150))
        queries = random_codes(12, 10)
        third = self.equals("third", 2)
        self.check(store, exact, queries, filter=third, keep=lambda load: load["third"] == 2)
        none = self.equals("third", 7)
        self.check(store, exact, queries, filter=none, keep=lambda load: load["third"] == 7)

    def test_filters_do_not_match_missing_payloads(self, store: Store) -> None:
        codes = random_codes(13, 1)[[0, 0, 0]]
        store.upsert([1, 2, 3], codes, [{"third": 1}, None, {"other": 1}])
        found = self.settle(store).search(codes[0], filter=self.equals("third", 1))
        assert [hit.id for hit in found[0]] == [1]
