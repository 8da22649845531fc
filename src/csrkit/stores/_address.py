"""Where a ``qdrant://`` URL leads, and what may travel there."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

from qdrant_client import QdrantClient

from csrkit.errors import ConfigError

__all__ = ["Address", "in_url"]

_EXPECTED = "expected qdrant://host:6333/collection or qdrant+https://..."


def in_url(collection: str) -> str:
    """Spell the name of a collection as the last part of a URL, readably where that is clear.

    Args:
        collection: Its name.

    Returns:
        The name, with what a URL would misread written as ``%23``; `Address.of` reads it back.
    """
    return re.sub(r"[%#?/\\\s\x00-\x1f\x7f]", lambda found: quote(found[0], safe=""), collection)


class Address(NamedTuple):
    """A collection of a server.

    Attributes:
        host: Name or number of the machine.
        port: Its port for REST.
        tls: Whether the connection is encrypted.
        collection: Name of the collection.
    """

    host: str
    port: int
    tls: bool
    collection: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read ``qdrant://host:6333/collection``, or ``qdrant+https://`` for TLS.

        Args:
            url: The URL.

        Returns:
            Its parts, port 6333 if left out.

        Raises:
            ConfigError: If it has other parts or lacks one.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # not chained: it may repeat a key
            raise ConfigError(f"{_EXPECTED}, got a URL that cannot be read") from None
        collection = unquote(parts.path.removeprefix("/"))
        whole = parts.hostname and collection and "/" not in parts.path.removeprefix("/")
        try:
            port = 6333 if parts.port is None else parts.port
        except ValueError:
            port = 0
        if not port:
            raise ConfigError(
                f"expected a port from 1 to 65535 in {parts.scheme}://{parts.hostname or ''}:port"
                f"{parts.path}, or none for 6333"
            )
        if parts.query or parts.fragment or parts.username is not None:
            raise ConfigError(
                f"{_EXPECTED}, got one with a user, a key, ? or #, which is not repeated here: "
                "leave it out, and set QDRANT_API_KEY; in the name of a collection write %3F or %23"
            )
        if parts.scheme not in ("qdrant", "qdrant+https") or not whole:
            raise ConfigError(
                f"{_EXPECTED}, got {parts.scheme}://{parts.hostname or ''}{parts.path}"
            )
        tls = parts.scheme == "qdrant+https"
        return cls(str(parts.hostname), port, tls, collection)

    def client(self) -> QdrantClient:
        """Return a client, with the key of the environment variable QDRANT_API_KEY if set.

        Returns:
            The vendor's client; it has not connected yet.

        Raises:
            ConfigError: If the key would travel to another machine unencrypted.
        """
        key = os.environ.get("QDRANT_API_KEY") or None
        if key and not self.tls and not _is_loopback(self.host):
            raise ConfigError(
                f"QDRANT_API_KEY would travel to {self.host} unencrypted: use qdrant+https://, "
                "or unset the variable"
            )
        # its check runs in a thread that prints; what a server can do is asked when it matters
        return QdrantClient(
            host=f"[{self.host}]" if ":" in self.host else self.host,  # a number of IPv6
            port=self.port,
            https=self.tls,
            api_key=key,
            check_compatibility=False,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
