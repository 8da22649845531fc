"""Ids, payloads and filters that mean harm, or would if anything were pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csrkit.errors import ConfigError, StoreError
from csrkit.stores.testing import HostileStoreContract, random_codes
from csrkit_milvus import MilvusStore

from .test_contract import Made


class TestHostile(Made, HostileStoreContract):
    n_hostile = 1000


def test_filters_that_milvus_refuses(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "index.db"), "docs")
    store.upsert([1, 2], random_codes(0, 2), [{"lang": "a"}, {"lang": "b"}])
    for bad in ("nonsense(", "payload[", 'payload["lang"] == "b" drop', "nope == 1", "(" * 50):
        with pytest.raises(StoreError, match="cannot search: "):
            store.search(random_codes(0, 1), filter=bad)
    keep = 'payload["lang"] == "b" or payload["lang"] == "c"'
    assert [h.id for h in store.search(random_codes(0, 1, k=64), filter=keep)[0]] == [2]
    for odd in ({"must": []}, 7, b"x", lambda load: True):
        wrong: Any = odd
        with pytest.raises(ConfigError, match=f"expression of Milvus.*got {type(odd).__name__}"):
            store.search(random_codes(0, 1), filter=wrong)
    store.close()
