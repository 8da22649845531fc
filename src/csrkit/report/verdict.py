"""The verdict: what to use at each budget, in words, where CSR loses first of all.

Every sentence follows from the rows alone. A row is preferred only where it finds
clearly more (`compose.clearly_more`); where it does not, and the costs are within
10%, it is a tie, and the verdict says so instead of choosing. It knows nothing of
what was not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from csrkit.report._remarks import remarks
from csrkit.report.compose import (
    CODE,
    MEMORY,
    TIME,
    Cost,
    Step,
    codes_alone,
    label,
    ladder,
    listed,
    one_line,
    spell_ms,
    standing,
)
from csrkit.report.types import Report, Row

__all__ = ["Findings", "advice", "budget_title", "findings", "verdict"]

MANY = 3  # names or ranges that a headline can hold


class Findings(NamedTuple):
    """The verdict in parts, as the page lays it out.

    Attributes:
        headline: One sentence without a full stop, for a title.
        opening: The first paragraph: where CSR wins, ties and loses.
        memory: Steps by bytes per vector.
        time: Steps by milliseconds per query.
        remarks: On filters, relevance, building, and the limits of all this.
    """

    headline: str
    opening: tuple[str, ...]
    memory: tuple[Step, ...]
    time: tuple[Step, ...]
    remarks: tuple[str, ...]


def verdict(report: Report) -> list[str]:
    """Say in words what to use at which budget, where CSR loses first of all.

    Args:
        report: Any; one without rows has a verdict as well.

    Returns:
        One sentence each: the opening, a sentence per step, the remarks.
    """
    found = findings(report)
    steps = [advice(step, cost) for cost in (MEMORY, TIME) for step in _steps(found, cost)]
    return [*found.opening, *steps, *found.remarks]


def _steps(found: Findings, cost: Cost) -> tuple[Step, ...]:
    return found.memory if cost is MEMORY else found.time


def findings(report: Report) -> Findings:
    """Derive the verdict from the rows.

    Args:
        report: Any.

    Returns:
        Its parts.
    """
    rows = report.rows
    csr = [row for row in rows if row.family == "csr"]
    if problem := _nothing_to_compare(rows, csr):
        headline = problem.partition(":")[0]
        return Findings(headline, (problem,), (), (), ())
    memory, time = tuple(ladder(rows, MEMORY)), tuple(ladder(rows, TIME))
    opening = (_opening(memory, MEMORY), _opening(time, TIME))
    told = (*_by_code(rows), *remarks(report, time))
    return Findings(_headline(memory, time), opening, memory, time, told)


def _by_code(rows: Sequence[Row]) -> list[str]:
    """Compare codes as they would travel, for an engine keeps more of CSR's than a bare array."""
    sized = codes_alone(rows)
    if {row.family == "csr" for row in sized} != {True, False}:
        return []
    return [
        "Counting the codes alone, without ids, postings, graphs and an engine's files, "
        f"CSR {_claim(ladder(sized, CODE), CODE)}."
    ]


def budget_title(rows: Sequence[Row], cost: Cost) -> str:
    """Say the finding of a picture that sets quality against a cost.

    Args:
        rows: One or more.
        cost: `MEMORY` or `TIME`.

    Returns:
        A few words, without a full stop.
    """
    if {row.family == "csr" for row in rows} != {True, False}:
        return f"Recall by {cost.word} {cost.per}"
    return f"By {cost.word}, CSR {_claim(ladder(rows, cost), cost)}"


def _nothing_to_compare(rows: Sequence[Row], csr: Sequence[Row]) -> str | None:
    if not rows:
        return "Nothing was measured: the report has no rows."
    if len(rows) == 1:
        only = rows[0]
        return (
            f"Only {label(only)} was measured: recall@10 {only.recall10.value:.3f} in "
            f"{MEMORY.spell(only.bytes_per_vector)} per vector and {spell_ms(only.ms_p50)} per "
            "query, with nothing to compare it with."
        )
    if not csr:
        return "No CSR row was measured: the report compares baselines alone."
    if len(csr) == len(rows):
        return (
            "Only CSR was measured: nothing here says whether something else would serve you "
            "better. Evaluate with baselines."
        )
    return None


# -- the opening: one sentence per budget -------------------------------------


def _headline(memory: Sequence[Step], time: Sequence[Step]) -> str:
    if {standing(step) for step in (*memory, *time)} == {"loses"}:
        return f"CSR loses here at every budget: use {_names([*memory, *time])} instead"
    by_memory, by_time = _claim(memory, MEMORY), _claim(time, TIME)
    if by_memory.startswith(_WON) and by_time.startswith(_WON):
        by_time = by_time.removeprefix(_WON)
    return f"CSR {by_memory}, and{'' if by_time[0] == ' ' else ' '}{by_time}"


_WON = "is the best choice"


def _claim(steps: Sequence[Step], cost: Cost) -> str:
    """Say how CSR stands by one kind of budget, shorter than the opening."""
    for stands, verb in (("wins", _WON), ("ties", "at best ties")):
        runs = _runs(steps, stands)
        if len(runs) == 1 and len(runs[0]) == len(steps):
            return f"{verb} at every budget of {cost.word}"
        if len(runs) > MANY:
            return f"{verb} in {len(runs)} ranges of {cost.word}"
        if runs:
            per = ["" for _ in runs[1:]] + [f" {cost.per}"]
            return (
                f"{verb} {listed([_won_range(r, cost, p) for r, p in zip(runs, per, strict=True)])}"
            )
    return f"loses at every budget of {cost.word}"


def _opening(steps: Sequence[Step], cost: Cost) -> str:
    """Say for one kind of budget where CSR wins, ties, and loses to what."""
    won = [_won_range(run, cost) for run in _runs(steps, "wins")]
    tied = [f"{_range(run, cost)} (with {_rivals(run)})" for run in _runs(steps, "ties")]
    lost = [step for step in steps if standing(step) == "loses"]
    by = f"By {cost.word} ({cost.counted} {cost.per}), CSR"
    if not won and not tied:
        return f"{by} loses at every budget: {_instead(lost, cost)}."
    parts = [f"{_WON} {listed(won) or 'at no budget'}"]
    parts += [f"ties {listed(tied)}"] if tied else []
    if not lost:
        return f"{by} {', '.join(parts)}, and loses at no budget measured."
    return f"{by} {', '.join(parts)}, and loses at every other budget: {_instead(lost, cost)}."


def _runs(steps: Sequence[Step], wanted: str) -> list[list[Step]]:
    """Join neighbours of one standing."""
    return [list(run) for stands, run in groupby(steps, key=standing) if stands == wanted]


def _won_range(run: Sequence[Step], cost: Cost, per: str = "") -> str:
    """Say also where CSR is the best for want of anything else that cheap."""
    unopposed = all(step.rival is None for step in run)
    return f"{_range(run, cost)}{per}{' (unopposed)' if unopposed else ''}"


def _range(run: Sequence[Step], cost: Cost) -> str:
    start, until = cost.spell(run[0].start), run[-1].until
    if until is None:
        return f"from {start} on"
    return f"from {start.removesuffix(f' {cost.unit}')} to {cost.spell(until)}"


def _instead(steps: Sequence[Step], cost: Cost) -> str:
    """Tell what to use at steps that CSR loses, neighbours of one name told once."""
    runs = [next(run) for _, run in groupby(steps, key=lambda step: step.row.name)]
    told = [f"{one_line(step.row.name)} from {cost.spell(step.start)}" for step in runs]
    return f"use {listed(told)} instead"


def _rivals(run: Sequence[Step]) -> str:
    """Name what CSR ties with."""
    rows = [row for step in run for row in (step.row, *step.ties) if row.family != "csr"]
    return listed(list(dict.fromkeys(one_line(row.name) for row in rows)))


def _names(steps: Iterable[Step]) -> str:
    names = list(dict.fromkeys(one_line(step.row.name) for step in steps))
    return listed(names, "or") if len(names) <= MANY else "a baseline"


# -- a sentence per step ------------------------------------------------------


def advice(step: Step, cost: Cost) -> str:
    """Say what to use at a step, with what the other camp reaches there.

    Args:
        step: Of the ladder of `cost`.
        cost: `MEMORY` or `TIME`.

    Returns:
        One sentence.
    """
    start = f"From {cost.spell(step.start)} {cost.per}"
    stands = standing(step)
    if stands == "ties":
        tied = [f"{label(row)} ({_result(row, cost)})" for row in (step.row, *step.ties)]
        return f"{start}, {listed(tied)} tie."
    instead = " instead" if stands == "loses" else ""
    return f"{start}, use {label(step.row)}{instead}: {_result(step.row, cost)}; {_rival(step)}."


def _result(row: Row, cost: Cost) -> str:
    other = TIME if cost is MEMORY else MEMORY
    return f"recall@10 {row.recall10.value:.3f} at {other.spell(other.of(row))}"


def _rival(step: Step) -> str:
    camp = "baseline" if step.row.family == "csr" else "CSR row"
    if step.rival is None:
        return f"no {camp} is that cheap"
    found = step.rival.recall10.value
    unclear = ", not clearly more" if found > step.row.recall10.value else ""
    return f"the best {camp} there, {label(step.rival)}, has {found:.3f}{unclear}"
