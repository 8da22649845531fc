"""Ids, payloads and filters that mean harm, or would if anything were pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from zvec import DataType, FieldSchema

from csrkit.errors import ConfigError, StoreError
from csrkit.stores.testing import HostileStoreContract, random_codes
from csrkit_zvec import ZvecStore

from .test_contract import Made


class TestHostile(Made, HostileStoreContract):
    n_hostile = 1000


@pytest.mark.parametrize(
    "bad",
    [
        *("nonsense(", "lang == 'a'", "lang = 'a", "lang = 'a'; drop table x", "(" * 500),
        *("m = 1", "csrkit_payload = 1", "lang = 7", "\0", "\ud800"),
    ],
)
def test_filters_that_zvec_refuses(tmp_path: Path, bad: str) -> None:
    store = ZvecStore(tmp_path / "i", fields=[FieldSchema("lang", DataType.STRING, nullable=True)])
    store.upsert([1, 2], random_codes(0, 2), [{"lang": "a"}, {"lang": "b"}])
    with pytest.raises(StoreError, match="cannot search: "):
        store.search(random_codes(0, 1), filter=bad)
    found = store.search(random_codes(0, 1, k=64), filter="lang = 'b' or lang = 'c'")[0]
    assert [hit.id for hit in found] == [2]
    store.close()


def test_a_filter_of_another_vendor_is_refused(tmp_path: Path) -> None:
    store = ZvecStore(tmp_path / "i")
    for bad in ({"must": []}, 7, b"x", lambda load: True):
        keep: Any = bad
        with pytest.raises(ConfigError, match=f"condition of zvec.*got {type(bad).__name__}"):
            store.search(random_codes(0, 1), filter=keep)
    store.close()
