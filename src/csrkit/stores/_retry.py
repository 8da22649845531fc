"""`Retry`: try a call again while the failure may pass.

The wait before attempt i is ``base_s * 2**i``, shortened at random by up to
half so that clients which failed together do not return together, or what the
server asked for with Retry-After if that is longer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from csrkit.errors import ConfigError

__all__ = ["Retry"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently a call is tried again.

    Attributes:
        attempts: Calls in all, at least 1 (no retry).
        base_s: Seconds before the second attempt; doubles each time.
        cap_s: Longest wait in seconds. A server that asks for more with
            Retry-After is not waited for: the call fails at once.
    """

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base_s < 0 or self.cap_s < 0:
            raise ConfigError(f"expected at least 1 attempt and waits of at least 0 s, got {self}")

    def run(self, call: Callable[[], T], wait_for: Callable[[Exception], float | None]) -> T:
        """Run the call until it succeeds, fails for good, or the attempts are used up.

        Args:
            call: What to try; it must be harmless to repeat.
            wait_for: Seconds the failure asks for, 0 if it names none; None if
                trying again cannot help.

        Returns:
            What the call returned.

        Raises:
            Exception: The last failure, as it was raised.
        """
        for attempt in range(self.attempts - 1):
            try:
                return call()
            except Exception as error:
                asked = wait_for(error)
                if asked is None or asked > self.cap_s:
                    raise
                time.sleep(max(asked, self._pause_s(attempt)))
        return call()

    def _pause_s(self, attempt: int) -> float:
        return min(self.cap_s, self.base_s * 2.0**attempt) * random.uniform(0.5, 1)
