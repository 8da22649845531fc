"""Ids, payloads, names and filters that mean harm, or would if anything were pasted."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import OpenSearch

from csrkit.errors import ConfigError, StoreError
from csrkit.stores.testing import HostileStoreContract, random_codes
from csrkit_opensearch import OpenSearchStore

from .test_contract import Made


class TestHostile(Made, HostileStoreContract):
    n_hostile = 1000


@pytest.mark.parametrize(
    "name",
    ["", "*", "docs*", "a,b", "_all", "-x", "..", "Docs", "a/b", "a?x=1", "a b", "a" * 256, 7],
)
def test_names_that_mean_more_than_one_index(client: OpenSearch, name: Any) -> None:
    with pytest.raises(ConfigError, match="expected the name of one index"):
        OpenSearchStore(client, name)


def test_filters_are_queries(client: OpenSearch) -> None:
    store = OpenSearchStore(client, "docs", fields={"lang": {"type": "keyword"}})
    store.upsert([1, 2], random_codes(0, 2), [{"lang": "a"}, {"lang": '"}]b'}])
    keep = {"term": {"payload.lang": '"}]b'}}
    assert [h.id for h in store.search(random_codes(0, 1, k=64), filter=keep)[0]] == [2]
    for odd in ("payload.lang:b", 7, b"x", lambda load: True):
        wrong: Any = odd
        with pytest.raises(ConfigError, match=f"query of OpenSearch.*got {type(odd).__name__}"):
            store.search(random_codes(0, 1), filter=wrong)
    with pytest.raises(StoreError, match=r"cannot search: unknown query \[nope\]"):
        store.search(random_codes(0, 1), filter={"nope": {}})
