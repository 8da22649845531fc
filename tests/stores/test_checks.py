"""What every store takes and refuses, before any engine sees it."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.stores import MemoryStore
from csrkit.stores.testing import random_codes

Letter = StrEnum("Letter", ["a", "b"])
Digit = IntEnum("Digit", {"one": 1, "two": 2})


class Mixed(str, Enum):  # noqa: UP042  # the older spelling, whose str() is its name
    A = "a"
    B = "b"


def stored(ids: Any, payloads: Any = None) -> tuple[list[Any], list[Any]]:
    """Return the ids and payloads that a store kept, without relying on equality of types."""
    store = MemoryStore()
    store.upsert(ids, random_codes(0, 1)[[0, 0]], payloads)
    hits = store.search(random_codes(0, 1))[0]  # equal scores come as they were upserted
    return [hit.id for hit in hits], [hit.payload for hit in hits]


@pytest.mark.parametrize(
    ("ids", "plain"),
    [
        (np.array(["a", "b"]), ["a", "b"]),
        (list(Letter), ["a", "b"]),
        (list(Mixed), ["a", "b"]),
        (list(Digit), [1, 2]),
        (np.array([1, 2], np.uint8), [1, 2]),
        ({1: "x", 2: "y"}, [1, 2]),
        ({1: "x", 2: "y"}.keys(), [1, 2]),
        ([UUID(int=1), UUID(int=2)], [str(UUID(int=1)), str(UUID(int=2))]),
    ],
)
def test_ids_become_plain(ids: Any, plain: list[Any]) -> None:
    kept, _ = stored(ids)
    assert kept == plain
    assert {type(one) for one in kept} == {type(plain[0])}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"a", "b"}, "ids in the order of their codes, got a set, which has none"),
        (frozenset([1, 2]), "ids in the order of their codes, got a frozenset, which has none"),
        (np.array(5), r"expected a list of ids, got array\(5\): pass \[array\(5\)\]"),
        (np.int64(5), "expected a list of ids, got np.int64"),
    ],
)
def test_ids_without_an_order_are_refused(ids: Any, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        stored(ids)


def test_a_set_of_ids_can_be_deleted() -> None:
    store = MemoryStore()
    store.upsert(["a", "b"], random_codes(0, 2))
    store.delete({"a", "c"})
    assert store.count() == 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [(np.float64(0.5), 0.5), (np.str_("x"), "x"), (Digit.two, 2), (Letter.a, "a"), (True, True)],
)
def test_payloads_become_plain(value: Any, plain: Any) -> None:
    _, kept = stored([1, 2], [{"x": value, "y": [value]}] * 2)
    assert kept == [{"x": plain, "y": [plain]}] * 2
    assert type(kept[0]["x"]) is type(kept[0]["y"][0]) is type(plain)


def test_payloads_may_be_any_iterable() -> None:
    assert stored([1, 2], ({"x": i} for i in range(2)))[1] == [{"x": 0}, {"x": 1}]
    assert stored([1, 2], np.array([{"x": 0}, None]))[1] == [{"x": 0}, None]


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        ({"x": 1, "y": 2}, "got dict"),
        ("ab", "got str"),
        (3, "got int"),
        (np.array([["a"], ["b"]]), r"got one of shape \(2, 1\)"),
    ],
)
def test_what_is_no_list_of_payloads_is_refused(payloads: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=rf"one JSON object or None per code.*records.*{message}"):
        stored([1, 2], payloads)


@pytest.mark.parametrize("payload", [{"x": "\ud800"}, {"\ud800": 1}])
def test_half_a_surrogate_pair_is_named(payload: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match=r"holds the (key|value) '.ud800', which UTF-8 cannot"):
        stored([1, 2], [payload] * 2)


def test_a_limit_of_numpy_is_told_apart_from_none() -> None:
    with pytest.raises(ConfigError, match=r"got limit=np.int64\(3\): pass int\(limit\)"):
        MemoryStore().search(random_codes(0, 1), limit=np.int64(3))  # type: ignore[arg-type]
