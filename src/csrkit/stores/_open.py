"""`open_store`: a store by URL, for command lines and configuration files.

The scheme names an entry point of the group ``csrkit.stores``, a function
``open_url(url, *, create)`` that returns a store. csrkit registers its own there,
as every adapter does::

    [project.entry-points."csrkit.stores"]
    edge = "csrkit.stores.edge:open_url"
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import Protocol, cast

from csrkit.errors import ConfigError
from csrkit.stores.base import Store

__all__ = ["open_store"]

_GROUP = "csrkit.stores"
_DENSE_ONLY = {  # as their newest releases of 2026-11 have it
    "chroma": "Chroma searches sparse vectors in its cloud alone",
    "lancedb": "LanceDB has no sparse vectors",
    "redis": "Redis has no sparse vectors",
    "weaviate": "Weaviate has no sparse vectors of one's own",
}
_ADAPTERS = "csrkit-milvus, csrkit-opensearch, csrkit-pgvector, csrkit-seismic and csrkit-zvec"
_ALSO = {"chromadb": "chroma", "lance": "lancedb", "rediss": "redis", "valkey": "redis"}
_INSTEAD = (
    "use edge://FOLDER, qdrant://HOST/COLLECTION, or pg://HOST/DATABASE/TABLE with csrkit-pgvector"
)


class _Opener(Protocol):
    """What the group promises."""

    def __call__(self, url: str, *, create: bool) -> Store: ...


def open_store(url: str, *, create: bool = False) -> Store:
    """Open the store that a URL names.

    Args:
        url: ``edge://folder``, ``qdrant://host:6333/collection``, ``memory:``,
            or what an installed adapter registers. What follows a ``+`` in the
            scheme, as in ``qdrant+https://``, is the store's business.
        create: Make what is missing. Otherwise nothing is made, so that a
            mistyped URL is an error and not an empty store.

    Returns:
        The store; one in memory is new each time.

    Raises:
        ConfigError: If the scheme is unknown, or two packages claim it.
        StoreError: If there is no such store and none may be made, or it fails.
    """
    if not isinstance(url, str):
        raise ConfigError(f"expected a URL such as 'edge://folder', got {url!r}")
    match = re.match(r"([A-Za-z][A-Za-z0-9_.-]*)(\+[a-z0-9]+)?:", url)
    known = entry_points(group=_GROUP)
    scheme = match[1] if match else ""
    if scheme not in known.names:
        raise ConfigError(_unknown(url, scheme, sorted(known.names)))
    homes = sorted({entry.value for entry in known.select(name=scheme)})
    if len(homes) > 1:
        raise ConfigError(f"two packages open {scheme!r} URLs, {homes}: uninstall one")
    opener = cast("_Opener", known[scheme].load())
    return opener(url, create=create)


def _unknown(url: str, scheme: str, known: list[str]) -> str:
    """Say what is wrong with a scheme; a URL of an adapter is not shown, it may hold a password."""
    shown = f"{scheme}://..." if scheme and "@" in url else url
    why = _DENSE_ONLY.get(_ALSO.get(scheme.lower(), scheme.lower()))
    if why is not None:
        return f"expected a store of sparse vectors, got {shown!r}: {why}; {_INSTEAD}"
    hint = f"is its adapter installed? csrkit's own are {_ADAPTERS}"
    if scheme in ("pg", "postgres", "postgresql", "pgvector"):
        hint = (
            "a table of PostgreSQL is pg://HOST/DATABASE/TABLE, after pip install csrkit-pgvector"
        )
    elif not scheme:
        hint = f"a folder is edge://{url}"
    return f"expected a URL with one of the schemes {known}, got {shown!r}: {hint}"
