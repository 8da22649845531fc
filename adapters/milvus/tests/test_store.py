"""What the contract does not ask: drop_ratio, other people's collections, URLs, faults."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.stores import open_store
from csrkit.stores.testing import random_codes
from csrkit.vectors import SparseVectors
from csrkit_milvus import MilvusStore

IS_CORE = version("milvus-lite").startswith("2.")


def test_a_drop_ratio_leaves_out_the_smallest_weights_of_a_query(tmp_path: Path) -> None:
    query = SparseVectors.from_dense([[1.0, 0.5, 0.25, 0.125]])
    store = MilvusStore(str(tmp_path / "index.db"), "docs")
    store.upsert(range(4), SparseVectors.from_dense(np.eye(4)))
    assert [hit.score for hit in store.search(query)[0]] == [1.0, 0.5, 0.25, 0.125]
    store.close()
    store = MilvusStore(str(tmp_path / "index.db"), "docs", drop_ratio=0.5)
    if IS_CORE:
        assert [hit.score for hit in store.search(query)[0]] == [1.0, 0.5]
    else:
        with pytest.raises(StoreError, match=r"cannot search: .*only drop_ratio_search=0"):
            store.search(query)
    store.close()


@pytest.mark.parametrize("bad", [-0.1, 1, 1.5, float("nan"), None, "0.2"])
def test_a_drop_ratio_out_of_range_is_refused(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(ConfigError, match="expected drop_ratio from 0 to below 1, got"):
        MilvusStore(str(tmp_path / "index.db"), "docs", drop_ratio=bad)


def test_what_is_no_client_or_name_is_refused(tmp_path: Path) -> None:
    for client, name in ((7, "docs"), (None, "docs"), (str(tmp_path / "i.db"), 7)):
        wrong: Any = client, name
        with pytest.raises(ConfigError, match="MilvusClient or its address"):
            MilvusStore(*wrong)


def test_a_collection_of_somebody_else_is_refused_and_kept(tmp_path: Path) -> None:
    client = MilvusClient(str(tmp_path / "index.db"))
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("code", DataType.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("code", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    client.create_collection("mine", schema=schema, index_params=index)
    client.insert("mine", [{"id": 1, "code": {1: 1.0}}])
    with pytest.raises(StoreError, match="'mine' is none that this csrkit made"):
        MilvusStore(client, "mine")
    store = MilvusStore(client, "docs")  # beside it, on the same client
    store.upsert([1], random_codes(0, 1))
    store.close()  # which leaves a client of somebody else open
    assert client.get("mine", ids=[1])[0]["id"] == 1
    client.close()


def test_the_first_of_two_writers_fixes_width_and_codec(tmp_path: Path) -> None:
    client = MilvusClient(str(tmp_path / "index.db"))
    one, other = MilvusStore(client, "docs", codec="one"), MilvusStore(client, "docs", codec="two")
    one.upsert([1], random_codes(0, 1, dim=64))
    with pytest.raises(StoreError, match="of the codec one, got the codec two"):
        other.upsert([2], random_codes(0, 1, dim=64))
    third = MilvusStore(client, "docs")
    with pytest.raises(ShapeError, match=r"over 64 latents.*got 65"):
        third.upsert([2], random_codes(0, 1, dim=65))
    assert (one.count(), third.codec) == (1, "one")
    client.close()


def test_odd_names_are_refused_or_are_names(tmp_path: Path) -> None:
    """A server takes letters, digits and underscores; Milvus Lite is not as strict."""
    client = MilvusClient(str(tmp_path / "index.db"))
    for name in ("", "a b", "1st", "docs; drop", 'x"', "ü", "a/b", "../up", "x" * 300, "\0"):
        try:
            store = MilvusStore(client, name)
            store.upsert([1], random_codes(0, 1))
        except StoreError as error:
            assert "cannot " in str(error)  # noqa: PT017  # either is right
        else:
            assert name in client.list_collections()
            assert store.fetch([1]) == random_codes(0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.db"]
    client.close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = MilvusStore(str(tmp_path / "index.db"), "docs")
    store.upsert([1], random_codes(0, 1))
    store.close()
    calls: list[Any] = [
        lambda: store.count(),
        lambda: store.search(random_codes(0, 1)),
        lambda: store.fetch([1]),
        lambda: store.delete([1]),
        lambda: store.upsert([2], random_codes(0, 1)),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="collection 'docs': cannot "):
            call()


def test_a_url_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (f"milvus://{tmp_path}/index.db/docs", "milvus:index.db/docs"):
        with pytest.raises(StoreError, match=r"no file .*: check the path"):
            open_store(url)
    assert not (tmp_path / "index.db").exists()
    store: Any = open_store(f"milvus://{tmp_path}/index.db/docs", create=True)
    store.upsert([1], random_codes(0, 1))
    store.close()
    with pytest.raises(StoreError, match="no collection 'dcos': check the name"):
        open_store("milvus:index.db/dcos")
    again: Any = open_store("milvus:index.db/docs")
    assert again.fetch([1]) == random_codes(0, 1)
    again.close()


FILLED = """
import sys
from csrkit.stores.testing import random_codes
from csrkit_milvus import MilvusStore
store = MilvusStore(sys.argv[1], "docs", codec="mine")
store.upsert(range(40), random_codes(0, 40), [{"row": row} for row in range(40)])
store.close()
"""


HELD = """
import sys
from csrkit_milvus import MilvusStore
store = MilvusStore(sys.argv[1], "docs")
print("open", flush=True)
sys.stdin.read()
store.close()
"""


def test_a_file_that_another_process_has_open(tmp_path: Path) -> None:
    file = str(tmp_path / "index.db")
    other = subprocess.Popen(
        [sys.executable, "-c", HELD, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreError, match=r"cannot open .*db, which one process at a time can"):
            MilvusStore(file, "docs")
        other.communicate(b"")
    MilvusStore(file, "docs").close()


def test_a_limit_beyond_a_servers_is_cut_to_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MilvusClient(str(tmp_path / "index.db"))
    store, asked = MilvusStore(client, "docs"), []
    store.upsert(range(40), random_codes(0, 40))
    whole = client.search

    def search(*args: Any, limit: int, **settings: Any) -> Any:
        asked.append(limit)
        return whole(*args, limit=limit, **settings)

    monkeypatch.setattr(client, "search", search)
    found = [store.search(random_codes(1, 1), limit=limit) for limit in (16_384, 16_385, 10**9)]
    assert found[0] == found[1] == found[2]
    assert asked == [16_384, 40, 40]
    client.close()


def test_another_process_finds_what_one_stored(tmp_path: Path) -> None:
    """Milvus Lite opens a file with no collection loaded, unlike those it makes."""
    file, codes = str(tmp_path / "index.db"), random_codes(0, 40)
    subprocess.run([sys.executable, "-c", FILLED, file], check=True)
    store = MilvusStore(file, "docs", create=False)
    assert (store.count(), store.codec) == (40, "mine")
    assert store.fetch(range(40)) == codes
    assert store.search(codes[7], limit=1)[0][0].payload == {"row": 7}
    store.upsert([7], codes[8])  # keeps the payload, so reads it
    assert {hit.id: hit.payload for hit in store.search(codes[8], limit=2)[0]}[7] == {"row": 7}
    store.close()


SECRET = "hunter2!"


@pytest.mark.parametrize(
    "url",
    [
        *(f"milvus://me:{SECRET}@host/docs", f"milvus://host/docs?token={SECRET}"),
        *("milvus://host", "milvus://host/", "milvus://host/a/b", "milvus://host:99999/docs"),
        *(
            "milvus:docs",
            "milvus:index.db",
            "milvus:index.txt/docs",
            "milvus:index.db/",
            "milvus://[::1/docs",
        ),
    ],
)
def test_urls_that_lead_nowhere_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="expected milvus://host:19530/collection") as caught:
        open_store(url, create=True)
    assert SECRET not in str(caught.value)


def test_a_key_does_not_travel_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", SECRET)
    with pytest.raises(ConfigError, match=r"would travel to db\.example unencrypted") as caught:
        open_store("milvus://db.example/docs")
    assert SECRET not in str(caught.value)
