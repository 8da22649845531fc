from __future__ import annotations

import pytest

from csrkit.collection.home import Busy
from csrkit.collection.jobs.pace import Pace
from csrkit.errors import ConfigError, StoreError


class Clock:
    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


def paced(**settings: float) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(sleep=clock.sleep, clock=clock, **settings), clock  # type: ignore[arg-type]


def test_a_batch_grows_while_calls_are_quick_and_shrinks_when_they_are_slow() -> None:
    pace, _ = paced()
    sizes = []
    for seconds in (0.1, 0.1, 1.0, 3.0):
        pace.done(pace.size, seconds)
        sizes.append(pace.size)
    assert sizes == [512, 1024, 1024, 512]
    pace.done(3, 0.001)  # the rest of a range says nothing
    assert pace.size == 512


def test_batches_stay_below_a_limit() -> None:
    pace, _ = paced()
    pace.limit(100)
    assert pace.size == 100
    pace.done(100, 0.01)
    assert pace.size == 100


def test_waits_double_with_jitter_and_the_batch_halves() -> None:
    pace, clock = paced(base_s=1.0)
    for _ in range(4):
        pace.failed(Busy("503"))
    assert pace.size == 16
    assert pace.retries == 4
    for wait, most in zip(clock.waits, (1, 2, 4, 8), strict=True):
        assert most / 2 <= wait <= most
    assert len({wait / most for wait, most in zip(clock.waits, (1, 2, 4, 8), strict=True)}) > 1


def test_a_server_that_names_a_wait_gets_it() -> None:
    pace, clock = paced(base_s=0.01)
    pace.failed(Busy("429", wait_s=17.0))
    assert clock.waits == [17.0]


def test_a_server_that_asks_for_too_long_ends_the_run() -> None:
    pace, clock = paced()
    with pytest.raises(StoreError, match=r"it asks for 900 s: 429; .*run the same command"):
        pace.failed(Busy("429", wait_s=900.0))
    assert clock.waits == []


def test_too_many_failures_in_a_row_end_the_run_and_a_success_forgives() -> None:
    pace, _ = paced(attempts=3)
    pace.failed(Busy("a"))
    pace.failed(Busy("b"))
    pace.done(1, 0.1)
    pace.failed(Busy("c"))
    pace.failed(Busy("d"))
    with pytest.raises(StoreError, match="given up after 3 attempts: e"):
        pace.failed(Busy("e"))


def test_a_rate_is_kept() -> None:
    pace, clock = paced(rate=100.0)
    for _ in range(10):
        clock.time += 0.2  # the work itself
        pace.done(50, 0.2)
    assert clock.time == pytest.approx(10 * 50 / 100)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected a rate above 0"):
        Pace(rate=0)
