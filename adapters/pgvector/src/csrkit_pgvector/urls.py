"""``pg://`` URLs: where they lead, and what may not travel there."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from csrkit.errors import ConfigError
from csrkit_pgvector.names import Names
from csrkit_pgvector.store import PgVectorStore

__all__ = ["open_url", "parsed", "url_of"]

_EXPECTED = "expected pg://user@host:5432/database/table, or .../database/schema/table"


def parsed(url: str) -> tuple[str, Names]:
    """Read ``pg://user@host:5432/database/table``, or ``.../database/schema/table``.

    Args:
        url: The URL; a socket is in a folder such as ``%2Frun%2Fpostgresql``. What follows
            ``?`` are settings of libpq, such as ``sslmode=require``; what is left out libpq
            finds as ever, in PGHOST, PGUSER, PGPASSWORD, the password file and the like.

    Returns:
        A connection string, and the names.

    Raises:
        ConfigError: If it is none, or holds a password; the message does not show it.
    """
    try:
        parts = urlsplit(url)
        where = [unquote(one) for one in parts.path.removeprefix("/").split("/")]
        settings = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
        place = parts.netloc.rpartition("@")[2]
        is_socket = place.lower().startswith("%2f")  # a folder, whose name keeps its capitals
        host = place.partition(":")[0] if is_socket else parts.hostname
        given = {"user": parts.username, "host": host, "port": parts.port}
    except ValueError:
        raise ConfigError(f"{_EXPECTED}, got a URL that cannot be read") from None
    if parts.password is not None or {"password", "passfile"} & {*settings}:
        raise ConfigError(
            f"{_EXPECTED}, got one with a password, which would end up in histories and logs: "
            "leave it out, and set PGPASSWORD or use a password file"
        )
    if parts.scheme != "pg" or len(where) not in (2, 3) or not all(where) or parts.fragment:
        raise ConfigError(f"{_EXPECTED}, got {parts.scheme}://{parts.hostname or ''}{parts.path}")
    known = {key: unquote(str(value)) for key, value in given.items() if value}
    try:
        conninfo = make_conninfo(dbname=where[0], **known, **settings)
    except (psycopg.Error, TypeError) as error:
        raise ConfigError(f"{_EXPECTED}, got settings that libpq refuses: {error}") from error
    return conninfo, Names(where[-1], schema=where[1] if len(where) == 3 else None)


def url_of(connection: Connection[Any], names: Names) -> str:
    """Return the URL of a table, without any secret.

    Args:
        connection: Where.
        names: What.

    Returns:
        What `parsed` reads.
    """
    info = connection.info
    where = [info.dbname, *filter(None, (names.schema, names.table))]
    host = info.host if ":" not in info.host else f"[{info.host}]"  # a number of IPv6
    place = f"{quote(info.user, '')}@{host if host[:1] == '[' else quote(host, '')}:{info.port}"
    return "/".join([f"pg://{place}", *(quote(one, "") for one in where)])


def open_url(url: str, *, create: bool = False) -> PgVectorStore:
    """Open ``pg://user@host:5432/database/table``, or ``.../database/schema/table``.

    Args:
        url: The place; see `parsed`.
        create: Make the table if it is missing.

    Returns:
        The store, with a connection of its own.

    Raises:
        ConfigError: If the URL has other parts or lacks one, or holds a password.
    """  # noqa: DOC502  # raised by `parsed`
    conninfo, names = parsed(url)
    return PgVectorStore(conninfo, names, create=create)
