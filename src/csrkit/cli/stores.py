"""Opening a store by URL for the length of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from csrkit.stores import Store

__all__ = ["opened"]


@runtime_checkable
class _Closable(Protocol):
    """A store that holds something of the system, as an embedded one holds its folder."""

    def close(self) -> None:
        """Release it."""


@contextmanager
def opened(url: str, *, must_exist: bool = False, codec: str | None = None) -> Iterator[Store]:
    """Open a store and close it again, whatever happens.

    Args:
        url: As for `csrkit.stores.open_store`.
        must_exist: Make nothing, for commands that only read.
        codec: Fingerprint of the codec in use, to refuse a store of another's codes.

    Yields:
        The store.
    """
    from csrkit.stores import CodecStore, open_store

    store = open_store(url, create=not must_exist)
    try:
        if codec is not None and isinstance(store, CodecStore):
            store.bind(codec)
        yield store
    finally:
        if isinstance(store, _Closable):
            store.close()
