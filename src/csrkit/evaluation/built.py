"""What building gives: ways to ask, and the time it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from csrkit.baselines import Way

__all__ = ["Built"]


class Built(NamedTuple):
    """Something built, ready to be asked.

    Attributes:
        seconds: From float32 rows in memory to an index that answers.
        ways: To ask it.
    """

    seconds: float
    ways: list[Way]
