"""``opensearch:`` URLs: where they lead, and what may not travel there."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from opensearchpy import OpenSearch

from csrkit.errors import ConfigError
from csrkit_opensearch.store import OpenSearchStore

__all__ = ["open_url"]

_EXPECTED = "expected opensearch://host:9200/index or opensearch+https://host/index"
_USER, _PASSWORD = "OPENSEARCH_USERNAME", "OPENSEARCH_PASSWORD"


def open_url(url: str, *, create: bool = False) -> OpenSearchStore:
    """Open an index of a server.

    Args:
        url: ``opensearch://host:9200/index``, with TLS ``opensearch+https://``. User and password
            are in the environment, OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD.
        create: Allow that the index is missing.

    Returns:
        The store, with a client of its own.

    Raises:
        ConfigError: If the URL has other parts or lacks one, or a password would travel
            unencrypted.
        StoreError: If there is no index and none may be made, or OpenSearch fails.
    """  # noqa: DOC502  # raised by the store
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 9200
    except ValueError:
        raise ConfigError(f"{_EXPECTED}, got a URL that cannot be read") from None
    name = parts.path.removeprefix("/")
    is_odd = parts.query or parts.fragment or parts.username is not None or not name or not host
    if is_odd or parts.scheme not in ("opensearch", "opensearch+https"):
        # not the url itself, which may hold a password
        raise ConfigError(f"{_EXPECTED}, got {parts.scheme}://{host or ''}{parts.path}")
    is_tls = parts.scheme == "opensearch+https"
    user, password = os.environ.get(_USER), os.environ.get(_PASSWORD)
    if user and not is_tls and not _is_loopback(str(host)):
        raise ConfigError(
            f"{_PASSWORD} would travel to {host} unencrypted: use opensearch+https://, or unset it"
        )
    login = (user, password or "") if user else None
    where = {"host": host, "port": port}
    client = OpenSearch([where], use_ssl=is_tls, verify_certs=is_tls, http_auth=login)
    return OpenSearchStore(client, name, create=create)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
