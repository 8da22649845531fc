"""What the contract does not ask: requests, precision, limits, other people's indices, faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from opensearchpy import OpenSearch

from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.stores import MemoryStore, open_store
from csrkit.stores.testing import random_codes
from csrkit.vectors import SparseVectors
from csrkit_opensearch import OpenSearchStore

from .stand_in import Index, Server


def drawn(seed: int, n: int, k: int = 16) -> SparseVectors:
    """Codes of unit length, whose values have all their bits."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((n, 128), np.float32)
    for row in dense:
        row[rng.choice(128, k, replace=False)] = rng.random(k) + 0.1
    return SparseVectors.from_dense(dense).normalized()


# -- scores -----------------------------------------------------------------------------------


def test_scores_are_within_two_thousandths_and_codes_exact(client: OpenSearch) -> None:
    docs, queries, exact = drawn(1, 400), drawn(2, 20), MemoryStore()
    store = OpenSearchStore(client, "docs")
    for one in (store, exact):
        one.upsert(range(400), docs)
    assert store.fetch(range(400)) == docs
    found, truth = store.search(queries, limit=400), exact.search(queries, limit=400)
    off = []
    for hits, right in zip(found, truth, strict=True):
        scores = {hit.id: hit.score for hit in right}
        assert scores.keys() == {hit.id for hit in hits}
        off += [abs(hit.score / scores[hit.id] - 1) for hit in hits]
    assert 1e-5 < max(off) <= 2**-9


def test_values_that_lucene_has_no_room_for(client: OpenSearch) -> None:
    largest, least = float(np.finfo(np.float32).max), 1e-40
    codes = SparseVectors.from_dense([[largest, 0, least], [0, 1, 0]])
    store = OpenSearchStore(client, "docs")
    store.upsert(["odd", "even"], codes)
    assert store.fetch(["odd", "even"]) == codes
    assert [hit.id for hit in store.search(SparseVectors.from_dense([[0, 1, 1]]))[0]] == ["even"]
    with pytest.raises(StoreError, match=r"without negative values.*got -0.5 for id 'b'"):
        store.upsert(["a", "b"], SparseVectors.from_dense([[1, 0, 0], [1, -0.5, 0]]))
    assert store.count() == 2


# -- requests ---------------------------------------------------------------------------------


def test_requests_are_what_the_module_says(client: OpenSearch, server: Server) -> None:
    store = OpenSearchStore(client, "docs", fields={"lang": {"type": "keyword"}}, codec="mine")
    loads = [{"lang": "en", "n": 1}, None]
    store.upsert(["a\nb", 7], drawn(0, 2, k=2), loads, residuals=np.full((2, 2), 9, np.uint8))
    store.search(drawn(0, 2, k=2))
    store.delete(["a\nb", "never there"])
    assert [(verb, path) for verb, path, _ in server.seen] == [
        ("GET", "/docs/_mapping"),
        ("GET", "/docs/_mapping"),
        ("PUT", "/docs"),
        ("GET", "/docs/_mapping"),
        ("POST", "/docs/_bulk?refresh=true"),
        ("POST", "/docs/_msearch"),
        ("POST", "/docs/_bulk?refresh=true"),
    ]
    index = server.indices["docs"]
    held = {"dim": 128, "residual_bytes": 2, "codec": "mine"}
    note = {"store": "OpenSearchStore", "format": 1, **held}
    assert index.mappings == {
        "dynamic": False,
        "_meta": {"csrkit": note},
        "properties": {
            "code": {"type": "rank_features"},
            "payload": {"dynamic": False, "properties": {"lang": {"type": "keyword"}}},
        },
    }
    (document,) = index.documents.values()
    assert document.keys() == {"code", "csrkit", "exact", "payload", "residual"}
    assert (document["csrkit"], document["payload"]) == ("[7,null]", {})
    assert document["residual"] == "CQk="


def test_many_codes_and_queries_go_in_batches(client: OpenSearch, server: Server) -> None:
    store, codes = OpenSearchStore(client, "docs"), random_codes(0, 1201)
    store.upsert(range(1201), codes, [{"row": row} for row in range(1201)])
    before = len(server.seen)
    store.upsert(range(1201), codes)  # keeps the payloads, so reads them
    paths = [path.split("?")[0][6:] for _, path, _ in server.seen[before:]]
    assert paths == ["_mapping", *["_mget", "_bulk"] * 3]
    assert store.fetch(range(1201)) == codes
    store.delete(range(2, 1201))
    assert store.count() == 2
    before, found = len(server.seen), store.search(codes[:501], limit=2)
    assert [path for _, path, _ in server.seen[before:]] == ["/docs/_msearch"] * 2
    assert found[1][0].id == 1
    assert found[1][0].payload == {"row": 1}
    assert found[500] == store.search(codes[500], limit=2)[0]


# -- limits and refusals ----------------------------------------------------------------------


def test_queries_of_too_many_latents_are_the_servers_to_refuse(client: OpenSearch) -> None:
    wide = SparseVectors.from_dense(np.ones((1, 1025), np.float32))
    store = OpenSearchStore(client, "docs")
    store.upsert([1], wide)
    assert store.search(wide.top(1024))[0][0].score == 1024
    with pytest.raises(StoreError, match=r"index 'docs': cannot search: maxClauseCount is set to"):
        store.search(wide)


def test_a_limit_beyond_the_window_is_that_of_the_store(client: OpenSearch) -> None:
    store = OpenSearchStore(client, "docs")
    store.upsert([1, 2], random_codes(0, 2))
    assert len(store.search(random_codes(0, 1, k=64), limit=10**9)[0]) == 2


def test_a_document_that_is_refused_is_named(client: OpenSearch) -> None:
    store = OpenSearchStore(client, "docs", fields={"n": {"type": "long"}})
    with pytest.raises(StoreError, match=r"upsert \[1, 'x'\].*id 'x': failed to parse.*payload.n"):
        store.upsert([1, "x"], random_codes(0, 2), [{"n": 1}, {"n": "one"}])
    assert store.count() == 1


def test_arguments_that_are_none(client: OpenSearch) -> None:
    address: Any = "http://localhost:9200"
    with pytest.raises(ConfigError, match=r"expected a client.*got str"):
        OpenSearchStore(address, "docs")
    with pytest.raises(ConfigError, match=r"without dots and spaces, got \['a.b'\]"):
        OpenSearchStore(client, "docs", fields={"a.b": {"type": "keyword"}})
    with pytest.raises(StoreError, match="no index 'docs': check the name"):
        OpenSearchStore(client, "docs", create=False)
    with pytest.raises(StoreError, match=r"cannot make it: .*No handler for type \[nope\]"):
        OpenSearchStore(client, "docs", fields={"x": {"type": "nope"}}).upsert(
            [1], random_codes(0, 1)
        )


# -- other people's indices -------------------------------------------------------------------


def test_an_index_of_somebody_else_stays_theirs(client: OpenSearch, server: Server) -> None:
    for meta in ({}, {"_meta": {"csrkit": {"store": "OpenSearchStore", "format": 2, "dim": 4}}}):
        server.indices["logs"] = Index({"properties": {}, **meta})
        with pytest.raises(StoreError, match="'logs' is none that this csrkit made"):
            OpenSearchStore(client, "logs")


def test_fields_stay_as_the_index_was_made(client: OpenSearch) -> None:
    fields = {"lang": {"type": "keyword"}}
    OpenSearchStore(client, "docs", fields=fields).upsert([1], random_codes(0, 1), [{"lang": "a"}])
    again = OpenSearchStore(client, "docs")  # knows them from the index
    again.upsert([2], random_codes(0, 1), [{"lang": "b"}])
    keep = {"term": {"payload.lang": "b"}}
    assert [hit.id for hit in again.search(random_codes(0, 1), filter=keep)[0]] == [2]
    for name in ("n", "lang"):
        with pytest.raises(
            StoreError, match=rf"{{'lang': 'keyword'}}, got {{'{name}': 'long'}}: f"
        ):
            OpenSearchStore(client, "docs", fields={name: {"type": "long"}})


def test_two_writers_that_make_it_at_once(client: OpenSearch) -> None:
    one, other = OpenSearchStore(client, "docs"), OpenSearchStore(client, "docs")
    one.upsert([1], random_codes(0, 1))
    with pytest.raises(ShapeError, match=r"over 64 latents.*got 65"):
        other.upsert([2], random_codes(0, 1, dim=65))
    other._index.make(one._known)  # type: ignore[arg-type]  # as if it had not looked
    other.upsert([2], random_codes(0, 1))
    assert one.count() == 2


# -- addresses and faults ---------------------------------------------------------------------


def test_a_url_says_where(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    port = server.server_port
    with pytest.raises(StoreError, match="no index 'docs': check the name"):
        open_store(f"opensearch://127.0.0.1:{port}/docs")
    monkeypatch.setenv("OPENSEARCH_USERNAME", "me")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "hunter2!")
    store = open_store(f"opensearch://127.0.0.1:{port}/docs", create=True)
    store.upsert([1], random_codes(0, 1))
    assert server.seen[-1][2] == "Basic bWU6aHVudGVyMiE="
    with pytest.raises(ConfigError, match=r"would travel to example\.com unencrypted") as caught:
        open_store("opensearch://example.com/docs")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "rest", ["", "//", "//host", "///docs", "//me:hunter2!@host/docs", "//host/docs?x=1", "//h:x/i"]
)
def test_urls_with_more_or_less_are_refused(rest: str) -> None:
    with pytest.raises(ConfigError, match="expected opensearch://host:9200/index") as caught:
        open_store(f"opensearch:{rest}")
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_gone(server: Server, client: OpenSearch) -> None:
    store = OpenSearchStore(client, "docs")
    store.upsert([1], random_codes(0, 1))
    away = OpenSearch("http://127.0.0.1:9", max_retries=0)  # discard: nobody listens
    with pytest.raises(StoreError, match=r"index 'docs': cannot read its mapping: .*refused"):
        OpenSearchStore(away, "docs")
    del server.indices["docs"]
    calls: list[Any] = [
        lambda: store.count(),
        lambda: store.search(random_codes(0, 1)),
        lambda: store.fetch([1]),
        lambda: store.delete([1]),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"index 'docs': cannot .*no such index \[docs\]"):
            call()
    store.upsert([2], random_codes(0, 1))  # makes it anew, and not as a bulk alone would
    assert (store.count(), server.indices["docs"].mappings["dynamic"]) == (1, False)
