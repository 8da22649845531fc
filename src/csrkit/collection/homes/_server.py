"""`Server`: calls to one collection of a Qdrant server, whose failures become csrkit's errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from csrkit.collection.home import Busy
from csrkit.errors import StoreError
from csrkit.stores._failures import reason, wait_s
from csrkit.stores._retry import Retry

__all__ = ["Server"]

T = TypeVar("T")
_TOO_LARGE = 413


class Server:
    """Calls to one collection.

    Args:
        client: The vendor's client.
        title: Name of the collection, for the messages.
        retry: How patiently calls are repeated.
    """

    def __init__(self, client: QdrantClient, title: str, retry: Retry) -> None:
        self.client, self.retry = client, retry
        self._title = title

    @property
    def address(self) -> str | None:
        """``qdrant://host:port``, without any secret; None if the client has no server."""
        rest: Any = getattr(self.client, "_client", None)
        host = getattr(rest, "_host", None)
        if host is None:
            return None
        scheme = "qdrant+https" if getattr(rest, "_https", False) else "qdrant"
        return f"{scheme}://{host}:{getattr(rest, '_port', None) or 6333}"

    def call(self, doing: str, call: Callable[[], T]) -> T:
        """Run a call that is harmless to repeat, and repeat it while a failure may pass.

        Args:
            doing: What it does, for the message.
            call: The call.

        Returns:
            What it returned.

        Raises:
            StoreError: If it failed for good, or too often (`Busy`).
        """  # noqa: DOC502  # raised by `_failed`
        try:
            return self.retry.run(call, wait_s)
        except Exception as error:
            raise self._failed(doing, error) from error

    def name(self) -> str:
        """Return the name of the collection, which may have been named by an alias.

        Returns:
            Its name, which is no alias.

        Raises:
            StoreError: If it failed for good, or the key may not list aliases.
        """  # noqa: DOC502  # raised by `call`
        known = self.call("read the aliases", self.client.get_aliases).aliases
        return {one.alias_name: one.collection_name for one in known}.get(self._title, self._title)

    def aliases(self) -> list[str]:
        """Return the names that lead to the collection.

        Returns:
            Its aliases, sorted, also if it was named by one of them.

        Raises:
            StoreError: If it failed for good.
        """  # noqa: DOC502  # raised by `call`
        found = self._aliases_of(self._title)
        if found:
            return found
        try:  # asked for those of an alias, a server gives none
            name = self.name()
        except StoreError:  # a key for one collection
            return found
        return found if name == self._title else self._aliases_of(name)

    def _aliases_of(self, title: str) -> list[str]:
        known = self.call("read its aliases", lambda: self.client.get_collection_aliases(title))
        return sorted(one.alias_name for one in known.aliases)

    def write(self, doing: str, call: Callable[[], models.UpdateResult]) -> None:
        """Run a writing call once, and see that it was applied.

        Args:
            doing: What it does, for the message.
            call: The call.

        Raises:
            Busy: If the server may take it later; part of it may be applied.
            StoreError: If the server refuses it for good.
        """  # noqa: DOC502  # raised by `_failed`
        try:
            result = call()
        except Exception as error:
            raise self._failed(doing, error) from error
        if result.status != models.UpdateStatus.COMPLETED:
            raise Busy(f"collection {self._title!r}: took the order to {doing}, did not finish yet")

    def _failed(self, doing: str, error: Exception) -> StoreError:
        message = f"collection {self._title!r}: cannot {doing}: {reason(error)}"
        wait = wait_s(error)
        if wait is None and getattr(error, "status_code", None) == _TOO_LARGE:
            wait = 0.0  # a smaller batch may do
        return StoreError(message) if wait is None else Busy(message, wait)
