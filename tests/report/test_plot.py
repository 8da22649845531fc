"""Pictures: what is drawn is the rows, nothing covers anything, and nothing global changes."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from csrkit.errors import ConfigError, MissingExtra
from csrkit.report import Report, Row
from csrkit.report._costs import draw_panel, panels, shown
from csrkit.report._labels import Label, Style, place
from csrkit.report._look import FAMILIES, quiet_style
from csrkit.report._panels import cost_axis, draw_budget
from csrkit.report.compose import MEMORY, TIME, Cost, clearly_more, curves
from csrkit.report.plot import _whole, pictures

MadeRow = Callable[..., Row]
MadeReport = Callable[..., Report]
BOTH = pytest.mark.parametrize("cost", [MEMORY, TIME], ids=["memory", "time"])


def _axes(width: float = 5.5, height: float = 5.0) -> Axes:
    return Figure(figsize=(width, height)).subplots()


def _texts(axes: Axes) -> list[Text]:
    return [text for text in axes.texts if text.get_text()]


def _boxes(texts: list[Text], figure: Figure) -> list[Bbox]:
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [text.get_window_extent(renderer) for text in texts]


def _overlap(one: Bbox, other: Bbox) -> float:
    """Pixels that two boxes share on their shorter side."""
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else min(shared.width, shared.height)


@BOTH
def test_every_row_is_drawn_where_it_belongs(realistic: Report, cost: Cost) -> None:
    with quiet_style():
        axes = _axes()
        draw_budget(axes, realistic.rows, cost)
    drawn = {
        (x, y)
        for container in axes.containers
        for x, y in np.asarray(container.lines[0].get_xydata(), dtype=float).tolist()
    }
    assert drawn == {(cost.of(row), row.recall10.value) for row in realistic.rows}
    bars = [bar for container in axes.containers for bar in container.lines[2][0].get_segments()]
    ends = {(round(bar[0][1], 9), round(bar[1][1], 9)) for bar in bars}
    intervals = [row.recall10 for row in realistic.rows]
    assert ends == {(round(one.low, 9), round(one.high, 9)) for one in intervals}


@BOTH
def test_marks_and_names_are_inside_the_frame(realistic: Report, cost: Cost) -> None:
    with quiet_style():
        axes = _axes()
        draw_budget(axes, realistic.rows, cost)
        frame = axes.get_window_extent()
        for box in _boxes(_texts(axes), axes.figure):
            assert frame.x0 <= box.x0 < box.x1 <= frame.x1
            assert frame.y0 - 1 <= box.y0 < box.y1 <= frame.y1 + 1


@BOTH
@pytest.mark.parametrize("width", [5.5, 6.3])
def test_no_name_covers_another(realistic: Report, cost: Cost, width: float) -> None:
    with quiet_style():
        axes = _axes(width)
        draw_budget(axes, realistic.rows, cost)
        names = {curve.name for curve in curves(realistic.rows)}
        texts = [text for text in _texts(axes) if text.get_text() in names]
        assert len(texts) == len(names)
        pairs = itertools.combinations(_boxes(texts, axes.figure), 2)
        assert max(_overlap(one, other) for one, other in pairs) < 1


def test_a_name_is_nearest_to_its_own_mark() -> None:
    """Two marks side by side: each name goes to the free side of its own."""
    with quiet_style():
        axes = _axes()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        points = {"left one": (0.5, 0.5), "right one": (0.53, 0.49)}
        labels = [Label(name, [point], 4) for name, point in points.items()]
        place(axes, labels, lines=[], style=Style(8, "black", "grey"))
        boxes = _boxes(_texts(axes), axes.figure)
    for box, own in zip(boxes, points, strict=True):
        distances = {}
        for name, point in points.items():
            x, y = axes.transData.transform(point)
            distances[name] = np.hypot(
                x - np.clip(x, box.x0, box.x1), y - np.clip(y, box.y0, box.y1)
            )
        assert min(distances, key=distances.__getitem__) == own


def test_names_crowded_at_one_spot_are_spread() -> None:
    """Twenty names that all want the same place: the placer can fail, and does not."""
    with quiet_style():
        axes = _axes()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        labels = [Label(f"name {i}", [(0.5, 0.5 + 0.004 * i)], 4) for i in range(20)]
        place(axes, labels, lines=[], style=Style(8, "black", "grey"))
        boxes = _boxes(_texts(axes), axes.figure)
    assert len(boxes) == 20
    assert max(_overlap(*pair) for pair in itertools.combinations(boxes, 2)) < 1


def test_k_is_written_in_every_csr_mark(realistic: Report) -> None:
    with quiet_style():
        axes = _axes()
        draw_budget(axes, realistic.rows, MEMORY)
    written = sorted(text.xy for text in _texts(axes) if text.get_text().isdigit())
    rows = [row for row in realistic.rows if row.k is not None]
    assert written == sorted((row.bytes_per_vector, row.recall10.value) for row in rows)


def test_the_stair_is_the_best_of_each_budget(realistic: Report) -> None:
    with quiet_style():
        axes = _axes()
        draw_budget(axes, realistic.rows, MEMORY)
        stair = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    x, y = np.asarray(stair.get_xydata(), dtype=float).T
    recalls = {row.recall10.value: row.recall10 for row in realistic.rows}
    for row in realistic.rows:
        held = recalls[y[x <= row.bytes_per_vector][-1]]
        assert not clearly_more(row.recall10, held)
    assert list(y) == sorted(y)


def test_families_differ_in_colour_and_shape_and_in_grey() -> None:
    looks = list(FAMILIES.values())
    assert len({look.mark for look in looks}) == len({look.colour for look in looks}) == len(looks)
    paper = mpl.colors.to_rgb("#fffffe")
    for look in looks:
        assert np.abs(np.subtract(mpl.colors.to_rgb(look.colour), paper)).max() > 0.3


def test_what_else_it_costs_is_drawn_per_method(realistic: Report) -> None:
    rows = shown(realistic.rows)
    assert [row.ms_p50 for row in rows] == sorted(row.ms_p50 for row in rows)
    assert {row.name for row in rows} == {row.name for row in realistic.rows}
    build, memory, recall, time = panels(rows)
    hnsw = next(row for row in rows if row.name == "hnsw int8")
    assert build.values(hnsw) == [7.0]
    assert memory.values(hnsw) == [hnsw.resident_bytes]
    assert recall.values(hnsw) == [hnsw.recall10.value, *(cell.recall for cell in hnsw.filtered)]
    assert time.values(hnsw) == [hnsw.ms_p50, *(cell.ms_p50 for cell in hnsw.filtered)]
    with quiet_style():
        axes = _axes()
        draw_panel(axes, rows, time)
    height = rows.index(hnsw)
    marks = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [height]]
    assert marks == time.values(hnsw)


def test_panels_without_values_are_left_out(made_row: MadeRow) -> None:
    rows = [made_row(filtered=(), resident_bytes=None)]
    assert [panel.title for panel in panels(rows)] == ["Build time, s"]


def test_titles_and_legends_stay_on_the_sheet(realistic: Report) -> None:
    with quiet_style():
        figure = _whole(realistic)
        box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    assert box is not None
    width, height = figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG\r\n"), ("PDF", b"%PDF-"), ("svg", b"<?xml")]
)
def test_the_ending_chooses_the_format(
    made_report: MadeReport, made_row: MadeRow, tmp_path: Path, ending: str, start: bytes
) -> None:
    path = tmp_path / f"pareto.{ending}"
    made_report(made_row(k=8), made_row("int8", "scalar", size=400)).plot(path)
    assert path.read_bytes().startswith(start)


def test_an_unknown_ending_and_a_report_without_rows_are_refused(
    made_report: MadeReport, made_row: MadeRow, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"ends in one of .*png.*, got 'pareto.docx'"):
        made_report(made_row()).plot(tmp_path / "pareto.docx")
    with pytest.raises(ConfigError, match="nothing to draw"):
        made_report().plot(tmp_path / "pareto.png")
    assert not list(tmp_path.iterdir())


def test_matplotlib_is_asked_for(
    made_report: MadeReport, made_row: MadeRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r'pip install "csrkit\[report\]"'):
        made_report(made_row()).plot(tmp_path / "pareto.png")


def test_the_users_own_style_is_neither_used_nor_changed(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    report = made_report(made_row(k=8), made_row("int8", "scalar", size=400))
    plain = pictures(report)  # a second time, the same bytes are made
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "text.usetex": True}):
        before = dict(mpl.rcParams)
        assert pictures(report) == plain
        assert dict(mpl.rcParams) == before


def test_any_name_can_be_drawn(made_report: MadeReport, made_row: MadeRow, tmp_path: Path) -> None:
    """Mathematics that is none, another script, nothing at all, and a very long name."""
    names = [r"$\frac{", "索引", "", "x" * 500, "_\n%&"]
    rows = [made_row(name, "dense", name, size=100 + i) for i, name in enumerate(names)]
    made_report(*rows, title=r"$\sum 索").plot(tmp_path / "names.png")
    assert (tmp_path / "names.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "changes",
    [
        {"recall": 1.0},
        {"recall": 0.0, "half": 0},
        {"ms": 0.0, "build": 0.0},
        {"size": 1e9, "ms": 1e6},
        {"k": 12345},
    ],
    ids=["exact", "nothing found", "no time", "large", "long k"],
)
def test_extremes_can_be_drawn(
    made_report: MadeReport, made_row: MadeRow, changes: dict[str, float], tmp_path: Path
) -> None:
    made_report(made_row(**changes)).plot(tmp_path / "one.png")
    made_report(made_row(**changes), made_row("int8", "scalar")).plot(tmp_path / "two.png")


@pytest.mark.parametrize("decades", [1, 4, 7, 12])
def test_a_cost_axis_has_few_numbers_apart(decades: int) -> None:
    axes = Figure().subplots()
    cost_axis(axes, [2e-4, 2e-4 * 10**decades], most=4)
    ticks = axes.get_xticks()
    assert 2 <= len(ticks) <= 4
    steps = np.diff(np.log10(ticks))
    assert steps.max() < 2 * steps.min() + 1e-9  # 1, 2, 5, 10 at the finest
