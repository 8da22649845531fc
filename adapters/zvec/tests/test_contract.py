"""The published contract on zvec: exact, and along a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zvec

from csrkit.stores.testing import CodecStoreContract, ResidualStoreContract
from csrkit.stores.testing._search import SearchLaws
from csrkit_zvec import ZvecStore

FIELDS = [zvec.FieldSchema("third", zvec.DataType.INT64, nullable=True)]


class Made:
    """How a store is made, with the one key that the contract filters by."""

    index: Any = None

    @pytest.fixture(autouse=True)
    def _stores(self, tmp_path: Path) -> Any:
        self.opened: list[ZvecStore] = []
        yield
        for store in self.opened:
            store.close()

    def make_store(self, tmp_path: Path) -> ZvecStore:
        self.opened.append(ZvecStore(tmp_path / "index", index=self.index, fields=FIELDS))
        return self.opened[-1]

    def equals(self, key: str, value: int) -> str:
        return f"{key} = {value}"

    def reopen(self, store: Any, tmp_path: Path) -> ZvecStore:
        store.close()
        return self.make_store(tmp_path)


class TestZvecStore(Made, ResidualStoreContract, CodecStoreContract):
    """Nothing relaxed."""


class TestFloat16(Made, SearchLaws):
    """The contract's values are exact in 16 bits, and so are its sums; but not what tilts them."""

    index = zvec.FlatIndexParam(
        metric_type=zvec.MetricType.IP, quantize_type=zvec.QuantizeType.FP16
    )
    tolerance = 5e-3

    def settle(self, store: Any) -> ZvecStore:
        store.optimize()
        return store  # type: ignore[no-any-return]  # a ZvecStore


class TestGraph(Made, SearchLaws):
    """HNSW on data so small that it misses nothing."""

    index = zvec.HnswIndexParam(metric_type=zvec.MetricType.IP)

    def settle(self, store: Any) -> ZvecStore:
        store.optimize()
        return store  # type: ignore[no-any-return]  # a ZvecStore
