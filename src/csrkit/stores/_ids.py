"""Ids as Qdrant's engine takes them: 64-bit integers and UUIDs, nothing else.

Any other string is stored under a UUIDv5 of it, which is the same in every
process and version, and the string itself travels in the payload under
`ID_KEY`, so that a hit carries the id its owner knows.

A string passes through as a UUID only in its canonical spelling, 36 lower-case
characters: the engine would give back ``urn:uuid:...`` or capitals in another
spelling than it got.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, KeysView, Mapping, Sequence, Set
from hashlib import sha1
from typing import Any, TypeVar
from uuid import UUID

import numpy as np

from csrkit.errors import StoreError
from csrkit.stores.base import Ids

__all__ = [
    "ID_KEY",
    "all_found",
    "checked_ids",
    "hit_id",
    "hit_payload",
    "point_id",
    "shown",
    "stored_id",
    "uuid_of",
    "with_id",
]

T = TypeVar("T")

ID_KEY = "csrkit_id"  # payload key that holds a string id; no payload may use it
# Never change them: stored ids would be orphans.
_NAMESPACE = UUID("6f1d5d0c-6c0e-5d51-9d7c-2a6f6ce1b7a4")
_NUMBERS = UUID("e0a9cb7c-05f5-5a0f-8a52-7d3c6d7b2f10")
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # in its canonical spelling
_LARGEST = 2**64 - 1  # the engine's numeric ids are unsigned 64-bit


def checked_ids(ids: Ids, *, unique: bool = False) -> list[int | str]:
    """Return ids as plain integers and strings, or refuse them all.

    Args:
        ids: What the caller passed.
        unique: Refuse an id that occurs twice.

    Returns:
        One plain id per entry; a UUID object becomes its string.

    Raises:
        StoreError: If an entry is no id; the message names it.
    """
    single = getattr(ids, "ndim", 1) == 0  # an array without a dimension
    if isinstance(ids, str | bytes) or single or not isinstance(ids, Iterable):
        raise StoreError(f"expected a list of ids, got {ids!r}: pass [{ids!r}] for a single one")
    if unique and isinstance(ids, Set) and not isinstance(ids, KeysView):
        raise StoreError(
            f"expected ids in the order of their codes, got a {type(ids).__name__}, which has none"
        )
    plain = [
        one if type(one) is int and 0 <= one <= _LARGEST else _plain(position, one)  # the usual one
        for position, one in enumerate(ids)
    ]
    if unique and len(set(plain)) < len(plain):
        twice = [one for one, times in Counter(plain).items() if times > 1]
        raise StoreError(f"expected each id once in a call, got {shown(twice)} more than once")
    return plain


def _plain(position: int, one: Any) -> int | str:
    if isinstance(one, UUID):
        return str(one)
    if isinstance(one, str) and is_utf8(one):
        return str.__str__(one)  # numpy's and enumerated strings, too
    whole = isinstance(one, int | np.integer) and not isinstance(one, bool)  # True is no id
    if not whole or not 0 <= one <= _LARGEST:
        raise StoreError(
            "expected ids to be integers from 0 to 2**64 - 1, strings or UUIDs, "
            f"got {one!r} ({type(one).__name__}) at position {position}; nothing was sent"
        )
    return int(one)


def is_utf8(text: str) -> bool:
    """Tell a real string from one with lone surrogates, which no store can keep."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def point_id(one: int | str) -> int | str:
    """Return the id under which the engine keeps a plain id."""
    if isinstance(one, int) or _UUID.fullmatch(one):
        return one
    return _uuid5(one)


def uuid_of(one: int | str) -> str:
    """Return a UUID for a plain id, the same in every process; different ids have different ones.

    For stores whose keys are short or of few characters: keep the id itself beside it.

    Args:
        one: As `checked_ids` gives it.

    Returns:
        In its canonical spelling: the one that a string spells so itself, or a UUIDv5.
    """
    return _uuid5(str(one), _NUMBERS) if isinstance(one, int) else str(point_id(one))


def all_found(ids: Sequence[int | str], found: Mapping[int | str, T]) -> list[T]:
    """Return what was found for each id, in their order.

    Args:
        ids: Plain ids; one may occur several times.
        found: By id.

    Returns:
        One entry per id.

    Raises:
        StoreError: If one was not found; the message names the ids.
    """
    missing = [one for one in ids if one not in found]
    if missing:
        raise StoreError(f"no code is stored for {shown(missing)}")
    return [found[one] for one in ids]


def _uuid5(text: str, namespace: UUID = _NAMESPACE) -> str:
    """Spell ``uuid5(namespace, text)`` without its objects: a search looks up hundreds."""
    digest = bytearray(sha1(namespace.bytes + text.encode(), usedforsecurity=False).digest())
    digest[6] = digest[6] & 0x0F | 0x50  # version 5
    digest[8] = digest[8] & 0x3F | 0x80  # variant of RFC 9562
    whole = digest.hex()
    return f"{whole[:8]}-{whole[8:12]}-{whole[12:16]}-{whole[16:20]}-{whole[20:32]}"


def with_id(one: int | str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload to store: it holds the id if the engine's id does not."""
    return {**payload} if point_id(one) == one else {**payload, ID_KEY: one}


def stored_id(stored: int | str | UUID) -> int | str:
    """Return the engine's id as `point_id` spells it: the embedded engine gives UUID objects."""
    return stored if isinstance(stored, int) else str(stored)


def hit_id(stored: int | str | UUID, payload: Mapping[str, Any] | None) -> int | str:
    """Return the plain id of a point from the engine's id and payload."""
    original = (payload or {}).get(ID_KEY)
    return original if isinstance(original, str) else stored_id(stored)


def hit_payload(payload: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the payload as its owner gave it, None if it is empty."""
    return {key: value for key, value in (payload or {}).items() if key != ID_KEY} or None


def shown(ids: Sequence[Any], most: int = 10) -> str:
    """Spell ids for a message, the first few of many."""
    listed = ", ".join(repr(one) for one in ids[:most])
    return f"[{listed}]" if len(ids) <= most else f"[{listed}, and {len(ids) - most} more]"
