"""A person before a server that fails: they give the same command again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from csrkit.errors import StoreError

T = TypeVar("T")


def until_done(command: Callable[[], T], times: int = 40) -> T:
    """Give a command until it does not end in StoreError; any other error is a failure."""
    for _ in range(times - 1):
        try:
            return command()
        except StoreError:
            continue
    return command()
