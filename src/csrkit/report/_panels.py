"""The panels of a report's picture, each drawn into axes that somebody else placed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from csrkit.report._labels import Label, Style, place
from csrkit.report._look import CSR_LINES, FAINT, FAMILIES, INK, PAPER, STAIR
from csrkit.report.compose import Cost, Curve, Step, curves, ladder, one_line
from csrkit.report.types import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["cost_axis", "draw_budget", "short"]

STRETCH = 0.02  # recall r is drawn at the height -log(1 + STRETCH - r)
TICKS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
LONGEST = 30  # letters of a name in a picture
MARK, CSR_MARK = 7.0, 12.0  # widths in points
Points = list[tuple[float, float]]


# -- quality against a cost ---------------------------------------------------


def draw_budget(axes: Axes, rows: Sequence[Row], cost: Cost) -> None:
    """Draw recall@10 against a cost: a mark per row, a curve per name, a stair of the best.

    Args:
        axes: Empty, at their final size.
        rows: One or more.
        cost: `MEMORY` or `TIME`.
    """
    _recall_axis(axes, rows)
    left = cost_axis(axes, [cost.of(row) for row in rows])
    axes.set_xlabel(f"{_WORDS[cost.word]} (log scale)")
    stair = _draw_stair(axes, ladder(rows, cost))
    drawn = curves(rows)
    styles = iter(CSR_LINES * len(drawn))
    marks = [[(max(cost.of(r), left), r.recall10.value) for r in curve.rows] for curve in drawn]
    for curve, points in zip(drawn, marks, strict=True):
        line = next(styles) if curve.family == "csr" else "-"
        _draw_curve(axes, curve, points, line)
    place(
        axes,
        [_label(curve, points) for curve, points in zip(drawn, marks, strict=True)],
        lines=[*marks, *stair],
        style=Style(8.0, INK, FAINT),
    )


def _label(curve: Curve, points: Points) -> Label:
    is_csr = curve.family == "csr"
    reach = (CSR_MARK if is_csr else MARK) / 2 + 1
    return Label(short(curve.name), points, reach, strong=is_csr)


_WORDS = {
    "memory": "bytes per vector, all that must be kept",
    "time": "milliseconds per query, median, one thread",
}


def short(name: str) -> str:
    """Cut a name to what a picture has room for."""
    name = one_line(name)
    return name if len(name) <= LONGEST else name[: LONGEST - 1].rstrip() + "…"


def _draw_stair(axes: Axes, steps: Sequence[Step]) -> list[Points]:
    """Draw the best that each budget buys, to the right edge; return its treads."""
    left, right = axes.get_xlim()
    x = [*(max(step.start, left) for step in steps), right]
    y = [step.row.recall10.value for step in steps]
    axes.step(x, [*y, y[-1]], where="post", color=STAIR, linewidth=5, zorder=1)
    return [[(a, height), (b, height)] for (a, b), height in zip(pairwise(x), y, strict=True)]


def _draw_curve(axes: Axes, curve: Curve, points: Points, line: str) -> None:
    look = FAMILIES[curve.family]
    is_csr = curve.family == "csr"
    x, y = np.array(points).T
    lows = y - [row.recall10.low for row in curve.rows]
    highs = [row.recall10.high for row in curve.rows] - y
    axes.errorbar(
        x,
        y,
        yerr=np.clip([lows, highs], 0, None),
        color=look.colour,
        ecolor=look.colour,
        elinewidth=1.4,
        linestyle=line,
        linewidth=1.8 if is_csr else 1.0,
        marker=look.mark,
        markersize=CSR_MARK if is_csr else MARK,
        markeredgecolor=PAPER,
        markeredgewidth=0.7,
        zorder=4 if is_csr else 3,
    )
    for row, point in zip(curve.rows, points, strict=True):
        if is_csr and row.k is not None:
            _write_inside(axes, point, row.k)


def _write_inside(axes: Axes, point: tuple[float, float], k: int) -> None:
    axes.annotate(
        str(k),
        point,
        ha="center",
        va="center_baseline",
        color=PAPER,
        fontsize={1: 6.8, 2: 6.8, 3: 5.2}.get(len(str(k)), 3.8),
        fontweight="bold",
        zorder=5,
    )


# -- axes ---------------------------------------------------------------------


def _stretched(recall: ArrayLike) -> NDArray[np.float64]:
    return -np.log10(
        1 + STRETCH - np.minimum(np.asarray(recall, dtype=np.float64), 1 + STRETCH / 2)
    )


def _unstretched(height: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(1 + STRETCH - 10.0 ** -np.asarray(height, dtype=np.float64))


def _recall_axis(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_yscale("function", functions=(_stretched, _unstretched))
    lowest = min(row.recall10.low for row in rows)
    bottom, top = _stretched(lowest), _stretched(1.0)
    room = 0.06 * (top - bottom) + 0.02
    axes.set_ylim(*_unstretched([bottom - room, top + room]))
    shown = [tick for tick in TICKS if tick >= axes.get_ylim()[0]]
    axes.set_yticks(shown, [f"{tick:g}" for tick in shown])
    axes.set_yticks([], minor=True)
    axes.set_ylabel("recall@10 against exact search (stretched towards 1)")


def cost_axis(axes: Axes, values: Sequence[float], *, right: float = 0.09, most: int = 9) -> float:
    """Scale an axis by its logarithm, with plain numbers at 1, 2, 5, 10, ...

    Args:
        axes: Whose x axis it is.
        values: To be drawn.
        right: Room to the right of the largest, as a share of the axis.
        most: Numbers written, at most: those of decades, or of every second, third, ... one.

    Returns:
        The left end, where to draw what is not positive.
    """
    positive = [value for value in values if value > 0] or [1.0]
    spread = max(2.0, max(positive) / min(positive))
    low: float = min(positive) / spread**0.09
    high: float = max(positive) * spread**right
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        shown = [tick for tick in ticks if low <= tick <= high / (high / low) ** 0.06]
        if len(shown) <= most:
            break
    shown = shown[:: -(-len(shown) // most) or 1]
    axes.set_xticks(shown, [_plain(tick) for tick in shown])
    axes.set_xticks([], minor=True)
    return low


def _plain(tick: float) -> str:
    if tick >= 10_000:
        return f"{tick / 1000:,.0f}k"
    return f"{tick:,.0f}" if tick >= 1 else f"{tick:g}"
