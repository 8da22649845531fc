"""Ids and payloads that mean harm, or would if anything were pasted, as generated laws."""

# the name of a law says what it demands

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from csrkit.errors import StoreError
from csrkit.stores.base import Store
from csrkit.stores.memory import MemoryStore
from csrkit.stores.testing._laws import Laws, random_codes

__all__ = ["HostileLaws"]

_ALPHABET = "aZ0 \"'\\/%{}[]:,;\n\t\0\x01\x7f\x85éß☃𝄞\u200b\ufeff\ud800\udfff"
_FINE = _ALPHABET.encode(errors="ignore").decode()  # without the lone surrogates
_IDS: list[Any] = [-1, 2**64, True, False, 1.5, math.nan, None, b"x", (1,), [1], {}, 2**64 - 1, 0]
_NUMBERS: list[Any] = [0, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 0.1, -0.0, 5e-324, 1e16]
_NUMBERS += [2.0**60, 1e22, 1e23, 1.7976931348623157e308, math.inf, -math.inf, math.nan, True, None]
_ALIKE = ["1", "01", " 1", "1 ", "1.0", "null", "[1]", '"1"', "a", "A", "x" * 9999, "é", "e\u0301"]
_ALIKE += ["a\nb", "", "true", "None", "csrkit"]
_NUL = ["a\0b", "\0"]


class HostileLaws(Laws):
    """Whatever is stored is refused as the reference refuses it, or comes back the same.

    Attributes:
        n_hostile: Number of generated ids and payloads.
        holds_nul: Whether texts may hold the character NUL; if not, the store refuses it.
    """

    n_hostile: int = 200
    holds_nul: bool = True

    def test_generated_ids_and_payloads_are_refused_or_come_back(self, store: Store) -> None:
        rng, code, stored, refused = random.Random(5), random_codes(0, 1), 0, 0
        for _ in range(self.n_hostile):
            one, load = _some_id(rng), _some_value(rng)
            load = {"it": load} if rng.random() < 0.8 else load
            exact = MemoryStore()
            want = _outcome(exact, one, load)
            got = _outcome(store, one, load)
            if want or self._is_refused(one, load):
                assert got == want if want else "cannot upsert" in got, (one, load)
                refused += 1
                continue
            assert got == "", (one, load)
            (hit,) = store.search(code)[0]
            (truth,) = exact.search(code)[0]
            assert (hit.id, type(hit.id)) == (truth.id, type(truth.id))
            assert hit.payload == truth.payload, (load, hit.payload)
            store.delete([one])
            stored += 1
        assert store.count() == 0
        assert min(stored, refused) > self.n_hostile / 5

    def test_ids_that_look_alike_are_apart(self, store: Store) -> None:
        ids: list[int | str] = [1, *_ALIKE, *(_NUL if self.holds_nul else [])]
        codes = random_codes(0, len(ids))
        for _ in range(2):
            store.upsert(ids, codes)
        store = self.settle(store)
        assert store.count() == len(ids)
        assert store.fetch(ids[::-1]) == codes[::-1]
        found = store.search(random_codes(1, 1, k=64), limit=99)[0]
        assert sorted(map(repr, ids)) == sorted(repr(hit.id) for hit in found)

    def _is_refused(self, *values: Any) -> bool:
        return not self.holds_nul and any(map(_holds_nul, values))


def _some_text(rng: random.Random) -> str:
    return "".join(rng.choices(_ALPHABET if rng.random() < 0.2 else _FINE, k=rng.randrange(9)))


def _some_id(rng: random.Random) -> Any:
    return rng.choice(_IDS) if rng.random() < 0.2 else _some_text(rng)


def _some_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random()
    if kind < 0.25 and depth < 4:
        return [_some_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind < 0.5 and depth < 4:
        keys = [_some_text(rng) if rng.random() < 0.99 else rng.choice(_IDS[:9]) for _ in range(3)]
        return {key: _some_value(rng, depth + 1) for key in keys}
    if kind < 0.51:
        return rng.choice([{1, 2}, b"x", object(), 1j])
    return _some_text(rng) if kind < 0.75 else rng.choice(_NUMBERS)


def _outcome(store: Store, one: Any, load: Any) -> str:
    """Store one code; anything but success and StoreError fails the test."""
    upsert: Callable[..., None] = store.upsert
    try:
        upsert([one], random_codes(0, 1), [load])
    except StoreError as error:
        return str(error)
    return ""


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value
