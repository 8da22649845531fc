"""`key_of`: ids as zvec's keys, short text without newlines; searches pay for each character."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

__all__ = ["key_of"]

_LONGEST = 24  # characters of a key


def key_of(one: int | str) -> str:
    """Return the key of a document; no two ids have the same one.

    Args:
        one: As `checked_ids` gives it.

    Returns:
        The digits of a number; a short string of printable ASCII after an apostrophe; 128 bits
        of a hash, in base64 after a hash sign, for any other string.
    """
    if isinstance(one, int):
        return str(one)
    if len(one) < _LONGEST and one.isascii() and one.isprintable():
        return f"'{one}"
    return f"#{b64encode(sha256(one.encode()).digest()[:16]).decode()[:22]}"
