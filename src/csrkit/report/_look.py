"""How the pictures of a report look: colours, marks, and matplotlib's settings.

Families differ in colour (Okabe and Ito's, told apart by the colour-blind) and in
the shape of the mark, so that a picture can be read in grey as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from csrkit.errors import MissingExtra
from csrkit.report.types import Family

__all__ = ["CSR_LINES", "FAINT", "FAMILIES", "GRID", "INK", "PAPER", "STAIR", "Look", "quiet_style"]

INK, FAINT, GRID, STAIR, PAPER = "#1f2328", "#6b747e", "#e4e7eb", "#ccd2d9", "#fffffe"
CSR_LINES = ("-", "--", "-.", ":")  # of the CSR curves, in order


class Look(NamedTuple):
    """How a family is drawn.

    Attributes:
        words: Its name in the legend.
        colour: Of marks and lines.
        mark: matplotlib's letter for the shape.
    """

    words: str
    colour: str
    mark: str


FAMILIES: dict[Family, Look] = {
    "csr": Look("CSR, k inside", "#d55e00", "o"),
    "dense": Look("floats", "#4b535c", "s"),
    "scalar": Look("scalar quantiser", "#0072b2", "D"),
    "binary": Look("bits", "#cc79a7", "^"),
    "product": Look("product quantiser", "#009e73", "v"),
    "projection": Look("projection", "#9aa1a9", "X"),
    "graph": Look("graph", "#e69f00", "P"),
}

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 9.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",  # matplotlib brings it, so that a picture looks alike everywhere
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "svg.fonttype": "path",  # for the same reason
    "svg.hashsalt": "csrkit",  # the same report gives the same bytes
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": GRID,
    "xtick.labelcolor": FAINT,
    "xtick.labelsize": 8.5,
    "xtick.minor.size": 0,
    "ytick.color": GRID,
    "ytick.labelcolor": FAINT,
    "ytick.labelsize": 8.5,
    "ytick.minor.size": 0,
}


@contextmanager
def quiet_style() -> Iterator[None]:
    """Draw in csrkit's style, whatever the user's own is, and change nothing for good.

    Yields:
        Nothing; matplotlib is imported.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    try:
        from matplotlib import style
    except ImportError as error:
        raise MissingExtra("matplotlib", "report", "a picture of a report") from error
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in another script
        yield
