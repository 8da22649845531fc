"""The laws of what a store keeps: upsert, payloads, fetch, delete."""

# the name of a law says what it demands

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from csrkit.errors import StoreError
from csrkit.stores.base import Store
from csrkit.stores.memory import MemoryStore
from csrkit.stores.testing._laws import Laws, random_codes
from csrkit.vectors import SparseVectors

__all__ = ["ContentLaws"]

_PAYLOAD = {
    "text": "naïve ☃",
    "n": -(2**63),
    "x": 0.1,
    "on": True,
    "no": None,
    "of": [1, {"a": []}],
}


class ContentLaws(Laws):
    """Replacing, payloads, batches, fetching, deleting."""

    def test_wide_codes(self, store: Store) -> None:
        dim = 2**31 - 1
        codes = SparseVectors([0, 2, 3], [0, dim - 1, 70_000], [0.5, 0.25, 1.0], dim)  # type: ignore[arg-type]  # the constructor converts
        store, exact = self.filled(store, codes)
        self.check(store, exact, codes)
        assert store.fetch([0, 1]) == codes

    def test_more_rows_than_a_batch(self, store: Store) -> None:
        codes = random_codes(14, 2300, dim=512)
        store, exact = self.filled(store, codes)
        assert store.count() == 2300
        self.check(store, exact, random_codes(15, 3, dim=512), 10)
        assert store.fetch(range(2300)) == codes

    def test_many_queries_in_one_call(self, store: Store) -> None:
        store, exact = self.filled(store, random_codes(16, 20))
        self.check(store, exact, random_codes(17, 700), 3)

    def test_an_upsert_replaces_code_and_payload(self, store: Store) -> None:
        codes = random_codes(18, 30)
        store, exact = self.filled(store, codes)
        for target in (store, exact):
            target.upsert([3, 29, 30], codes[[4, 5, 6]], [{"new": 1}, None, {"third": 9}])
        self.check(store, exact, codes)
        assert store.count() == 31
        assert store.fetch([3, 29, 30]) == codes[[4, 5, 6]]

    def test_without_payloads_an_upsert_keeps_those_that_are_there(self, store: Store) -> None:
        codes = random_codes(19, 10)
        store.upsert(["a", 1], codes[:2], [{"kept": 1}, {"kept": 2}])
        store.upsert(["a", "b", 1], codes[2:5])
        found = {hit.id: hit for hit in store.search(codes[2:5], limit=3)[0]}
        assert found["a"].payload == {"kept": 1}
        assert all(hit.payload != {} for hit in found.values())
        assert store.fetch(["a", "b", 1]) == codes[2:5]

    def test_payloads_come_back_as_they_were(self, store: Store) -> None:
        payload = {**_PAYLOAD, "of": [1, {"a": []}]}
        code = random_codes(20, 1)
        store.upsert(["a", 2, 3], code[[0, 0, 0]], [payload, {}, None])
        payload["of"].append("changed afterwards")  # type: ignore[attr-defined]
        found = {hit.id: hit.payload for hit in store.search(code)[0]}
        assert found == {"a": _PAYLOAD, 2: None, 3: None}

    def test_payloads_that_are_no_json_are_refused(self, store: Store) -> None:
        for bad in ({"x": math.nan}, {"x": {1}}, {1: 2}, {"x": 2**64}, "text", {"\ud800": 1}):
            payloads: Any = [{"x": 1}, bad]
            with pytest.raises(StoreError, match="payload of id 'bad'"):
                store.upsert(["good", "bad"], random_codes(0, 2), payloads)
        assert store.count() == 0

    def test_payloads_nested_beyond_reason_are_refused(self, store: Store) -> None:
        deep: dict[str, Any] = {}
        deep["self"] = deep
        with pytest.raises(StoreError, match="nested deeper than"):
            store.upsert([1], random_codes(0, 1), [deep])
        assert store.count() == 0

    def test_fetch_keeps_the_order_and_repeats(self, store: Store) -> None:
        codes = random_codes(21, 40)
        store, _ = self.filled(store, codes)
        assert store.fetch([7, 0, 39, 7]) == codes[[7, 0, 39, 7]]
        assert store.fetch([]) == codes[:0]

    def test_fetch_names_what_is_not_there(self, store: Store) -> None:
        store.upsert([1], random_codes(0, 1))
        with pytest.raises(StoreError, match="'gone', 12") as caught:
            store.fetch([1, "gone", 12])
        assert "1, 'gone'" not in str(caught.value)

    def test_fetch_from_an_empty_store_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError):
            store.fetch([])

    def test_delete_forgets(self, store: Store) -> None:
        codes = random_codes(22, 30)
        store, exact = self.filled(store, codes)
        for target in (store, exact):
            target.delete([0, 5, 29, 5, 1234, "never there"])
        assert store.count() == 27
        self.check(store, exact, codes)
        with pytest.raises(StoreError, match="5"):
            store.fetch([5])
        for target in (store, exact):
            target.upsert([5], codes[5])
        self.check(store, exact, codes)

    def test_delete_from_an_empty_store(self, store: Store) -> None:
        store.delete([1, "a"])
        store.delete([])
        assert store.count() == 0

    def test_any_sequence_of_changes(self, store: Store) -> None:
        rng = np.random.default_rng(23)
        exact = MemoryStore()
        for step in range(25):
            ids: Any = rng.choice(40, size=8, replace=False)
            codes = random_codes(100 + step, 8)
            payloads = None if step % 3 == 0 else [{"step": step}] * 8
            for target in (store, exact):
                target.delete(ids[:4]) if step % 4 == 3 else target.upsert(ids, codes, payloads)
        assert store.count() == exact.count()
        self.check(self.settle(store), exact, random_codes(24, 5))
