"""``milvus:`` URLs: where they lead, and what may not travel there."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pymilvus import MilvusClient, MilvusException

from csrkit.errors import ConfigError, StoreError
from csrkit_milvus.store import MilvusStore

__all__ = ["open_url"]

_EXPECTED = (
    "expected milvus://host:19530/collection, milvus+https://host/collection, or a file of Milvus "
    "Lite: milvus:index.db/collection, milvus:///srv/index.db/collection"
)


def open_url(url: str, *, create: bool = False) -> MilvusStore:
    """Open a collection of a server, or of a file of Milvus Lite.

    Args:
        url: ``milvus://host:19530/collection``, with TLS ``milvus+https://``; a file is
            ``milvus:index.db/collection``, or ``milvus:///srv/index.db/collection``. The key
            of a server is in the environment variable MILVUS_TOKEN.
        create: Allow that the collection, or the file, is missing.

    Returns:
        The store, with a client of its own.

    Raises:
        ConfigError: If the URL has other parts or lacks one, or a key would travel unencrypted.
        StoreError: If there is none and none may be made, or Milvus fails.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 19530
    except ValueError:
        raise ConfigError(f"{_EXPECTED}, got a URL that cannot be read") from None
    place, _, name = unquote(parts.path).rpartition("/")
    is_odd = parts.query or parts.fragment or parts.username is not None or not name
    is_tls = parts.scheme == "milvus+https"
    if is_odd or parts.scheme not in ("milvus", "milvus+https") or (host and place):
        # not the url itself, which may hold a key
        raise ConfigError(f"{_EXPECTED}, got {parts.scheme}://{host or ''}{parts.path}")
    if host is None:
        return _file(place, name, create=create)
    token = os.environ.get("MILVUS_TOKEN", "")
    if token and not is_tls and not _is_loopback(host):
        raise ConfigError(
            f"MILVUS_TOKEN would travel to {host} unencrypted: use milvus+https://, or unset it"
        )
    address = f"http{'s' if is_tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        client = MilvusClient(address, token=token)
    except MilvusException as error:
        raise StoreError(f"cannot connect to Milvus at {address}: {error.message}") from error
    return MilvusStore(client, name, create=create)


def _file(place: str, name: str, *, create: bool) -> MilvusStore:
    if not place and name.endswith(".db"):
        raise ConfigError(f"{_EXPECTED}, got the file {name!r} without a collection")
    if not place.endswith(".db"):
        raise ConfigError(f"{_EXPECTED}, got the file {place!r}, which does not end in .db")
    if not create and not Path(place).exists():
        raise StoreError(f"no file {place}: check the path, or make it")
    return MilvusStore(place, name, create=create)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
