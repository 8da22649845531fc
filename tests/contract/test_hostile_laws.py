"""The laws on odd ids and payloads hold for stores of our own, and find what breaks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csrkit.errors import StoreError
from csrkit.stores import EdgeStore, MemoryStore
from csrkit.stores.testing import HostileStoreContract


class TestMemory(HostileStoreContract):
    made: Callable[[], Any] = MemoryStore

    def make_store(self, tmp_path: Path) -> Any:
        return type(self).made()

    def equals(self, key: str, value: int) -> Any:
        return lambda payload: payload.get(key) == value


class TestEdge(HostileStoreContract):
    def make_store(self, tmp_path: Path) -> EdgeStore:
        return EdgeStore(tmp_path / "index")

    equals = TestMemory.equals


class TextIds(MemoryStore):
    """Spells every id as text."""

    def upsert(self, ids: Any, codes: Any, payloads: Any = None, **rest: Any) -> None:
        ids = [str(one) if type(one) is int and one >= 0 else one for one in ids]
        super().upsert(ids, codes, payloads, **rest)


class Stripped(MemoryStore):
    """Strips the ids of white space."""

    def upsert(self, ids: Any, codes: Any, payloads: Any = None, **rest: Any) -> None:
        plain = [one.strip() if isinstance(one, str) else one for one in ids]
        super().upsert(plain, codes, payloads, **rest)


class Repaired(MemoryStore):
    """Takes whatever can be spelled somehow."""

    def upsert(self, ids: Any, codes: Any, payloads: Any = None, **rest: Any) -> None:
        super().upsert([str(one).encode(errors="ignore").decode() for one in ids], codes, payloads)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (TextIds, "test_generated_ids_and_payloads_are_refused_or_come_back"),
        (TextIds, "test_ids_that_look_alike_are_apart"),
        (Stripped, "test_generated_ids_and_payloads_are_refused_or_come_back"),
        (Stripped, "test_ids_that_look_alike_are_apart"),
        (Repaired, "test_generated_ids_and_payloads_are_refused_or_come_back"),
    ],
)
def test_a_store_that_changes_ids_is_found(kind: Any, law: str, tmp_path: Path) -> None:
    contract = type("Wrong", (TestMemory,), {"made": kind})()
    with pytest.raises((AssertionError, StoreError)) as caught:
        getattr(contract, law)(contract.make_store(tmp_path))
    assert isinstance(caught.value, AssertionError) or "more than once" in str(caught.value)
