"""`open_home`: the home that a URL, a client or a folder means."""

from __future__ import annotations

from typing import Any

from csrkit.collection.home import Home
from csrkit.errors import ConfigError

__all__ = ["open_home"]


def open_home(target: Any, collection: str | None = None) -> Home:
    """Open a collection as a home of jobs.

    Args:
        target: ``qdrant://host:6333/collection`` (``qdrant+https://`` for TLS, the key in
            QDRANT_API_KEY), ``edge://folder`` of a Qdrant Edge shard, a ``QdrantClient``, or
            a `Home`.
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
    raise ConfigError(  # not the target itself, which may hold a key
        "expected qdrant://host:6333/collection, edge://folder of a Qdrant Edge shard, or a "
        f"QdrantClient with the name of a collection, got {scheme!r}"
    )
