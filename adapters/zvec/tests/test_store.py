"""What the contract does not ask: graphs, limits, declared fields, folders, faults."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import zvec
from zvec import DataType, FieldSchema, FlatIndexParam, HnswIndexParam, HnswQueryParam, MetricType

from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.stores import MemoryStore, open_store
from csrkit.stores.testing import assert_same_hits, random_codes
from csrkit.vectors import SparseVectors
from csrkit_zvec import ZvecStore
from csrkit_zvec.keys import key_of


def long_code(nnz: int) -> SparseVectors:
    return SparseVectors(np.array([0, nnz]), np.arange(nnz), np.ones(nnz), 20_000)  # type: ignore[arg-type]  # the constructor converts


# -- the graph --------------------------------------------------------------------------------


def clustered(seed: int, n: int) -> SparseVectors:
    """Codes of 16 latents out of the 60 of one of 20 topics."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).choice(1024, (20, 60))
    dense = np.zeros((n, 1024), np.float32)
    for row, topic in enumerate(rng.integers(20, size=n)):
        dense[row, rng.choice(topics[topic], 16)] = rng.random(16)
    return SparseVectors.from_dense(dense).normalized()


def test_ef_has_no_effect_on_a_sparse_graph(tmp_path: Path) -> None:
    """What the README says of zvec 0.8.0; should it fail, give the store a setting ``ef``."""
    docs, queries, exact = clustered(1, 3000), clustered(2, 60), MemoryStore()
    coarse = HnswIndexParam(metric_type=MetricType.IP, m=4, ef_construction=8)
    store = ZvecStore(tmp_path / "i", index=coarse)
    for one in (store, exact):
        one.upsert(range(3000), docs)
    store.optimize()
    truth = [{hit.id for hit in hits} for hits in exact.search(queries)]

    def found(param: HnswQueryParam) -> list[list[str]]:
        weights = [dict(zip(q.indices.tolist(), q.values.tolist(), strict=True)) for q in queries]
        asked = [zvec.Query("code", vector=one, param=param) for one in weights]
        return [[doc.id for doc in store.collection.query(one, topk=10)] for one in asked]

    assert found(HnswQueryParam(ef=1)) == found(HnswQueryParam(ef=2000))
    assert found(HnswQueryParam(ef=1)) != found(HnswQueryParam(is_linear=True))  # it is a graph
    walked = [{hit.id for hit in hits} for hits in store.search(queries)]
    recall = np.mean([len(got & want) / 10 for got, want in zip(walked, truth, strict=True)])
    assert 0.2 < recall < 1
    signed = random_codes(3, 10, dim=1024, k=40, signed=True)
    everything = exact.search(signed, limit=3000)
    assert min(hit.score for hits in everything for hit in hits) < 0
    assert_same_hits(store.search(signed, limit=3000), everything, 3000, 1e-5)  # exact all the same
    store.close()


def test_an_index_that_sparse_vectors_cannot_have_is_refused(tmp_path: Path) -> None:
    wrong: Any = zvec.IVFIndexParam(metric_type=MetricType.IP)
    with pytest.raises(ConfigError, match="which sparse vectors can have, got IVFIndexParam"):
        ZvecStore(tmp_path / "i", index=wrong)
    with pytest.raises(ConfigError, match="only support IP metric"):
        ZvecStore(tmp_path / "i", index=FlatIndexParam(metric_type=MetricType.L2))
    ZvecStore(tmp_path / "i").close()  # nothing is in the way


# -- limits -----------------------------------------------------------------------------------


def test_more_than_16384_latents_are_refused_unsent(tmp_path: Path) -> None:
    store = ZvecStore(tmp_path / "i")
    with pytest.raises(StoreError, match=r"at most 16384 non-zeros.*got 16385 for id 'b'"):
        store.upsert(["a", "b"], SparseVectors.concat([long_code(2), long_code(16_385)]))
    assert (store.count(), store.dim) == (0, None)
    store.upsert([1], long_code(16_384))
    assert store.fetch([1]) == long_code(16_384)
    assert store.search(long_code(16_384))[0][0].score == 16_384
    with pytest.raises(StoreError, match=r"cannot search: .*too many sparse indices"):
        store.search(long_code(16_385))
    store.close()


def test_a_limit_beyond_zvecs_own_is_that_of_the_store(tmp_path: Path) -> None:
    store = ZvecStore(tmp_path / "i")
    assert store.search(random_codes(0, 1), limit=10**9) == [[]]
    store.upsert(range(5), random_codes(0, 5))
    assert len(store.search(random_codes(0, 1, k=64), limit=10**9)[0]) == 5
    store.close()


# -- declared fields --------------------------------------------------------------------------

TYPES = {
    DataType.INT32: ([0, -(2**31)], [2**31, 1.0, True, "1"]),
    DataType.INT64: ([2**63 - 1], [2**63, 0.5, False]),
    DataType.UINT32: ([2**32 - 1], [-1, 2**32]),
    DataType.UINT64: ([2**64 - 1], [-1]),
    DataType.FLOAT: ([0.5, 3], [1e39, True, "x"]),
    DataType.DOUBLE: ([1e300, 3], ["x", [1.0]]),
    DataType.STRING: (["", "ü'\"\0"], [1, ["x"]]),
    DataType.BOOL: ([True, False], [1, "true"]),
    DataType.ARRAY_STRING: ([["a"], []], ["a", ["a", None], [1]]),
    DataType.ARRAY_INT64: ([[1, 2]], [[1.5], 1, [True]]),
}


def test_fields_hold_values_unchanged_or_refuse_them(tmp_path: Path) -> None:
    fields = [FieldSchema(kind.name.lower(), kind, nullable=True) for kind in TYPES]
    store, code = ZvecStore(tmp_path / "i", fields=fields), random_codes(0, 1)
    for kind, (good, bad) in TYPES.items():
        name = kind.name.lower()
        for value in [*good, None]:
            store.upsert([1], code, [{name: value}])
            (doc,) = store.collection.fetch(["1"]).values()
            assert doc.fields.get(name) == value
            assert store.search(code)[0][0].payload == {name: value}
        for value in bad:
            with pytest.raises(StoreError, match=f"of id 2 has {name}=.*of type {kind.name}"):
                store.upsert([1, 2], random_codes(0, 2), [{}, {name: value}])
    assert store.count() == 1
    store.close()


def test_a_field_that_is_required_is_required(tmp_path: Path) -> None:
    store = ZvecStore(tmp_path / "i", fields=[FieldSchema("n", DataType.INT64)])
    with pytest.raises(StoreError, match=r"cannot upsert \[1\].*n\] is required"):
        store.upsert([1], random_codes(0, 1), [{}])
    assert store.count() == 0
    store.close()


@pytest.mark.parametrize("name", ["csrkit", "csrkit_residual", "code"])
def test_names_of_fields_that_csrkit_keeps(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="which csrkit keeps"):
        ZvecStore(tmp_path / "i", fields=[FieldSchema(name, DataType.STRING)])
    with pytest.raises(ConfigError, match="got 'lang'"):
        ZvecStore(tmp_path / "i", fields=["lang"])  # type: ignore[list-item]  # refused
    with pytest.raises(ConfigError, match=r"zvec refuses the settings.*unsupported character"):
        ZvecStore(tmp_path / "i", fields=[FieldSchema("a; drop", DataType.STRING)])
    ZvecStore(tmp_path / "i").close()  # nothing is in the way


# -- folders ----------------------------------------------------------------------------------


def test_settings_of_a_folder_stay(tmp_path: Path) -> None:
    fields = [FieldSchema("n", DataType.INT64, nullable=True)]
    ZvecStore(tmp_path / "i", fields=fields).close()
    with pytest.raises(StoreError, match=r"was made with the index.*leave it out"):
        ZvecStore(tmp_path / "i", index=HnswIndexParam(metric_type=MetricType.IP))
    for name, kind in (("m", DataType.INT64), ("n", DataType.STRING)):
        with pytest.raises(StoreError, match=rf"the fields {{'n': 'INT64'}}, got {{'{name}': '"):
            ZvecStore(tmp_path / "i", fields=[FieldSchema(name, kind, nullable=True)])
    store = ZvecStore(tmp_path / "i")  # and all were released
    store.upsert([1, 2], random_codes(0, 2), [{"n": 1}, {"n": 2}])
    assert [hit.id for hit in store.search(random_codes(0, 2, k=64), filter="n = 2")[0]] == [2]
    store.close()


def test_a_folder_is_open_once_and_others_stay_theirs(tmp_path: Path) -> None:
    store = ZvecStore(tmp_path / "i")
    with pytest.raises(StoreError, match=r"cannot open the store.*lock"):
        ZvecStore(tmp_path / "i")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="cannot count: the store is closed"):
        store.count()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="is not empty and no store of csrkit"):
        ZvecStore(tmp_path / "mine")
    for text in ("", "[]", '{"csrkit": "EdgeStore"}', '{"csrkit": "ZvecStore", "format": 1}'):
        (tmp_path / "mine" / "csrkit.json").write_text(text)
        with pytest.raises(StoreError, match="holds no store that this csrkit reads"):
            ZvecStore(tmp_path / "mine")


def test_a_url_says_where(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*check the path"):
        open_store(f"zvec://{tmp_path}/none")
    assert not (tmp_path / "none").exists()
    store: Any = open_store(f"zvec://{tmp_path}/a b%20ü", create=True)
    store.upsert([1], random_codes(0, 1))
    store.close()
    again: Any = open_store(f"zvec://{tmp_path}/a b%20ü")
    assert again.fetch([1]) == random_codes(0, 1)
    again.close()
    for bad in ("zvec:", "zvec:x", "zvec://"):
        with pytest.raises(ConfigError, match="expected 'zvec://' and a folder"):
            open_store(bad, create=True)


def test_a_refused_upsert_fixes_nothing(tmp_path: Path) -> None:
    store = ZvecStore(tmp_path / "i")
    with pytest.raises(StoreError, match="payload of id 1"):
        store.upsert([1], random_codes(0, 1), [{"x": float("nan")}])
    store.upsert([1], random_codes(0, 1, dim=65))
    with pytest.raises(ShapeError, match=r"over 65 latents.*got 64"):
        store.upsert([1], random_codes(0, 1))
    store.close()


KILLED = """
import os, signal, sys
from csrkit.stores.testing import random_codes
from csrkit_zvec import ZvecStore
store = ZvecStore(sys.argv[1], codec="mine")
store.upsert(range(1500), random_codes(0, 1500), [{"row": row} for row in range(1500)])
store.delete([7])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_stored_survives_a_kill(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "i")], check=False)
    assert done.returncode == -9
    store, rows = ZvecStore(tmp_path / "i"), [row for row in range(1500) if row != 7]
    assert (store.count(), store.codec) == (1499, "mine")
    assert store.fetch(rows) == random_codes(0, 1500)[rows]
    store.close()


HALF_MADE = """
import os, pathlib, signal, sys
import zvec
from csrkit_zvec import ZvecStore, note
owner, name = {"made": (zvec, "create_and_open"), "noted": (note.Note, "write"),
               "moved": (pathlib.Path, "rename")}[sys.argv[2]]
whole = getattr(owner, name)
def last(*args):
    whole(*args)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, last)
ZvecStore(sys.argv[1])
"""


@pytest.mark.parametrize("step", ["made", "noted", "moved"])
def test_a_store_that_was_never_finished_is_made_again(tmp_path: Path, step: str) -> None:
    done = subprocess.run([sys.executable, "-c", HALF_MADE, tmp_path / "i", step], check=False)
    assert done.returncode == -9
    if step != "moved":
        with pytest.raises(StoreError, match=r"no store at .*check the path"):
            ZvecStore(tmp_path / "i", create=False)
    for _ in range(2):
        store = ZvecStore(tmp_path / "i")
        store.upsert([1], random_codes(0, 1))
        assert store.fetch([1]) == random_codes(0, 1)
        store.close()
    assert {path.name for path in (tmp_path / "i").iterdir()} == {"csrkit.json", "zvec"}


def test_a_manifest_that_a_full_disk_has_emptied_is_an_error(tmp_path: Path) -> None:
    """zvec 0.8.0 dies of it."""
    store = ZvecStore(tmp_path / "i")
    store.upsert([1], random_codes(0, 1))
    store.close()
    for manifest in (tmp_path / "i" / "zvec").glob("manifest.*"):
        manifest.write_bytes(b"")
    with pytest.raises(StoreError, match=r"the manifest in .* is empty, as zvec leaves it on"):
        ZvecStore(tmp_path / "i")


# -- what zvec answers ------------------------------------------------------------------------


def test_a_status_that_is_not_ok_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zvec returns most failures; its own update of what is not there makes a real one."""
    store = ZvecStore(tmp_path / "i")
    store.upsert([1], random_codes(0, 1))
    monkeypatch.setattr(store.collection, "upsert", store.collection.update)
    with pytest.raises(StoreError, match=r"cannot upsert \[1, 'x'\].*id 'x': Document not found"):
        store.upsert([1, "x"], random_codes(0, 2), [{}, {}])
    monkeypatch.undo()
    monkeypatch.setattr(store.collection, "delete", lambda keys: store.collection.insert([]))
    store.delete(["x"])
    store.close()


def test_keys_are_short_and_each_of_one_id(tmp_path: Path) -> None:
    long, short = "x" * 24, "x" * 23
    hashed = "#" + b64encode(bytes.fromhex(sha256(long.encode()).hexdigest()[:32])).decode()[:-2]
    assert [key_of(one) for one in (7, "7", "'7", long)] == ["7", "'7", "''7", hashed]
    odd = ["", short, long, hashed, "ü", "a b", "a\tb", "'" + short, str(UUID(int=7))]
    ids = [7, "7", "'7", 2**64 - 1, *odd]
    assert max(len(key_of(one)) for one in ids) == 24
    store, codes = ZvecStore(tmp_path / "i"), random_codes(0, len(ids))
    store.upsert(ids, codes)
    assert len(store.collection.fetch(list(map(key_of, ids)))) == store.count() == len(ids)
    assert store.fetch(ids) == codes
    assert {hit.id for hit in store.search(random_codes(0, 1, k=64), limit=20)[0]} == set(ids)
    store.close()


def test_rows_of_the_collection_are_what_the_module_says(tmp_path: Path) -> None:
    store, codes = ZvecStore(tmp_path / "i"), random_codes(0, 1)
    store.upsert(["a\nb"], codes, [{"x": [1]}], residuals=np.array([[255, 0]], np.uint8))
    (doc,) = store.collection.fetch([key_of("a\nb")]).values()
    assert json.loads(doc.fields["csrkit"]) == ["a\nb", {"x": [1]}]
    assert doc.fields["csrkit_residual"] == "/wA="
    assert SparseVectors.from_dense([[doc.vectors["code"].get(i, 0) for i in range(64)]]) == codes
    store.close()
