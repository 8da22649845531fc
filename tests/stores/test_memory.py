from __future__ import annotations

import copy
import json
import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from csrkit.errors import ConfigError, FormatError, StoreError
from csrkit.stores import MemoryStore
from csrkit.stores.memory import open_url
from csrkit.stores.testing import random_codes, random_residuals
from csrkit.vectors import SparseVectors


@pytest.mark.parametrize("signed", [False, True])
def test_scores_are_dense_inner_products(signed: bool) -> None:
    codes, queries = random_codes(0, 60, signed=signed), random_codes(1, 9, k=11, signed=signed)
    store = MemoryStore()
    for start in range(0, 60, 7):  # grown in parts
        store.upsert(range(start, min(start + 7, 60)), codes[start : start + 7])
    dense = queries.to_dense().astype(np.float64) @ codes.to_dense().astype(np.float64).T
    for scores, hits in zip(dense, store.search(queries, limit=100), strict=True):
        order = sorted(np.flatnonzero(scores), key=lambda row: (-scores[row], row))
        assert [(hit.id, hit.score) for hit in hits] == [(row, scores[row]) for row in order]


def test_equal_scores_come_in_the_order_of_first_upsert() -> None:
    code = random_codes(0, 1)
    store = MemoryStore()
    store.upsert(["c", "a", "b"], code[[0, 0, 0]])
    store.upsert(["a"], code)
    store.delete(["c"])
    store.upsert(["c"], code)
    assert [hit.id for hit in store.search(code)[0]] == ["a", "b", "c"]


def test_a_score_of_zero_is_no_hit() -> None:
    store = MemoryStore()
    store.upsert([1, 2], SparseVectors.from_dense([[0.5, 0.5], [0.5, 0.25]]))
    assert [hit.id for hit in store.search(SparseVectors.from_dense([[1, -1]]))[0]] == [2]


def test_a_hit_cannot_change_what_is_stored() -> None:
    code = random_codes(0, 1)
    store = MemoryStore()
    store.upsert([1], code, [{"of": [1]}])
    store.search(code)[0][0].payload["of"].append(2)  # type: ignore[index]
    assert store.search(code)[0][0].payload == {"of": [1]}


def test_a_filter_must_be_callable() -> None:
    with pytest.raises(ConfigError, match=r"callable from a payload to bool, got \{'a': 1\}"):
        MemoryStore().search(random_codes(0, 1), filter={"a": 1})  # type: ignore[arg-type]


def test_what_is_saved_is_loaded_in_the_same_order(tmp_path: Path) -> None:
    codes = random_codes(0, 4)[[0, 0, 0, 1]]
    store = MemoryStore()
    store.upsert(["b", 2**64 - 1, "a", 0], codes, [{"x": 0.1}, None, {"ü": [None]}, None])
    store.save(tmp_path / "saved")
    store.save(tmp_path / "saved")  # replaces
    loaded = MemoryStore.load(tmp_path / "saved")
    assert loaded.search(codes) == store.search(codes)
    assert sorted(file.name for file in (tmp_path / "saved").iterdir()) == [
        "codes.safetensors",
        "residuals.npy",
        "store.json",
    ]


def test_an_empty_store_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing was stored yet"):
        MemoryStore().save(tmp_path / "saved")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no MemoryStore at"),
        ("[]", "not written by MemoryStore"),
        ('{"csrkit": "EdgeStore"}', "not written by MemoryStore"),
        ('{"csrkit": "MemoryStore", "format": 2, "rows": []}', "format 1, got 2"),
        ('{"csrkit": "MemoryStore", "format": 1, "rows": [[1, null]]}', "1 ids and 2 codes"),
        (
            '{"csrkit": "MemoryStore", "format": 1, "rows": [[1, null], [1, null]]}',
            "more than once",
        ),
        ('{"csrkit": "MemoryStore", "format": 1, "rows": [[1], [2]]}', "whole MemoryStore"),
        ('{"csrkit": "MemoryStore", "format": 1, "rows": [[1, 5], [2, 5]]}', "whole MemoryStore"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path, text: str, message: str) -> None:
    store = MemoryStore()
    store.upsert([1, 2], random_codes(0, 2))
    store.save(tmp_path)
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        MemoryStore.load(tmp_path)


def test_missing_codes_are_refused(tmp_path: Path) -> None:
    rows = {"csrkit": "MemoryStore", "format": 1, "rows": []}
    (tmp_path / "store.json").write_text(json.dumps(rows))
    with pytest.raises(FormatError, match="no file of SparseVectors"):
        MemoryStore.load(tmp_path)
    with pytest.raises(FormatError, match="no MemoryStore at"):
        MemoryStore.load(tmp_path / "nowhere")


def test_residuals_that_do_not_fit_the_codes_are_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    store.upsert([1, 2], random_codes(0, 2), residuals=random_residuals(0, 2))
    store.save(tmp_path)
    for bad in (random_residuals(0, 3), random_residuals(0, 2)[0], np.zeros((2, 4))):
        np.save(tmp_path / "residuals.npy", bad)
        with pytest.raises(FormatError, match="whole MemoryStore"):
            MemoryStore.load(tmp_path)
    for text in ("", "no array"):
        (tmp_path / "residuals.npy").write_text(text)
        with pytest.raises(FormatError, match="whole MemoryStore"):
            MemoryStore.load(tmp_path)
    (tmp_path / "residuals.npy").unlink()
    with pytest.raises(FormatError, match=r"residuals\.npy"):
        MemoryStore.load(tmp_path)


def test_residuals_stay_with_their_ids_when_the_index_is_rebuilt() -> None:
    codes, residuals = random_codes(0, 6), random_residuals(0, 6)
    store = MemoryStore()
    store.upsert(range(4), codes[:4], residuals=residuals[:4])
    store.delete([0])
    store.upsert([2], codes[4], residuals=residuals[4:5])
    store.search(codes)  # drops the rows of no id
    store.upsert([9], codes[5], residuals=residuals[5:])
    np.testing.assert_array_equal(store.fetch_residuals([9, 1, 2, 3]), residuals[[5, 1, 4, 3]])


def test_threads_that_read_see_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, residuals = random_codes(0, 60), random_residuals(0, 60)
    merge = SparseVectors.concat

    def slow(parts: list[SparseVectors]) -> SparseVectors:
        time.sleep(0.02)  # while others read
        return merge(parts)

    def filled() -> MemoryStore:
        store = MemoryStore()
        store.upsert(range(30), codes[:30], residuals=residuals[:30])
        store.upsert(range(30, 60), codes[30:], residuals=residuals[30:])
        store.delete(range(0, 60, 2))
        return store

    expected = filled().search(codes)
    monkeypatch.setattr(SparseVectors, "concat", slow)
    store = filled()

    def read(one: int) -> bool:
        code, bits = store.fetch_both([one])
        same = code == codes[one] and np.array_equal(bits, residuals[[one]])
        return same and store.search(codes[one]) == [expected[one]]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(1, 60, 2)))


def test_a_copy_is_a_store_of_its_own() -> None:
    codes = random_codes(0, 3)
    store = MemoryStore()
    store.upsert([0], codes[0], [{"a": 1}])
    store.search(codes)
    for other in (copy.copy(store), copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        other.upsert([1, 2], codes[1:])
        other.delete([0])
        assert (store.count(), other.count()) == (1, 2)
        assert [hit.payload for hit in store.search(codes[0])[0]] == [{"a": 1}]
        assert {hit.id for hits in other.search(codes) for hit in hits} == {1, 2}


def test_it_says_what_it_holds() -> None:
    store = MemoryStore()
    assert repr(store) == "MemoryStore(0 codes, dim=None)"
    store.upsert([5, 6], random_codes(0, 2))
    assert repr(store) == f"MemoryStore(2 codes, dim={store.dim})"


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    store = MemoryStore()
    store.upsert([1], random_codes(0, 1))
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=f"cannot make the folder {re.escape(str(path))}: "):
            store.save(path)


def test_a_url_has_no_address() -> None:
    assert open_url("memory:").count() == 0
    with pytest.raises(ConfigError, match="'memory://here'"):
        open_url("memory://here")
