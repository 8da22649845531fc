"""What a method costs besides bytes and time: one line each, small panels side by side.

Build time, resident memory, and recall and time without a filter and under
filters. Where filters do harm, the marks of a line lie far apart: a cliff.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from csrkit.report._look import FAINT, FAMILIES, INK, PAPER
from csrkit.report._panels import cost_axis
from csrkit.report.compose import curves, number, one_line, typical
from csrkit.report.types import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Panel", "draw_panel", "panels", "shares", "shown", "write_methods"]

LONGEST = 30  # letters of a method's name, and of its setting


class Panel(NamedTuple):
    """One measurement of every method.

    Attributes:
        title: With its unit.
        values: Of a row: one, or one without a filter and one per share, None
            where it was not measured.
        spell: A value in words, to be written beside its mark; None where
            several marks share a line.
        log: Draw its logarithm.
    """

    title: str
    values: Callable[[Row], list[float | None]]
    spell: Callable[[float], str] | None
    log: bool


def shown(rows: Sequence[Row]) -> list[Row]:
    """Choose one row per method, the fastest method first."""
    return sorted((typical(curve) for curve in curves(rows)), key=lambda row: row.ms_p50)


def shares(rows: Sequence[Row]) -> list[float]:
    """Return the shares that filters kept, the largest first."""
    return sorted({cell.share for row in rows for cell in row.filtered}, reverse=True)


def panels(rows: Sequence[Row]) -> list[Panel]:
    """Choose the panels that the rows have values for.

    Args:
        rows: One or more, as `shown` gives them.

    Returns:
        Build time first; then memory, recall and time under filters where measured.
    """
    kept = shares(rows)
    found = [Panel("Build time, s", lambda row: [row.build_seconds], number, True)]
    if any(row.resident_bytes is not None for row in rows):
        found.append(
            Panel("Memory in use, B/vector", lambda row: [row.resident_bytes], number, True)
        )
    if kept:
        found += [
            Panel("Recall@10 under filters", lambda row: _recalls(row, kept), None, False),
            Panel("Time under filters, ms", lambda row: _times(row, kept), None, True),
        ]
    return found


def _recalls(row: Row, kept: Sequence[float]) -> list[float | None]:
    by_share = {cell.share: cell.recall for cell in row.filtered}
    return [row.recall10.value, *(by_share.get(share) for share in kept)]


def _times(row: Row, kept: Sequence[float]) -> list[float | None]:
    by_share = {cell.share: cell.ms_p50 for cell in row.filtered}
    return [row.ms_p50, *(by_share.get(share) for share in kept)]


# -- drawing ------------------------------------------------------------------


def write_methods(axes: Axes, rows: Sequence[Row]) -> None:
    """Name the lines to the left of the first panel, each with its setting below."""
    for height, row in enumerate(rows):
        setting = _cut(one_line(row.setting))
        weight = "bold" if row.family == "csr" else "normal"
        _write_left(axes, height, 4.5 if setting else 0, _cut(one_line(row.name)), 8.5, INK, weight)
        _write_left(axes, height, -5.5, setting, 7.5, FAINT, "normal")


def _cut(words: str) -> str:
    return words if len(words) <= LONGEST else words[: LONGEST - 1].rstrip(" ,") + "…"


def _write_left(
    axes: Axes, height: int, up: float, words: str, size: float, colour: str, weight: str
) -> None:
    axes.annotate(
        words,
        (0, height),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-8, up),
        textcoords="offset points",
        ha="right",
        va="center_baseline",
        fontsize=size,
        fontweight=weight,
        color=colour,
        annotation_clip=False,
    )


def draw_panel(axes: Axes, rows: Sequence[Row], panel: Panel) -> None:
    """Draw one measurement, a line per row.

    Args:
        axes: Empty.
        rows: As `shown` gives them.
        panel: Of `panels`.
    """
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(panel.title, fontsize=9)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    values = [[value for value in panel.values(row) if value is not None] for row in rows]
    every = [value for line in values for value in line]
    if panel.log:
        left = cost_axis(axes, every, right=0.35 if panel.spell else 0.09, most=4)
    else:
        left = min(every)
        axes.set_xlim(left - 0.06 * (1 - left) - 0.01, 1 + 0.06 * (1 - left) + 0.01)
    for height, (row, line) in enumerate(zip(rows, values, strict=True)):
        _draw_line(axes, height, row, [max(value, left) for value in line])
        if panel.spell and line:
            _write_beside(axes, height, max(line[0], left), panel.spell(line[0]))


def _draw_line(axes: Axes, height: int, row: Row, values: Sequence[float]) -> None:
    """Draw a filled mark without a filter, and the paler and smaller the fewer points are kept."""
    look = FAMILIES[row.family]
    axes.axhline(height, color=FAINT, alpha=0.18, linewidth=0.6, zorder=0)
    axes.plot(values, [height] * len(values), color=look.colour, linewidth=1.6, zorder=2)
    for order, value in enumerate(values):
        axes.plot(
            [value],
            [height],
            color=look.colour,
            marker="o" if order else look.mark,
            markersize=8.0 - 1.8 * order,
            markerfacecolor=PAPER if order else look.colour,
            markeredgecolor=look.colour,
            markeredgewidth=1.4 if order else 0.7,
            zorder=3 + len(values) - order,
        )


def _write_beside(axes: Axes, height: int, value: float, words: str) -> None:
    axes.annotate(
        words,
        (value, height),
        xytext=(7, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=8,
        color=INK,
    )
