"""Ids and payloads that mean harm, through a file as well."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from csrkit.errors import StoreError
from csrkit.stores import MemoryStore
from csrkit.stores.testing import random_codes
from csrkit_seismic import SeismicStore

_ALPHABET = "aZ0 \"'\\/%{}[]:,;\n\t\0\x01\x7f\x85éß☃𝄞\u200b\ufeff\ud800\udfff"
_FINE = _ALPHABET.encode(errors="ignore").decode()
_IDS: list[Any] = [-1, 2**64, True, False, 1.5, math.nan, None, b"x", (1,), [1], {}, 2**64 - 1, 0]
_NUMBERS: list[Any] = [0, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 0.1, -0.0, 5e-324, 1e16]
_NUMBERS += [2.0**60, 1e22, 1e23, 1.7976931348623157e308, math.inf, -math.inf, math.nan, True, None]


def some_text(rng: random.Random) -> str:
    return "".join(rng.choices(_ALPHABET if rng.random() < 0.2 else _FINE, k=rng.randrange(9)))


def some_id(rng: random.Random) -> Any:
    return rng.choice(_IDS) if rng.random() < 0.2 else some_text(rng)


def some_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random()
    if kind < 0.25 and depth < 4:
        return [some_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind < 0.5 and depth < 4:
        keys = [some_text(rng) if rng.random() < 0.99 else rng.choice(_IDS[:9]) for _ in range(3)]
        return {key: some_value(rng, depth + 1) for key in keys}
    if kind < 0.51:
        return rng.choice([{1, 2}, b"x", object(), 1j])
    return some_text(rng) if kind < 0.75 else rng.choice(_NUMBERS)


def outcome(call: Any) -> str:
    """Run a call; anything but success and StoreError is a failure of the test."""
    try:
        call()
    except StoreError as error:
        return str(error)
    return ""


def test_a_thousand_ids_and_payloads_are_refused_or_come_back(tmp_path: Path) -> None:
    rng, code = random.Random(5), random_codes(0, 1)
    store, stored, refused = SeismicStore(tmp_path / "i"), 0, 0
    for _ in range(1000):
        one, load = some_id(rng), {"it": some_value(rng)} if rng.random() < 0.8 else some_value(rng)
        exact = MemoryStore()
        want = outcome(lambda one=one, load=load, exact=exact: exact.upsert([one], code, [load]))
        got = outcome(lambda one=one, load=load: store.upsert([one], code, [load]))
        assert got == want, (one, load)
        if want:
            refused += 1
            continue
        (hit,) = store.search(code)[0]
        (truth,) = exact.search(code)[0]
        assert (hit.id, type(hit.id)) == (truth.id, type(truth.id))
        assert hit.payload == truth.payload, (load, hit.payload)
        store.delete([one])
        stored += 1
    assert store.count() == 0
    assert min(stored, refused) > 200
    store.close()


def test_ids_that_look_alike_are_apart(tmp_path: Path) -> None:
    ids: list[int | str] = [
        1,
        "1",
        "01",
        " 1",
        "1 ",
        "1.0",
        "null",
        "[1]",
        '"1"',
        "a",
        "A",
        "x" * 9999,
    ]
    ids += ["é", "e\u0301", "a\nb", "a\0b", "\0", "", "true", "None", "csrkit"]
    codes, store = random_codes(0, len(ids)), SeismicStore(tmp_path / "i")
    for _ in range(2):
        store.upsert(ids, codes)
    assert store.count() == len(ids)
    assert store.fetch(ids[::-1]) == codes[::-1]
    assert {hit.id for hit in store.search(random_codes(1, 1, k=64), limit=99)[0]} == set(ids)
    store.close()
    again = SeismicStore(tmp_path / "i")
    assert again.fetch(ids) == codes
    assert {hit.id for hit in again.search(random_codes(1, 1, k=64), limit=99)[0]} == set(ids)
