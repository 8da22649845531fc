"""The published contract, on a stand-in of the server that scores as Lucene does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opensearchpy import OpenSearch

from csrkit.errors import StoreError
from csrkit.stores import Store
from csrkit.stores.testing import CodecStoreContract, ResidualStoreContract, random_codes
from csrkit.vectors import SparseVectors
from csrkit_opensearch import OpenSearchStore


class Made:
    """How a store is made, with the one key that the contract filters by."""

    @pytest.fixture(autouse=True)
    def _client(self, client: OpenSearch) -> None:
        self.client = client

    def make_store(self, tmp_path: Path) -> OpenSearchStore:
        return OpenSearchStore(self.client, "docs", fields={"third": {"type": "long"}})

    def equals(self, key: str, value: int) -> dict[str, Any]:
        return {"term": {f"payload.{key}": value}}

    def reopen(self, store: Any, tmp_path: Path) -> OpenSearchStore:
        return self.make_store(tmp_path)


class TestOpenSearchStore(Made, ResidualStoreContract, CodecStoreContract):
    """The contract's values have 3 significant bits, so Lucene's 9 change none of them."""

    def test_negative_query_weights_lower_the_score(self, store: Store) -> None:
        """Relaxed: OpenSearch refuses negative boosts."""
        store.upsert([1], random_codes(0, 1))
        with pytest.raises(StoreError, match=r"cannot search: .*negative"):
            store.search(random_codes(0, 1, signed=True))

    def test_a_score_of_exactly_zero_is_no_hit(self, store: Store) -> None:
        """Relaxed: only negative weights bring such a score about."""
        store.upsert([1], SparseVectors.from_dense(np.ones((1, 2))))
        with pytest.raises(StoreError, match=r"cannot search: .*negative"):
            store.search(SparseVectors.from_dense([[1.0, -1.0]]))
