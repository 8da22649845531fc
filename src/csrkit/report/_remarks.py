"""What a verdict adds to the budgets: filters, relevance, building, and its own limits."""

from __future__ import annotations

from collections.abc import Sequence

from csrkit.report.compose import (
    MEMORY,
    Step,
    curves,
    label,
    listed,
    one_line,
    spell_ms,
    spell_seconds,
    spell_share,
    tie,
    typical,
)
from csrkit.report.types import Filtered, Report, Row

__all__ = ["building_title", "filters_title", "remarks"]

CLIFF = 0.05  # recall@10 lost under a filter, or
SLOWER = 1.5  # times slower under it, from which on it is worth a sentence
ENOUGH = 0.9  # recall@10 that a user of filters is taken to ask for
MANY = 3  # names that a title can hold, and sentences about one thing


def remarks(report: Report, time: Sequence[Step]) -> list[str]:
    """Say what the budgets do not.

    Args:
        report: With CSR rows and others.
        time: Its ladder by time.

    Returns:
        One sentence each.
    """
    rows = report.rows
    return [*_filters(rows), *_relevance(rows), *_building(rows, time), *_limits(report)]


# -- filters ------------------------------------------------------------------


def _filters(rows: Sequence[Row]) -> list[str]:
    """Say which methods fall off a cliff, and which is fastest under the hardest filter."""
    shown = [row for row in map(typical, curves(rows)) if row.filtered]
    if not shown:
        return []
    cliffs = _cliffs([row for row in shown if _harmed(row)])
    share = min(cell.share for row in shown for cell in row.filtered)
    keeps = f"Under a filter that keeps {spell_share(share)} of the points"
    if not cliffs:
        cliffs = [f"{keeps}, no method loses recall or gets much slower."]
    within = [
        (cell, row)
        for row in rows
        for cell in row.filtered
        if cell.share == share and cell.recall >= ENOUGH
    ]
    if not within:
        return [*cliffs, f"{keeps}, nothing reaches recall@10 {ENOUGH}."]
    within.sort(key=lambda pair: pair[0].ms_p50)
    told = _with_csr([(f"{label(row)}, {spell_ms(cell.ms_p50)}", row) for cell, row in within])
    return [*cliffs, f"{keeps}, the fastest to reach recall@10 {ENOUGH} is {told}."]


def _hardest(row: Row) -> Filtered:
    return min(row.filtered, key=lambda cell: cell.share)


def _falls(row: Row) -> bool:
    return row.recall10.value - _hardest(row).recall > CLIFF


def _slows(row: Row) -> bool:
    return _hardest(row).ms_p50 > SLOWER * row.ms_p50


def _harmed(row: Row) -> bool:
    return bool(row.filtered) and (_falls(row) or _slows(row))


def _cliffs(harmed: Sequence[Row]) -> list[str]:
    """Tell the worst few, CSR among them, and count the others."""
    worst = sorted(harmed, key=lambda row: _hardest(row).recall - row.recall10.value)
    told = worst[:MANY]
    if not any(row.family == "csr" for row in told):
        told += [row for row in worst if row.family == "csr"][:1]
    more = len(worst) - len(told)
    others = [f"Filters take recall or time from {more} more methods."] if more else []
    return [*(_cliff(row) for row in told), *others]


def _cliff(row: Row) -> str:
    hardest = _hardest(row)
    parts = []
    if _falls(row):
        parts.append(f"falls from recall@10 {row.recall10.value:.3f} to {hardest.recall:.3f}")
    if _slows(row):
        parts.append(f"slows from {spell_ms(row.ms_p50)} to {spell_ms(hardest.ms_p50)}")
    keeps = f"when a filter keeps {spell_share(hardest.share)} of the points"
    return f"{label(row)} {' and '.join(parts)} {keeps}."


def filters_title(rows: Sequence[Row]) -> str:
    """Say the finding of a picture of filters.

    Args:
        rows: One per method.

    Returns:
        A few words, without a full stop.
    """
    if not any(row.filtered for row in rows):
        return "What each method costs besides"
    harmed = [one_line(row.name) for row in rows if _harmed(row)]
    if not harmed:
        return "Filters take recall from no method, and slow none down much"
    names = listed(harmed) if len(harmed) <= MANY else f"{len(harmed)} of {len(rows)} methods"
    return f"Filters harm {names}: recall falls or time rises"


# -- relevance ----------------------------------------------------------------


def _relevance(rows: Sequence[Row]) -> list[str]:
    """Name the smallest row that judgements cannot tell from exact search."""
    judged = [row for row in rows if row.ndcg10 is not None]
    exact = next((row for row in judged if row.recall10.low >= 1), None)
    if exact is None or exact.ndcg10 is None:
        return []
    alike = [
        row
        for row in sorted(judged, key=lambda row: row.bytes_per_vector)
        if row is not exact and row.ndcg10 and tie(row.ndcg10, exact.ndcg10)
    ]
    if not alike:
        return []
    told = _with_csr([(_relevant(row), row) for row in alike])
    return [
        "By the judgements, the smallest that cannot be told from exact search (nDCG@10 "
        f"{exact.ndcg10.value:.3f}) is {told}."
    ]


def _relevant(row: Row) -> str:
    assert row.ndcg10 is not None
    size = MEMORY.spell(row.bytes_per_vector)
    return f"{label(row)}, {row.ndcg10.value:.3f} at {size}"


def _with_csr(ranked: Sequence[tuple[str, Row]]) -> str:
    """Tell the first of some rows, and the first CSR row if that is another."""
    told, first = ranked[0]
    if first.family == "csr":
        return told
    csr = next((words for words, row in ranked if row.family == "csr"), None)
    return f"{told}; {f'of CSR it is {csr}' if csr else 'no CSR row does'}"


# -- building, and the limits -------------------------------------------------


def _quickest_csr(rows: Sequence[Row]) -> Row | None:
    csr = [row for row in rows if row.family == "csr"]
    return min(csr, key=lambda row: row.build_seconds, default=None)


def _building(rows: Sequence[Row], time: Sequence[Step]) -> list[str]:
    """Set the build time of a graph that wins by time beside CSR's."""
    graphs = [step.row for step in time if step.row.family == "graph"]
    csr = _quickest_csr(rows)
    if not graphs or csr is None:
        return []
    slowest = max(graphs, key=lambda row: row.build_seconds)
    return [
        f"{label(slowest)} took {spell_seconds(slowest.build_seconds)} to build, {label(csr)} "
        f"{spell_seconds(csr.build_seconds)}, the fit of the model not counted."
    ]


def building_title(rows: Sequence[Row]) -> str:
    """Say the finding of a picture of build times.

    Args:
        rows: One or more.

    Returns:
        A few words, without a full stop.
    """
    csr = _quickest_csr(rows)
    slowest = max(rows, key=lambda row: row.build_seconds)
    if csr is None or slowest.family == "csr":
        seconds = spell_seconds(slowest.build_seconds)
        return f"The slowest to build, {one_line(slowest.name)}, takes {seconds}"
    return (
        f"CSR builds in {spell_seconds(csr.build_seconds)}; the slowest, "
        f"{one_line(slowest.name)}, in {spell_seconds(slowest.build_seconds)}"
    )


def _limits(report: Report) -> list[str]:
    limits = [
        f"All this holds for {report.n_docs:,} documents: scans and CSR slow down in proportion "
        "to their number, a graph much less."
    ]
    if report.queries == "documents":
        limits.append(
            "Document vectors served as queries: real queries are often harder, so evaluate "
            "with them before you decide."
        )
    return limits
