"""The published contract: without an index, and along one that skips nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from csrkit.stores.testing import CodecStoreContract, ResidualStoreContract
from csrkit.stores.testing._content import ContentLaws
from csrkit.stores.testing._search import SearchLaws
from csrkit_seismic import Knobs, SeismicStore


class Made:
    def make_store(self, tmp_path: Path) -> SeismicStore:
        return SeismicStore(tmp_path / "index", effort=Knobs(10**6, 0.0))

    def equals(self, key: str, value: int) -> Any:
        return lambda load: load.get(key) == value


class TestSeismicStore(Made, ResidualStoreContract, CodecStoreContract):
    """Nothing relaxed."""

    def reopen(self, store: Any, tmp_path: Path) -> SeismicStore:
        store.close()
        return self.make_store(tmp_path)


class TestIndex(Made, SearchLaws, ContentLaws):
    """Along the index, saved and read again; its knobs leave nothing out."""

    def settle(self, store: Any) -> SeismicStore:
        store.build()
        store.save()
        return SeismicStore(store._folder, effort=Knobs(10**6, 0.0))
