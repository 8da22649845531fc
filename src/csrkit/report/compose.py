"""What table, plot, page and verdict share: how rows are named, grouped and ranked by budget.

A budget is bytes per vector (`MEMORY`) or milliseconds per query (`TIME`). The
ladder of a budget answers one question: with so much to spend, what finds most?
Walking up the costs, a row starts a new step only if it finds *clearly* more
than the step before (`clearly_more`), so that a lucky draw of queries is no advice.

Nothing here draws or knows a file format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from csrkit.metrics import Interval
from csrkit.report.types import Family, Report, Row

__all__ = [
    "CODE",
    "MEMORY",
    "TIME",
    "Cost",
    "Curve",
    "Step",
    "clearly_more",
    "codes_alone",
    "conditions",
    "curves",
    "label",
    "ladder",
    "listed",
    "number",
    "one_line",
    "spell_bytes",
    "spell_ms",
    "spell_seconds",
    "spell_share",
    "standing",
    "tie",
    "typical",
    "unbroken",
]

SLACK = 1.1  # costs within 10% of each other count as equal in a tie


def one_line(text: str) -> str:
    """Return text on one line: what is not printable, such as a new line, becomes a space."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def label(row: Row) -> str:
    """Name a row in words, such as "csr + codes (k=16, 100 candidates)"."""
    name, setting = one_line(row.name), one_line(row.setting)
    return f"{name} ({setting})" if setting else name


# -- numbers ------------------------------------------------------------------


def number(value: float) -> str:
    """Spell a number of 0 or more to at least two digits, such as "0.13", "2.0" or "1,544"."""
    if value >= 9.95 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:#.2g}"


def spell_bytes(value: float) -> str:
    """Spell bytes of one vector, such as "1,544 B"."""
    return f"{value:,.0f} B"


def spell_ms(value: float) -> str:
    """Spell milliseconds, such as "0.13 ms"."""
    return f"{number(value)} ms"


def spell_seconds(value: float) -> str:
    """Spell a time to build, such as "0.8 s" or "3.5 min"."""
    return f"{number(value)} s" if value < 120 else f"{number(value / 60)} min"


def spell_share(value: float) -> str:
    """Spell a share of the points, such as "10%"."""
    return f"{100 * value:.3g}%"


def unbroken(words: str) -> str:
    """Keep numbers with their units where lines are broken."""
    return _UNIT.sub("\u00a0", words)


_UNIT = re.compile(r"(?<=\d) (?=(B|ms|s|min)\b)")


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words with commas and a last "and"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


# -- rows, grouped ------------------------------------------------------------


class Curve(NamedTuple):
    """Rows of one name: one method at one or more settings.

    Attributes:
        name: Of all rows.
        family: Of the first row.
        rows: At least one; by k where all have one, else by bytes, else as they came.
    """

    name: str
    family: Family
    rows: tuple[Row, ...]


def curves(rows: Iterable[Row]) -> list[Curve]:
    """Group rows by name, in the order of first appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    return [Curve(name, found[0].family, _in_order(found)) for name, found in groups.items()]


def _in_order(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (row.k or 0, row.bytes_per_vector, row.ms_p50)))


def typical(curve: Curve) -> Row:
    """Choose one row to stand for a curve: the fastest of those that tie with its best recall."""
    best = max(curve.rows, key=lambda row: row.recall10.value)
    tied = [row for row in curve.rows if tie(row.recall10, best.recall10)]
    return min(tied, key=lambda row: (row.ms_p50, row.bytes_per_vector))


def clearly_more(one: Interval, other: Interval) -> bool:
    """Tell whether a mean is larger than another by more than chance explains.

    ::

        one - other > sqrt(half(one)^2 + half(other)^2)

    the 95% interval of a difference of independent means, from the halves that
    face each other. Rows are measured on the same queries, which makes chance
    smaller still, so this errs on the side of a tie.

    Args:
        one: With its 95% interval.
        other: The same.

    Returns:
        False for a tie, and where `one` is smaller.
    """
    chance = math.hypot(one.value - one.low, other.high - other.value)
    return one.value - other.value > chance


def tie(one: Interval, other: Interval) -> bool:
    """Tell whether neither of two means is clearly larger."""
    return not clearly_more(one, other) and not clearly_more(other, one)


# -- budgets ------------------------------------------------------------------


class Cost(NamedTuple):
    """One kind of budget.

    Attributes:
        word: "memory", "code size" or "time".
        unit: "B" or "ms".
        counted: The same where there is room.
        of: The cost of a row.
        spell: The cost in words, with its unit.
        per: What one cost is for, such as "per vector".
        noise: Ratio below which two costs cannot be told apart; 1 for exact costs.
    """

    word: str
    unit: str
    counted: str
    of: Callable[[Row], float]
    spell: Callable[[float], str]
    per: str
    noise: float


MEMORY = Cost(
    "memory", "B", "bytes", lambda row: row.bytes_per_vector, spell_bytes, "per vector", 1.0
)
CODE = Cost(
    "code size", "B", "bytes", lambda row: row.code_bytes or 0.0, spell_bytes, "per vector", 1
)
TIME = Cost("time", "ms", "ms", lambda row: row.ms_p50, spell_ms, "per query", SLACK)


def codes_alone(rows: Iterable[Row]) -> list[Row]:
    """Choose the rows that answer from their codes: a size known, and no originals retained."""
    return [row for row in rows if row.code_bytes and row.retained_bytes <= row.code_bytes]


class Step(NamedTuple):
    """What to use from one cost up to the next step's.

    Attributes:
        row: Finds clearly more than all cheaper steps.
        start: Its cost.
        until: Cost of the next step; None for the last.
        ties: Rows of other names with about the same cost and no clear
            difference in recall, best first.
        rival: The best row of the other camp (CSR or not) that fits below
            `until`; None if none does.
    """

    row: Row
    start: float
    until: float | None
    ties: tuple[Row, ...]
    rival: Row | None


def ladder(rows: Iterable[Row], cost: Cost) -> list[Step]:
    """Say for each budget which row finds most.

    Args:
        rows: Any number; none gives no steps.
        cost: `MEMORY` or `TIME`.

    Returns:
        Steps by rising cost and rising recall@10.
    """
    ordered = sorted(
        rows, key=lambda row: (cost.of(row), -row.recall10.value, row.bytes_per_vector)
    )
    held: list[Row] = []
    for row in ordered:
        if held and not clearly_more(row.recall10, held[-1].recall10):
            continue
        # Nearly the same cost and clearly better: it takes the place of the step before.
        if held and cost.of(row) < cost.noise * cost.of(held[-1]):
            held.pop()
        held.append(row)
    ends = [*(cost.of(row) for row in held[1:]), None]
    return [_step(row, until, ordered, cost) for row, until in zip(held, ends, strict=False)]


def _step(row: Row, until: float | None, rows: Sequence[Row], cost: Cost) -> Step:
    start = cost.of(row)
    best_first = sorted(rows, key=lambda other: -other.recall10.value)
    ties = tuple(
        other
        for other in best_first
        if other.name != row.name
        and start / SLACK <= cost.of(other) <= start * SLACK
        and tie(other.recall10, row.recall10)
    )
    rivals = (
        other
        for other in best_first
        if _is_csr(other) != _is_csr(row) and (until is None or cost.of(other) < until)
    )
    return Step(row, start, until, ties, next(rivals, None))


def standing(step: Step) -> str:
    """Say how CSR stands at a step: "wins", "ties" or "loses"."""
    if any(_is_csr(tied) != _is_csr(step.row) for tied in step.ties):
        return "ties"
    return "wins" if _is_csr(step.row) else "loses"


def _is_csr(row: Row) -> bool:
    return row.family == "csr"


# -- the run ------------------------------------------------------------------


def conditions(report: Report) -> str:
    """Say in one line what was measured, and where."""
    asked = "document vectors used as queries" if report.queries == "documents" else "queries"
    machine = report.machine
    return (
        f"{report.n_docs:,} documents, {report.n_queries:,} {asked}, {report.dim:,} dimensions, "
        f"seed {report.seed}; one thread on {one_line(machine.cpu)} ({machine.cores} cores), "
        f"Python {one_line(machine.python)}"
    )
