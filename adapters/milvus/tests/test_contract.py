"""The published contract on Milvus Lite: the rewrite in Python, or the C++ core of Milvus 2.5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit.errors import StoreError
from csrkit.stores import Store
from csrkit.stores.testing import CodecStoreContract, ResidualStoreContract, random_codes
from csrkit.vectors import SparseVectors
from csrkit_milvus import MilvusStore


class Made:
    """How a store is made, in a file of the test's own."""

    @pytest.fixture(autouse=True)
    def _stores(self, tmp_path: Path) -> Iterator[None]:
        self.opened: list[MilvusStore] = []
        yield
        for store in self.opened:
            store.close()

    def make_store(self, tmp_path: Path) -> MilvusStore:
        self.opened.append(MilvusStore(str(tmp_path / "index.db"), "docs"))
        return self.opened[-1]

    def equals(self, key: str, value: int) -> str:
        return f'payload["{key}"] == {value}'

    def reopen(self, store: Any, tmp_path: Path) -> MilvusStore:
        store.close()
        return self.make_store(tmp_path)


class TestMilvusStore(Made, ResidualStoreContract, CodecStoreContract):
    def test_negative_query_weights_lower_the_score(self, store: Store) -> None:
        """Relaxed: Milvus refuses negative weights, in either engine."""
        store.upsert([1], random_codes(0, 1))
        with pytest.raises(StoreError, match=r"cannot search: .*negative"):
            store.search(random_codes(0, 1, signed=True))

    def test_a_score_of_exactly_zero_is_no_hit(self, store: Store) -> None:
        """Relaxed: only negative weights bring such a score about."""
        store.upsert([1], SparseVectors.from_dense(np.ones((1, 2))))
        with pytest.raises(StoreError, match=r"cannot search: .*negative"):
            store.search(SparseVectors.from_dense([[1.0, -1.0]]))
