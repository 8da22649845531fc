"""A report as a picture: quality against memory and against time, and what else it costs.

Above, two panels of one form: recall@10 against a cost, one mark per row, CSR as
curves with k inside the marks, and a grey stair through the best row of each
budget. Below, one line per method: build time, resident memory, and recall and
time without a filter and under filters; a long line there is a cliff.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from csrkit.errors import ConfigError
from csrkit.report._costs import Panel, draw_panel, panels, shares, shown, write_methods
from csrkit.report._look import FAINT, FAMILIES, INK, PAPER, STAIR, quiet_style
from csrkit.report._panels import draw_budget
from csrkit.report._remarks import building_title, filters_title
from csrkit.report.compose import MEMORY, TIME, Cost, conditions, one_line, spell_share, unbroken
from csrkit.report.types import Report, Row
from csrkit.report.verdict import budget_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["Picture", "pictures", "plot"]

LINE = 0.32  # inches per method in the lower panels
WIDE, NARROW = 62, 52  # letters per line of a title


class Picture(NamedTuple):
    """One picture of a page.

    Attributes:
        title: The finding, also drawn into the picture.
        svg: A whole SVG document.
    """

    title: str
    svg: str


def plot(report: Report, path: Path) -> None:
    """Draw a report and write the picture.

    Args:
        report: With one row or more.
        path: File to write; .png, .svg, .pdf or another ending that matplotlib knows.

    Raises:
        ConfigError: If the report has no rows, or the ending is of no picture.
        MissingExtra: If matplotlib is not installed.
    """
    if not report.rows:
        raise ConfigError("expected a report with rows, got one without: there is nothing to draw")
    with quiet_style():
        figure = _whole(report)
        known = figure.canvas.get_supported_filetypes()
        if path.suffix.lstrip(".").lower() not in known:
            raise ConfigError(
                f"expected a file that ends in one of {', '.join(sorted(known))}, "
                f"got {path.name!r}: call plot('pareto.png')"
            )
        figure.savefig(path, dpi=160)


def pictures(report: Report) -> list[Picture]:
    """Draw the panels of a report one by one, each for half the width of a page.

    Args:
        report: With one row or more.

    Returns:
        Quality by memory, quality by time, then the other costs two by two.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    with quiet_style():
        methods = shown(report.rows)
        found = [_budget_picture(report.rows, cost) for cost in (MEMORY, TIME)]
        every = panels(methods)
        pairs = [every[start : start + 2] for start in range(0, len(every), 2)]
        return found + [_costs_picture(methods, pair) for pair in pairs]


# -- the whole picture --------------------------------------------------------


def _whole(report: Report) -> Figure:
    """Lay everything out, in inches from the top."""
    methods = shown(report.rows)
    columns = panels(methods)
    below = 7.95  # where the lower panels start
    sheet = _Sheet(12.5, below + LINE * len(methods) + 0.75)
    sheet.write(0.36, one_line(report.title), size=15, weight="bold")
    sheet.write(0.64, conditions(report), size=9, colour=FAINT)
    for axes, cost in zip(
        sheet.row(2, (1.45, 6.2), left=0.058, gap=0.15), (MEMORY, TIME), strict=True
    ):
        axes.set_title(_wrapped(budget_title(report.rows, cost), WIDE))
        draw_budget(axes, report.rows, cost)
    sheet.legend(6.95, _families(report.rows), columns=9)
    sheet.write(
        7.45, f"{filters_title(methods)} (the fastest method on top)", size=10.5, weight="bold"
    )
    ends = (below, below + LINE * len(methods))
    _draw_costs(sheet.row(len(columns), ends, left=0.155, gap=0.08), methods, columns)
    sheet.legend(ends[1] + 0.5, _filters(shares(methods)), columns=4)
    return sheet.figure


def _budget_picture(rows: Sequence[Row], cost: Cost) -> Picture:
    title = budget_title(rows, cost)
    sheet = _Sheet(5.5, 5.75)
    (axes,) = sheet.row(1, (0.62, 4.6), left=0.115, gap=0)
    axes.set_title(_wrapped(title, NARROW))
    draw_budget(axes, rows, cost)
    sheet.legend(5.4, _families(rows), columns=3)
    return Picture(title, sheet.svg())


def _costs_picture(methods: Sequence[Row], pair: Sequence[Panel]) -> Picture:
    filters = any(panel.spell is None for panel in pair)
    title = filters_title(methods) if filters else building_title(methods)
    end = 0.95 + LINE * len(methods)
    sheet = _Sheet(5.5, end + 0.75)
    sheet.write(0.3, _wrapped(title, NARROW), size=10.5, weight="bold")
    _draw_costs(sheet.row(len(pair), (0.95, end), left=0.36, gap=0.1), methods, pair)
    if filters:
        sheet.legend(end + 0.5, _filters(shares(methods)), columns=4)
    return Picture(title, sheet.svg())


def _draw_costs(row: Sequence[Axes], methods: Sequence[Row], columns: Sequence[Panel]) -> None:
    for axes, panel in zip(row, columns, strict=True):
        draw_panel(axes, methods, panel)
    write_methods(row[0], methods)


def _wrapped(words: str, letters: int) -> str:
    return textwrap.fill(unbroken(words), letters)


# -- legends ------------------------------------------------------------------


def _families(rows: Sequence[Row]) -> list[Line2D]:
    """Name the families that are there, the stair and the bars."""
    from matplotlib.lines import Line2D

    present = {row.family for row in rows}
    marks = [
        Line2D([], [], linestyle="", marker=look.mark, color=look.colour, label=look.words)
        for family, look in FAMILIES.items()
        if family in present
    ]
    stair = Line2D([], [], color=STAIR, linewidth=5, label="best at each budget")
    bar = Line2D([], [], linestyle="", marker="|", color=FAINT, label="95% interval")
    return [*marks, stair, bar]


def _filters(kept: Sequence[float]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    words = ["no filter", *(f"filter keeps {spell_share(share)}" for share in kept)]
    return [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=8.0 - 1.8 * order,
            color=FAINT,
            markerfacecolor=PAPER if order else FAINT,
            label=text,
        )
        for order, text in enumerate(words if kept else [])
    ]


class _Sheet:
    """A figure measured in inches from its top."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(width, height))
        self._height = height

    def row(self, count: int, ends: tuple[float, float], *, left: float, gap: float) -> list[Axes]:
        grid = self.figure.add_gridspec(
            1,
            count,
            left=left,
            right=0.985,
            wspace=gap,
            top=1 - ends[0] / self._height,
            bottom=1 - ends[1] / self._height,
        )
        return [self.figure.add_subplot(grid[0, column]) for column in range(count)]

    def write(
        self, down: float, words: str, *, size: float, weight: str = "normal", colour: str = INK
    ) -> None:
        self.figure.text(
            0.015,
            1 - down / self._height,
            words,
            fontsize=size,
            fontweight=weight,
            color=colour,
            va="center",
        )

    def legend(self, down: float, handles: Sequence[Line2D], *, columns: int) -> None:
        if handles:
            self.figure.legend(
                handles=handles,
                loc="center",
                bbox_to_anchor=(0.5, 1 - down / self._height),
                ncols=columns,
                frameon=False,
                fontsize=8.5,
                labelcolor=FAINT,
                handletextpad=0.5,
                columnspacing=1.4,
            )

    def svg(self) -> str:
        text = io.StringIO()
        self.figure.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()
