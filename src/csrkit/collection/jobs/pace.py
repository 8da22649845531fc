"""`Pace`: how much goes into a call, how fast calls follow, and when to stop trying.

A batch grows while calls are quick and shrinks when they are slow or fail, as what is too
much for a server shows in no number that it gives. After a failure the wait before attempt
i is ``base_s * 2**i``, shortened at random by up to half, or what the server asks for with
Retry-After if that is longer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from numbers import Real

from csrkit.collection.home import Busy
from csrkit.errors import ConfigError, StoreError

__all__ = ["Pace"]

_QUICK_S, _SLOW_S = 0.5, 2.0
_LARGEST = 4096


class Pace:
    """The pace of one run; it changes as calls succeed and fail.

    Args:
        rate: Most points per second; None for no cap.
        size: Points of the first batch.
        attempts: Calls in a row that may fail before the run is given up.
        base_s: Seconds before the second attempt.
        cap_s: Longest wait in seconds; a server that asks for more ends the run.
        sleep: What waits, for tests; None is `time.sleep`.
        clock: What tells the seconds, for tests.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(
        self,
        *,
        rate: float | None = None,
        size: int = 256,
        attempts: int = 8,
        base_s: float = 0.5,
        cap_s: float = 60.0,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        is_rate = isinstance(rate, Real) and not isinstance(rate, bool) and rate > 0
        if not (rate is None or is_rate) or not 1 <= size <= _LARGEST or attempts < 1:
            raise ConfigError(
                f"expected a rate above 0, a size from 1 to {_LARGEST} and at least 1 attempt, "
                f"got {rate=}, {size=}, {attempts=}"
            )
        self.size = size
        self._largest = _LARGEST
        self.retries = 0
        self._failures = 0
        self._rate, self._attempts, self._base_s, self._cap_s = rate, attempts, base_s, cap_s
        self._sleep, self._clock = sleep or time.sleep, clock
        self._free_at = clock()

    def limit(self, points: int) -> None:
        """Bound the batches from now on, such as by the memory that their vectors take.

        Args:
            points: Most points per batch, at least 1.
        """
        self._largest = min(_LARGEST, max(1, points))
        self.size = min(self.size, self._largest)

    def now(self) -> float:
        """Return the seconds of the clock."""
        return self._clock()

    def done(self, points: int, seconds: float) -> None:
        """Take note of a batch that succeeded, and wait if the rate is capped.

        Args:
            points: How many it had.
            seconds: How long it took.
        """
        self._failures = 0
        if seconds > _SLOW_S:
            self.size = max(1, self.size // 2)
        elif seconds < _QUICK_S and points >= self.size:
            self.size = min(self._largest, self.size * 2)
        if self._rate is not None:
            now = self._clock()
            self._free_at = max(self._free_at, now - seconds) + points / self._rate
            if self._free_at > now:
                self._sleep(self._free_at - now)

    def failed(self, error: Busy) -> None:
        """Wait after a failure that may pass; the next batch is half as large.

        Args:
            error: The failure.

        Raises:
            StoreError: If too many failed in a row, or the engine asks for too long a wait.
        """
        self._failures += 1
        if self._failures >= self._attempts or error.wait_s > self._cap_s:
            asked = f", and it asks for {error.wait_s:.0f} s" if error.wait_s else ""
            raise StoreError(
                f"given up after {self._failures} attempts{asked}: {error}; what was acknowledged "
                "is kept: run the same command to go on"
            ) from error
        self.retries += 1
        self.size = max(1, self.size // 2)
        pause = min(self._cap_s, self._base_s * 2.0 ** (self._failures - 1))
        self._sleep(max(error.wait_s, pause * random.uniform(0.5, 1)))
