"""Opening a store by URL for the length of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from csrkit.errors import StoreError

if TYPE_CHECKING:
    from csrkit.stores import Store

__all__ = ["opened"]


@runtime_checkable
class _Closable(Protocol):
    """A store that holds something of the system, as an embedded one holds its folder."""

    def close(self) -> None:
        """Release it."""


@contextmanager
def opened(url: str, *, must_exist: bool = False) -> Iterator[Store]:
    """Open a store and close it again, whatever happens.

    Args:
        url: As for `csrkit.stores.open_store`.
        must_exist: Refuse to make a new embedded store, for commands that only read.

    Yields:
        The store.

    Raises:
        StoreError: If it must exist and does not.
    """
    from csrkit.stores import open_store

    folder = url.removeprefix("edge://")
    if must_exist and folder != url and not Path(folder).is_dir():
        raise StoreError(
            f"no store at {url}: make one with `csrkit encode CODEC EMBEDDINGS --store {url}`"
        )
    store = open_store(url)
    try:
        yield store
    finally:
        if isinstance(store, _Closable):
            store.close()
