"""Where to write the names of points in a plot so that nothing covers anything else.

Each label may stand at several distances and directions from any of its anchors.
One after the other takes the place with the least penalty, given where the others
are; a few rounds of that settle. Far ones get a thin line to their anchor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["Label", "Style", "place"]

Floats: TypeAlias = "NDArray[np.float64]"

ROUNDS = 4
DISTANCES = (1.5, 5.0, 10.0, 18.0, 30.0, 46.0)  # from marker to text, in points
TURNS = 16  # directions
COVERED, CROSSED, OUTSIDE, AWAY = 12.0, 6.0, 1000.0, 0.5  # penalties
STRANGER = 4.0  # penalty per point that a foreign mark is nearer than its own, less a margin
MARGIN = 4.0  # points
TURNED = 0.7  # penalty for standing to the left instead of to the right
LEADER = 9.0  # points between marker and text from which on a line joins them


class Label(NamedTuple):
    """A text and what it may stand beside.

    Attributes:
        text: Shown as it is.
        anchors: Points in data coordinates, at least one.
        reach: Half the width of the marks there, in points.
        strong: In bold.
    """

    text: str
    anchors: Sequence[tuple[float, float]]
    reach: float
    strong: bool = False


class Style(NamedTuple):
    """How labels look.

    Attributes:
        size: Of the text, in points.
        ink: Colour of the text.
        line: Colour of the lines to anchors.
    """

    size: float
    ink: str
    line: str


class _Places(NamedTuple):
    """Where a label may stand, in points from the corner of the figure.

    Attributes:
        boxes: x0, y0, x1, y1, float64 (places, 4).
        anchors: What each belongs to, float64 (places, 2).
        gaps: From marker to text, float64 (places,).
        costs: What stands still in the way, float64 (places,).
    """

    boxes: Floats
    anchors: Floats
    gaps: Floats
    costs: Floats


def place(
    axes: Axes,
    labels: Sequence[Label],
    *,
    lines: Iterable[Sequence[tuple[float, float]]],
    style: Style,
) -> None:
    """Write labels into axes whose limits and size are final.

    Args:
        axes: Drawn so far.
        labels: To be written, if they have letters; none covers an anchor of its own or of another.
        lines: Polylines to be crossed as little as possible.
        style: Sizes and colours.
    """
    labels = [label for label in labels if label.text]
    marks = np.concatenate([np.empty((0, 4)), *(_marks(axes, label) for label in labels)])
    crossed = np.concatenate([np.empty((0, 2)), *(_sampled(_points(axes, x)) for x in lines)])
    anchors = [_points(axes, label.anchors) for label in labels]
    options = []
    for order, label in enumerate(labels):
        strangers = np.concatenate(
            [np.empty((0, 2)), *(one for o, one in enumerate(anchors) if o != order)]
        )
        places = _places(axes, label, style, marks, crossed)
        places.costs[:] += STRANGER * _nearer(places, strangers)
        options.append(places)
    for label, places, choice in zip(labels, options, _settled(options), strict=True):
        _write(axes, label, style, places, choice)


def _points(axes: Axes, data: Sequence[tuple[float, float]]) -> Floats:
    pixels = np.asarray(axes.transData.transform(np.reshape(data, (-1, 2))), dtype=np.float64)
    return pixels * (72 / axes.figure.dpi)  # (n, 2)


def _marks(axes: Axes, label: Label) -> Floats:
    points = _points(axes, label.anchors)
    return np.concatenate([points - label.reach, points + label.reach], axis=1)  # (n, 4)


def _sampled(line: Floats) -> Floats:
    """Turn a polyline into points about 3 points apart."""
    parts = [
        np.linspace(start, end, max(2, int(np.hypot(*(end - start)) / 3)))
        for start, end in pairwise(line)
    ]
    return np.concatenate([np.empty((0, 2)), *parts])


def _extent(label: Label, style: Style) -> Floats:
    """Measure a text in points: its width, and the height of a line of it."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(weight=_weight(label))
    box = TextPath((0, 0), label.text, size=style.size, prop=font).get_extents()
    return np.array([box.width, 1.05 * style.size])


def _places(axes: Axes, label: Label, style: Style, marks: Floats, crossed: Floats) -> _Places:
    """List the places of a label and what each would cover if the others were not there."""
    size = _extent(label, style)
    turns = np.arange(TURNS) * (2 * np.pi / TURNS)
    towards = np.stack([np.cos(turns), np.sin(turns)], axis=1)  # (turns, 2)
    # The box touches a circle around the anchor from outside; straight up, its middle does.
    edge = np.clip(towards * 1.6, -1, 1) * size / 2
    reach = label.reach + np.array(DISTANCES)[:, None, None]
    shifts = (towards * reach + edge).reshape(-1, 2)  # (distances * turns, 2)
    anchors = _points(axes, label.anchors)
    middles = (anchors[:, None] + shifts).reshape(-1, 2)
    boxes = np.concatenate([middles - size / 2, middles + size / 2], axis=1)
    gaps = np.tile(np.repeat(DISTANCES, TURNS), len(anchors))
    leftness = np.tile(1 - towards[:, 0], len(anchors) * len(DISTANCES))
    costs = (
        OUTSIDE * _outside(axes, boxes)
        + COVERED * _overlaps(boxes, marks).sum(axis=1)
        + CROSSED * np.sqrt(_inside(boxes, crossed))
        + AWAY * gaps
        + TURNED * leftness
    )
    return _Places(boxes, np.repeat(anchors, len(shifts), axis=0), gaps, costs)


def _outside(axes: Axes, boxes: Floats) -> Floats:
    x0, y0, x1, y1 = np.asarray(axes.bbox.extents) * (72 / axes.figure.dpi) + (2, 2, -2, -2)
    left, low, right, high = boxes.T
    return np.asarray((left < x0) | (low < y0) | (right > x1) | (high > y1), dtype=np.float64)


def _nearer(places: _Places, strangers: Floats) -> Floats:
    """Say how much nearer the nearest foreign mark is than a place's own, float64 (places,)."""

    def distance(points: Floats) -> Floats:
        nearest = np.clip(points, places.boxes[:, None, :2], places.boxes[:, None, 2:])
        far: Floats = np.linalg.norm(nearest - points, axis=2)
        return far  # (places, points)

    if not len(strangers):
        return np.zeros(len(places.boxes))
    own = distance(places.anchors[:, None])[:, 0]
    foreign: Floats = distance(strangers[None]).min(axis=1)
    return np.maximum(own + MARGIN - foreign, 0)


def _overlaps(boxes: Floats, others: Floats) -> Floats:
    """Return the overlap of each box with each other, as its shorter side, (boxes, others)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: Floats = np.clip(high - low, 0, None)
    sides: Floats = shared.min(axis=2)
    return sides


def _inside(boxes: Floats, points: Floats) -> Floats:
    """Count the points in each box."""
    over: NDArray[np.bool_] = (points[None] > boxes[:, None, :2]) & (
        points[None] < boxes[:, None, 2:]
    )
    counts: Floats = over.all(axis=2).sum(axis=1).astype(np.float64)
    return counts


def _settled(options: Sequence[_Places]) -> list[int]:
    """Move one label at a time to its best place until the rounds are over."""
    chosen = [int(np.argmin(places.costs)) for places in options]
    for _ in range(ROUNDS):
        for label, places in enumerate(options):
            taken = [options[o].boxes[c] for o, c in enumerate(chosen) if o != label]
            if taken:
                others = np.array(taken) + np.array([-2, -1, 2, 1])
                covered = _overlaps(places.boxes, others).sum(axis=1)
                chosen[label] = int(np.argmin(places.costs + 3 * COVERED * covered))
    return chosen


def _weight(label: Label) -> str:
    return "bold" if label.strong else "normal"


def _write(axes: Axes, label: Label, style: Style, places: _Places, choice: int) -> None:
    box, anchor = places.boxes[choice], places.anchors[choice]
    x, y = axes.transData.inverted().transform(anchor / (72 / axes.figure.dpi))
    if places.gaps[choice] >= LEADER:
        to_x, to_y = np.clip(anchor, box[:2], box[2:]) - anchor
        axes.annotate(
            "",
            xy=(x, y),
            xytext=(to_x, to_y),
            textcoords="offset points",
            arrowprops={
                "arrowstyle": "-",
                "color": style.line,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": label.reach,
            },
        )
    dx, dy = (box[:2] + box[2:]) / 2 - anchor
    axes.annotate(
        label.text,
        xy=(x, y),
        xytext=(dx, dy),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=style.size,
        fontweight=_weight(label),
        color=style.ink,
        zorder=6,
    )
