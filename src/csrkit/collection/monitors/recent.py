"""Filters in words of a shell: by a field's value, and of the points that were written lately."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from csrkit.collection.homes.edge import EdgeHome
from csrkit.errors import ConfigError
from csrkit.stores._engine import edge_module

if TYPE_CHECKING:
    from csrkit.collection.home import Home

__all__ = ["since", "where"]


def where(home: Home, text: str) -> Any:
    """Return the vendor's filter that a condition such as ``batch=7`` means.

    Args:
        home: The collection.
        text: A payload field, nested ones as ``a.b``, and what it has to be: JSON for a whole
            number, true, false or a quoted string, else a string as it stands.

    Returns:
        The filter.

    Raises:
        ConfigError: If it is no such condition.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"expected a condition FIELD=VALUE, such as tenant=acme, got {text!r}")
    return home.matching(name, _plain(value))


def _plain(text: str) -> str | int | bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_whole = isinstance(value, int) and -(2**63) <= value < 2**63  # as engines have them
    return value if isinstance(value, str) or is_whole else text


def since(home: Home, field: str, text: str) -> Any:
    """Return the vendor's filter of points whose payload field is at least a number or a time.

    Args:
        home: The collection.
        field: Name of the field.
        text: A number, or a date or time in ISO 8601, such as 2026-11-01 or
            2026-11-01T08:00:00Z.

    Returns:
        The filter.

    Raises:
        ConfigError: If it is neither.
    """
    least = _least(text)
    if isinstance(home, EdgeHome):
        edge = edge_module()
        span = edge.RangeFloat if isinstance(least, float) else edge.RangeDateTime
        condition = edge.FieldCondition(field, range=span(gte=least))
        return edge.Filter(must=[condition])
    from qdrant_client import models

    if isinstance(least, float):
        range_: Any = models.Range(gte=least)
    else:
        range_ = models.DatetimeRange.model_validate({"gte": least})
    return models.Filter(must=[models.FieldCondition(key=field, range=range_)])


def _least(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if number - number == 0:  # neither NaN nor infinity
            return number
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            "expected a number, or a date or time such as 2026-11-01T08:00:00Z, got "
            f"--since {text!r}"
        ) from error
    return text
