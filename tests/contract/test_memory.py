from __future__ import annotations

from pathlib import Path
from typing import Any

from csrkit.stores import MemoryStore
from csrkit.stores.testing import CodecStoreContract, ResidualStoreContract


class TestMemoryStore(ResidualStoreContract, CodecStoreContract):
    # It is its own reference here: what compares hits with it proves nothing, and
    # tests/stores/test_memory.py compares it with dense products. The rest does.
    def make_store(self, tmp_path: Path) -> MemoryStore:
        return MemoryStore()

    def equals(self, key: str, value: int) -> Any:
        return lambda payload: payload.get(key) == value

    def reopen(self, store: Any, tmp_path: Path) -> MemoryStore:
        store.save(tmp_path / "saved")
        return MemoryStore.load(tmp_path / "saved")
