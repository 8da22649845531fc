"""Budgets: the ladder against brute force, and what counts as a clear difference."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from csrkit.metrics import Interval
from csrkit.report import Row
from csrkit.report.compose import (
    MEMORY,
    TIME,
    clearly_more,
    curves,
    label,
    ladder,
    number,
    spell_bytes,
    spell_ms,
    spell_seconds,
    spell_share,
    standing,
    tie,
    typical,
    unbroken,
)

MadeRow = Callable[..., Row]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (0.0123, "0.012"),
        (0.9, "0.90"),
        (0.996, "1.0"),
        (2.44, "2.4"),
        (9.96, "10"),
        (1544, "1,544"),
    ],
)
def test_numbers_have_two_digits_or_more(value: float, words: str) -> None:
    assert number(value) == words


def test_units_are_spelt_out() -> None:
    assert spell_bytes(1544.4) == "1,544 B"
    assert spell_ms(0.13) == "0.13 ms"
    assert [spell_seconds(s) for s in (0.8, 119, 210)] == ["0.80 s", "119 s", "3.5 min"]
    assert [spell_share(s) for s in (0.1, 0.01, 0.005)] == ["10%", "1%", "0.5%"]
    assert unbroken("from 1.0 ms to 48 B, 3 Bs") == "from 1.0\u00a0ms to 48\u00a0B, 3 Bs"


def test_a_label_stays_on_one_line(made_row: MadeRow) -> None:
    assert label(made_row("csr", setting="k=8")) == "csr (k=8)"
    assert label(made_row("a\n\x1b[31mb\u202ec", setting="")) == "a [31mb c"


def test_rows_of_one_name_are_a_curve_by_k_or_size(made_row: MadeRow) -> None:
    rows = [
        made_row("csr", k=16, size=50),
        made_row("pq", "product", size=200),
        made_row("csr", k=8, size=90),
        made_row("pq", "product", size=72),
    ]
    assert [(curve.name, curve.family) for curve in curves(rows)] == [
        ("csr", "csr"),
        ("pq", "product"),
    ]
    assert [row.k for row in curves(rows)[0].rows] == [8, 16]
    assert [row.bytes_per_vector for row in curves(rows)[1].rows] == [72, 200]


def test_typical_is_the_fastest_among_the_best(made_row: MadeRow) -> None:
    rows = [
        made_row(setting="weak", recall=0.8, ms=0.1),
        made_row(setting="quick", recall=0.899, ms=0.5),
        made_row(setting="slow", recall=0.9, ms=0.9),
    ]
    (curve,) = curves(rows)
    assert typical(curve).setting == "quick"


def test_a_clear_difference_is_one_whose_interval_excludes_zero() -> None:
    """Against scipy: the 95% interval of a difference of two independent normal means."""
    rng = np.random.default_rng(0)
    z = norm.ppf(0.975)
    seen = set()
    for mean, other in rng.uniform(0.5, 0.6, (300, 2)):
        error, other_error = rng.uniform(0.005, 0.02, 2)
        one = Interval(mean - z * error, mean, mean + z * error)
        two = Interval(other - z * other_error, other, other + z * other_error)
        low, high = norm.interval(0.95, mean - other, math.hypot(error, other_error))
        assert clearly_more(one, two) == (low > 0)
        assert clearly_more(two, one) == (high < 0)
        assert tie(one, two) == (low <= 0 <= high)
        seen.add((bool(low > 0), bool(high < 0)))
    assert len(seen) == 3  # the draw holds all three cases


def test_the_ladder_of_exact_recalls_is_the_best_of_every_budget(made_row: MadeRow) -> None:
    """Brute force: with intervals of no width, a step holds the maximum of all that fits."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        rows = [
            made_row(name=str(i), family="dense", size=size, recall=recall, half=0)
            for i, (size, recall) in enumerate(rng.integers(1, 20, (12, 2)) / (1, 20))
        ]
        steps = ladder(rows, MEMORY)
        for budget in range(1, 21):
            best = max((r.recall10.value for r in rows if r.bytes_per_vector <= budget), default=0)
            held = [step for step in steps if step.start <= budget]
            assert (held[-1].row.recall10.value if held else 0) == best
            if held and held[-1].until is not None:
                assert held[-1].until > held[-1].start
        assert [step.until for step in steps] == [*(step.start for step in steps[1:]), None]


def test_a_step_needs_a_clear_gain(made_row: MadeRow) -> None:
    rows = [
        made_row("small", size=50, recall=0.85),
        made_row("unclear", size=60, recall=0.86),
        made_row("clear", size=90, recall=0.87),
    ]
    assert [step.row.name for step in ladder(rows, MEMORY)] == ["small", "clear"]


def test_times_within_a_tenth_are_one_budget_but_bytes_are_exact(made_row: MadeRow) -> None:
    rows = [
        made_row("a", size=100, ms=1.00, recall=0.80),
        made_row("b", size=105, ms=1.05, recall=0.90),
    ]
    assert [step.row.name for step in ladder(rows, MEMORY)] == ["a", "b"]
    assert [step.row.name for step in ladder(rows, TIME)] == ["b"]


def test_a_step_knows_its_ties_and_its_rival(made_row: MadeRow) -> None:
    rows = [
        made_row("csr", size=100, recall=0.870),
        made_row("opq", "product", size=104, recall=0.868),
        made_row("far", "product", size=120, recall=0.868),
        made_row("weak", "product", size=100, recall=0.7),
        made_row("int8", "scalar", size=400, recall=0.99),
    ]
    first, last = ladder(rows, MEMORY)
    assert [row.name for row in first.ties] == ["opq"]
    assert first.rival is not None
    assert first.rival.name == "opq"
    assert standing(first) == "ties"
    assert last.rival is not None
    assert last.rival.name == "csr"
    assert (last.start, last.until, standing(last)) == (400, None, "loses")


def test_no_rows_no_ladder() -> None:
    assert ladder([], TIME) == []
