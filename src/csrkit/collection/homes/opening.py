"""`open_home`: the home that a URL, a client or a folder means.

An adapter registers a function ``open_home(url)`` for the scheme of its URLs::

    [project.entry-points."csrkit.homes"]
    pg = "csrkit_pgvector.home:open_home"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from csrkit.collection.copies.pair import Pair
from csrkit.collection.home import Home
from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from csrkit.collection.homes.qdrant import QdrantHome

__all__ = ["open_home", "open_pair", "original_of"]

_GROUP = "csrkit.homes"


def open_home(target: Any, collection: str | None = None) -> Home:
    """Open a collection as a home of jobs.

    Args:
        target: ``qdrant://host:6333/collection`` (``qdrant+https://`` for TLS, the key in
            QDRANT_API_KEY), ``edge://folder`` of a Qdrant Edge shard, a URL that an adapter
            opens, a ``QdrantClient``, or a `Home`.
        collection: Name of the collection, with a client and only with one.

    Returns:
        The home.

    Raises:
        ConfigError: If the target is none of these, or a collection is missing or too much.
        StoreError: If it cannot be opened.
    """  # noqa: DOC502  # raised by helpers
    if hasattr(target, "update_vectors"):  # a client; the vendor's package is not imported for this
        from csrkit.collection.homes.qdrant import QdrantHome

        if not collection:
            raise ConfigError("expected the name of a collection with a client, got none")
        return QdrantHome(target, collection)
    if collection is not None:
        raise ConfigError(
            f"expected a client with collection={collection!r}: a URL names its own collection"
        )
    if isinstance(target, Home):
        return target
    if isinstance(target, str) and target.startswith("edge://") and target != "edge://":
        from csrkit.collection.homes.edge import EdgeHome

        return EdgeHome(target.removeprefix("edge://"))
    if isinstance(target, str) and target.startswith(("qdrant://", "qdrant+https://")):
        from csrkit.collection.homes.qdrant import QdrantHome

        return QdrantHome.of(target)
    scheme = target.partition("://")[0] if isinstance(target, str) else type(target).__name__
    for entry in entry_points(group=_GROUP, name=scheme):  # an adapter's
        home: Home = entry.load()(target)
        return home
    raise ConfigError(  # not the target itself, which may hold a key
        "expected qdrant://host:6333/collection, edge://folder of a Qdrant Edge shard, or a "
        f"QdrantClient with the name of a collection, got {scheme!r}"
    )


def open_pair(home: Home, original: str, title: str) -> Pair:
    """Return a collection and its copy, which may not be there yet.

    Args:
        home: The collection as it was named.
        original: Its name, which is no alias.
        title: Name of the copy.

    Returns:
        Both.

    Raises:
        ConfigError: If the engine has no collections to copy into.
    """  # noqa: DOC502  # raised by `_of_server`
    from csrkit.collection.homes.pairs import QdrantPair

    found = _of_server(home)
    return QdrantPair(found.client, original, title, retry=found.retry)


def original_of(home: Home) -> str:
    """Return the name of the collection that a home has open, perhaps by an alias.

    Args:
        home: The home.

    Returns:
        Its name, which is no alias.

    Raises:
        ConfigError: If the engine has no collections to copy into.
    """  # noqa: DOC502  # raised by `_of_server`
    from csrkit.collection.homes import pairs

    return pairs.original_of(_of_server(home))


def _of_server(home: Home) -> QdrantHome:
    from csrkit.collection.homes.qdrant import QdrantHome

    if not isinstance(home, QdrantHome):
        raise ConfigError(
            f"expected a collection of a Qdrant server to copy, got {home.url}: add the codes in "
            "place (strategy='in_place'); to keep the shard as it is, copy its folder while "
            "nothing has it open, and compress the copy"
        )
    return home
