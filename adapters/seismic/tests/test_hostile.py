"""Ids and payloads that mean harm, through a folder as well."""

from __future__ import annotations

from typing import Any

from csrkit.stores.testing import HostileStoreContract
from csrkit_seismic import SeismicStore

from .test_contract import Made


class TestHostile(Made, HostileStoreContract):
    n_hostile = 1000

    def settle(self, store: Any) -> SeismicStore:
        store.close()
        return SeismicStore(store._folder)
