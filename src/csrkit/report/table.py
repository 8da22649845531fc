"""A report as text: tables of 100 columns at most, plain or in Markdown.

What methods find, keep and cost, and what filters do to that, one line per row in
the order of the report. A column without a value in any row is left out, and a
mean is shown with the larger half of its 95% interval.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from csrkit.metrics import Interval
from csrkit.report.compose import conditions, label, number, one_line, spell_share
from csrkit.report.types import Report, Row

__all__ = ["Block", "Column", "Form", "blocks", "table"]

Form = Literal["text", "markdown"]
WIDTH = 100  # columns of a terminal or of a page of monospaced text
NARROWEST = 20  # of the methods' column, should the numbers take all the room
GAP = "  "


class Column(NamedTuple):
    """One column of numbers.

    Attributes:
        title: With its unit.
        meaning: What it measures, one sentence without a full stop.
        cell: The value of a row in words; None if it has none.
    """

    title: str
    meaning: str
    cell: Callable[[Row], str | None]


class Block(NamedTuple):
    """Columns under one heading."""

    heading: str
    columns: Sequence[Column]


def table(report: Report, form: Form = "text") -> str:
    """Lay a report out as text.

    Args:
        report: Any.
        form: "text", aligned and no wider than 100 columns, or "markdown".

    Returns:
        Lines: title, conditions, then each table under its heading, then the notes.
    """
    make = _markdown if form == "markdown" else _text
    parts = [_title(report, form), _wrapped(conditions(report), form)]
    for heading, columns in blocks(report.rows):
        parts += [f"**{heading}**" if form == "markdown" else heading.upper()]
        parts += [make(columns, report.rows), _wrapped(_legend(columns), form)]
    parts += [_wrapped(one_line(note), form) for note in report.notes]
    return "\n\n".join(parts) + "\n"


def _title(report: Report, form: Form) -> str:
    title = one_line(report.title)
    return f"## {_escaped(title)}" if form == "markdown" else title


def _wrapped(words: str, form: Form) -> str:
    return _escaped(words) if form == "markdown" else textwrap.fill(words, WIDTH)


def _legend(columns: Sequence[Column]) -> str:
    return "; ".join(f"{column.title}: {column.meaning}" for column in columns) + "."


# -- the columns --------------------------------------------------------------


def _mean(interval: Interval | None) -> str | None:
    if interval is None:
        return None
    half = max(interval.value - interval.low, interval.high - interval.value)
    return f"{interval.value:.3f} ±{f'{half:.3f}'.lstrip('0')}"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _bytes(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


FOUND = (
    Column("bytes", "all that must be kept per vector", lambda row: _bytes(row.bytes_per_vector)),
    Column(
        "recall@10",
        "overlap with the exact dense top 10, mean and 95% interval",
        lambda row: _mean(row.recall10),
    ),
    Column("@100", "recall@100", lambda row: _share(row.recall100.value)),
    Column("worst", "mean recall@10 of the worst 5% of the queries", lambda row: _share(row.worst)),
    Column("nDCG@10", "against the judgements", lambda row: _mean(row.ndcg10)),
    Column(
        "MRR@10", "the same", lambda row: _share(row.mrr10.value if row.mrr10 is not None else None)
    ),
    Column("1-NN", "accuracy of the nearest label", lambda row: _share(row.accuracy)),
)

KEPT = (
    Column("bytes", "all that must be kept per vector", lambda row: _bytes(row.bytes_per_vector)),
    Column("code", "of them, the vector's own code", lambda row: _bytes(row.code_bytes)),
    Column(
        "retained", "of them, only for rescoring", lambda row: _bytes(row.retained_bytes or None)
    ),
    Column(
        "resident", "bytes of memory per vector, measured", lambda row: _bytes(row.resident_bytes)
    ),
    Column(
        "shared kB",
        "kept once for all vectors",
        lambda row: number(row.shared_bytes / 1000) if row.shared_bytes else None,
    ),
)

SPENT = (
    Column(
        "build s",
        "seconds from vectors to an index that answers, the fit of CSR not in it",
        lambda row: number(row.build_seconds),
    ),
    Column("p50 ms", "median time of one query on one thread", lambda row: number(row.ms_p50)),
    Column("p95 ms", "95th percentile", lambda row: number(row.ms_p95)),
    Column(
        "postings",
        "visited per query and document",
        lambda row: None if row.posting_cost is None else f"{row.posting_cost:.2f}",
    ),
)


def _filtered(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Make the columns for the shares that any row was filtered to.

    Args:
        rows: Of a report.

    Returns:
        Recall at every share from the largest, then times; empty without filters.
    """
    shares = sorted({cell.share for row in rows for cell in row.filtered}, reverse=True)
    if not shares:
        return ()
    recalls = (_filtered_recall(share) for share in shares)
    times = (_filtered_ms(share) for share in shares)
    return (
        Column("recall@10", "without a filter", lambda row: _share(row.recall10.value)),
        *recalls,
        Column("p50 ms", "without a filter", lambda row: number(row.ms_p50)),
        *times,
    )


def _filtered_recall(share: float) -> Column:
    def cell(row: Row) -> str | None:
        return next((_share(part.recall) for part in row.filtered if part.share == share), None)

    words = spell_share(share)
    return Column(f"at {words}", f"recall@10 among the {words} that a filter keeps", cell)


def _filtered_ms(share: float) -> Column:
    def cell(row: Row) -> str | None:
        return next((number(part.ms_p50) for part in row.filtered if part.share == share), None)

    words = spell_share(share)
    return Column(f"ms at {words}", "its median time", cell)


def blocks(rows: Sequence[Row]) -> list[Block]:
    """Group the columns that have a value in any row.

    Args:
        rows: Of a report.

    Returns:
        What the methods find, keep and cost, then the same under filters; a
        group without columns is left out.
    """
    groups = (
        ("What it finds", FOUND),
        ("What it keeps", KEPT),
        ("What it costs", SPENT),
        ("Under filters", _filtered(rows)),
    )
    found = [
        Block(heading, [c for c in columns if any(c.cell(row) is not None for row in rows)])
        for heading, columns in groups
    ]
    return [block for block in found if block.columns]


# -- the forms ----------------------------------------------------------------


def _text(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Align: the method to the left, wrapped if need be, and numbers to the right."""
    cells = [[column.title for column in columns], *_cells(columns, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = max(NARROWEST, WIDTH - sum(widths) - len(GAP) * len(widths))
    methods = [["method"], *(_method(row, room) for row in rows)]
    widest = max(len(line) for lines in methods for line in lines)
    out = []
    for (first, *more), line in zip(methods, cells, strict=True):
        numbers = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        out += [GAP.join([first.ljust(widest), *numbers]).rstrip(), *more]
    return "\n".join(out)


def _method(row: Row, room: int) -> list[str]:
    return textwrap.wrap(label(row), room, subsequent_indent="  ") or [""]


def _markdown(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    lines = [
        ["method", *(column.title for column in columns)],
        *(
            [_escaped(label(row)), *cells]
            for row, cells in zip(rows, _cells(columns, rows), strict=True)
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = (
        [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    )
    head, *body = (f"| {' | '.join(line)} |" for line in aligned)
    return "\n".join([head, f"| {' | '.join(rule)} |", *body])


def _cells(columns: Sequence[Column], rows: Sequence[Row]) -> list[list[str]]:
    return [[column.cell(row) or "" for column in columns] for row in rows]


def _escaped(words: str) -> str:
    """Keep text from ending a Markdown cell or becoming HTML, a link or emphasis."""
    return "".join(f"\\{char}" if char in r"\|<>[]*_`&#" else char for char in words)
