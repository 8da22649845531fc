"""`StoreContract`: the tests that every store passes, to be run on your own.

Subclass it in a test module, say how a store is made and how a filter is
spelled, and pytest runs the laws of `csrkit.stores.base` against it, comparing
ids, scores and payloads with `MemoryStore`, the exact reference::

    class TestMyStore(StoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "index")

        def equals(self, key, value):
            return my_filter(key, value)

A store that outlives its process also passes `PersistentStoreContract`, and one
that keeps residuals `ResidualStoreContract`, one that notes its codec
`CodecStoreContract`; one that rescores from dense vectors
passes `DenseStoreContract` beside, one that brings candidates' codes along
`CandidateStoreContract`, and one that spells ids or payloads in a language of
its own `HostileStoreContract`. This module needs pytest and is
imported by tests alone; for pytest's detailed messages,
``pytest.register_assert_rewrite("csrkit.stores.testing")`` first.
"""

# ruff: noqa: D102  # the name of a law says what it demands

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import pytest

from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.stores.base import CodecStore, Store
from csrkit.stores.testing._candidates import CandidateLaws
from csrkit.stores.testing._content import ContentLaws
from csrkit.stores.testing._dense import DenseStoreContract
from csrkit.stores.testing._hostile import HostileLaws
from csrkit.stores.testing._laws import assert_same_hits, random_codes
from csrkit.stores.testing._refusals import RefusalLaws
from csrkit.stores.testing._residuals import ResidualLaws, random_residuals
from csrkit.stores.testing._search import SearchLaws

__all__ = [
    "CandidateStoreContract",
    "CodecStoreContract",
    "DenseStoreContract",
    "HostileStoreContract",
    "PersistentStoreContract",
    "ResidualStoreContract",
    "StoreContract",
    "assert_same_hits",
    "random_codes",
    "random_residuals",
]


class StoreContract(SearchLaws, ContentLaws, RefusalLaws):
    """All laws of `Store` as pytest tests: subclass it."""


class PersistentStoreContract(StoreContract):
    """`StoreContract` for stores that outlive the object."""

    @abstractmethod
    def reopen(self, store: Store, tmp_path: Path) -> Store:
        """Return a new object over what the store holds, as a new process would.

        Args:
            store: The store to leave; it is not used again.
            tmp_path: The folder that `make_store` got.

        Returns:
            The new object.
        """

    def test_everything_survives_reopening(self, store: Store, tmp_path: Path) -> None:
        codes = random_codes(30, 50)
        store, exact = self.filled(store, codes)
        for target in (store, exact):
            target.upsert(["text", 3], codes[[1, 2]], [{"third": 5}, None])
            target.delete([4])
        store = self.reopen(store, tmp_path)
        assert store.count() == 50
        self.check(store, exact, random_codes(31, 10))
        assert store.fetch(["text", 3]) == codes[[1, 2]]
        for target in (store, exact):
            target.upsert(["text", "more"], codes[[7, 8]])
        self.check(store, exact, random_codes(31, 10))

    def test_the_width_survives_reopening(self, store: Store, tmp_path: Path) -> None:
        store.upsert([1], random_codes(0, 1, dim=64))
        store.delete([1])
        store = self.reopen(store, tmp_path)
        with pytest.raises(ShapeError, match=r"over 64 latents.*got 65"):
            store.upsert([2], random_codes(0, 1, dim=65))
        assert store.fetch([]).dim == 64


class CodecStoreContract(PersistentStoreContract):
    """`PersistentStoreContract` for stores that note the codec of their codes."""

    def test_it_is_a_codec_store(self, store: CodecStore) -> None:
        assert isinstance(store, CodecStore)
        assert store.codec is None

    def test_the_first_upsert_notes_the_codec(self, store: CodecStore, tmp_path: Path) -> None:
        store.bind("one")
        assert store.codec is None  # nothing is written yet
        store.upsert([1], random_codes(70, 1))
        assert store.codec == "one"
        again: Any = self.reopen(store, tmp_path)
        assert again.codec == "one"
        with pytest.raises(StoreError, match="of the codec one, got the codec two"):
            again.bind("two")
        again.bind("one")
        again.upsert([2], random_codes(71, 1))
        assert again.count() == 2

    def test_a_codec_is_not_noted_after_the_fact(self, store: CodecStore, tmp_path: Path) -> None:
        store.upsert([1], random_codes(72, 1))
        store.bind("one")
        store.upsert([2], random_codes(73, 1))
        assert store.codec is None  # whose code 1 is nobody knows
        again: Any = self.reopen(store, tmp_path)
        again.bind("two")

    def test_a_store_is_bound_to_one_codec(self, store: CodecStore) -> None:
        store.bind("one")
        store.bind("one")
        with pytest.raises(StoreError, match="of the codec one, got the codec two"):
            store.bind("two")
        for bad in ("", None, 12):
            codec: Any = bad
            with pytest.raises(ConfigError, match=f"fingerprint of a codec, got {bad!r}"):
                store.bind(codec)


class ResidualStoreContract(ResidualLaws, PersistentStoreContract):
    """`PersistentStoreContract` for stores that keep residuals as well."""


class CandidateStoreContract(CandidateLaws):
    """What rescoring asks of a store that brings codes along, beside `ResidualStoreContract`."""


class HostileStoreContract(HostileLaws):
    """Generated ids and payloads, most of them odd, beside `StoreContract`."""
