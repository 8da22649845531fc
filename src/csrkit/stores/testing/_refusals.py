"""The laws of ids, lengths and widths: what is taken, and what is refused unsent."""

# the name of a law says what it demands

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from csrkit.errors import ShapeError, StoreError
from csrkit.stores.base import Id, Store
from csrkit.stores.testing._laws import Laws, random_codes

__all__ = ["RefusalLaws"]

_UUID = "0b0e9f38-6f0c-4e5f-9b5e-3f0f4f1c2d3e"
_SPELLINGS = [_UUID, _UUID.upper(), f"urn:uuid:{_UUID}", _UUID.replace("-", "")]
_IDS: list[Id] = [0, 2**64 - 1, "1", 1, "", "a b/c", "naïve ☃", *_SPELLINGS]
_BAD_IDS = [-1, 2**64, True, 1.5, None, b"x", "\ud800", (1,), np.float32(1), float("nan")]


class RefusalLaws(Laws):
    """Every kind of id, and everything that is none."""

    def test_every_kind_of_id_comes_back(self, store: Store) -> None:
        codes = random_codes(25, len(_IDS))
        store.upsert(_IDS, codes, [{"position": position} for position in range(len(_IDS))])
        found = store.search(random_codes(25, 1, k=64), limit=100)[0]
        by_position = {hit.payload["position"]: hit.id for hit in found if hit.payload}
        assert by_position == dict(enumerate(_IDS))
        assert store.fetch(_IDS) == codes
        store.delete(_IDS)
        assert store.count() == 0

    def test_uuid_objects_and_numpy_integers_are_ids(self, store: Store) -> None:
        codes = random_codes(26, 3)
        store.upsert(np.array([3, 4], np.uint8), codes[:2])
        store.upsert([UUID(_UUID)], codes[2])
        assert store.fetch([3, 4, _UUID]) == codes
        found = store.search(random_codes(26, 1, k=64))[0]
        assert {(type(hit.id), hit.id) for hit in found} == {(int, 3), (int, 4), (str, _UUID)}

    def test_what_is_no_id_is_refused_before_anything_is_done(self, store: Store) -> None:
        store.upsert([7], random_codes(0, 1))
        for bad in _BAD_IDS:
            got: Any = bad
            message = re.escape(f"from 0 to 2**64 - 1, strings or UUIDs, got {bad!r}")
            with pytest.raises(StoreError, match=f"{message}.* at position 1"):
                store.upsert([1, got], random_codes(0, 2))
            with pytest.raises(StoreError, match=message):
                store.fetch([7, got])
            with pytest.raises(StoreError, match=message):
                store.delete([7, got])
        assert store.count() == 1

    def test_a_single_id_is_no_list(self, store: Store) -> None:
        for single in ("ab", b"ab", 12):
            ids: Any = single
            with pytest.raises(StoreError, match=f"expected a list of ids, got {single!r}"):
                store.upsert(ids, random_codes(0, 2))
        assert store.count() == 0

    def test_an_id_twice_in_one_call_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="more than once") as caught:
            store.upsert(["a", "b", "a"], random_codes(0, 3))
        assert "'a'" in str(caught.value)
        assert store.count() == 0

    def test_lengths_must_match(self, store: Store) -> None:
        codes = random_codes(0, 3)
        with pytest.raises(ShapeError, match="2 ids and 3 codes"):
            store.upsert([1, 2], codes)
        with pytest.raises(ShapeError, match="1 payloads and 3 codes"):
            store.upsert([1, 2, 3], codes, [{}])
        assert store.count() == 0

    def test_codes_must_be_codes(self, store: Store) -> None:
        dense: Any = np.ones((1, 4), np.float32)
        with pytest.raises(ShapeError, match="expected SparseVectors"):
            store.upsert([1], dense)
        with pytest.raises(ShapeError, match="expected SparseVectors"):
            store.search(dense)

    def test_the_first_upsert_fixes_the_width(self, store: Store) -> None:
        store.upsert([], random_codes(0, 0, dim=12))  # nothing: fixes nothing
        store.upsert([1], random_codes(0, 1, dim=64))
        other = random_codes(0, 1, dim=65)
        with pytest.raises(ShapeError, match=r"over 64 latents.*got 65"):
            store.upsert([2], other)
        with pytest.raises(ShapeError, match=r"over 64 latents.*got 65"):
            store.search(other)
        assert store.count() == 1
