"""Ids, between csrkit's spelling and that of the column that holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from csrkit.errors import StoreError
from csrkit.stores.adapter import shown
from csrkit_pgvector.table import Table

__all__ = ["id_type", "is_text", "plain", "spelled"]


def id_type(table: Table) -> str:
    """Return the type of the ids.

    Args:
        table: The table, refreshed.

    Returns:
        Type of their column, one of a few; jsonb takes every id that csrkit knows.
    """
    return table.columns[table.names.id].type


def is_text(table: Table) -> bool:
    """Tell whether the ids are text, which databases sort by their language.

    Args:
        table: The table, refreshed.

    Returns:
        True for text.
    """
    return id_type(table) in ("text", "character varying")


def plain(one: Any) -> int | str:
    """Return an id as csrkit spells it.

    Args:
        one: As psycopg gives it.

    Returns:
        A number or a string.
    """
    return str(one) if isinstance(one, UUID) else one


def spelled(table: Table, ids: Sequence[int | str]) -> list[str]:
    """Spell ids as their column reads them.

    Args:
        table: The table, refreshed.
        ids: Plain ids.

    Returns:
        One text per id.

    Raises:
        StoreError: If the column cannot hold one, or would give it back as another.
    """
    kind = id_type(table)
    if kind == "jsonb":
        return [str(one) if isinstance(one, int) else json.dumps(one) for one in ids]
    is_number = kind != "uuid" and not is_text(table)
    bad = [one for one in ids if isinstance(one, int) != is_number]
    if kind == "uuid" and not bad:
        bad = [one for one in ids if not _is_uuid(str(one))]
    if bad:
        raise StoreError(
            f"table {table.names.table!r}: expected ids of the type {kind}, as its column "
            f"{table.names.id!r} holds them, got {shown(bad)}"
        )
    return [str(one) for one in ids]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
