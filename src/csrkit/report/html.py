"""A report as one page: the verdict in words, then pictures, then every number.

One file that needs nothing else: no script, no network, no font. It follows the
reader's choice of light or dark, fits a telephone, and prints. Whatever comes
from the report is escaped; nothing in it is trusted to be text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from xml.etree import ElementTree

from csrkit import __version__
from csrkit.report._look import FAINT, FAMILIES, GRID, INK, PAPER, STAIR
from csrkit.report.compose import (
    MEMORY,
    TIME,
    Cost,
    Step,
    conditions,
    one_line,
    standing,
    unbroken,
)
from csrkit.report.plot import Picture, pictures
from csrkit.report.table import Column, blocks
from csrkit.report.types import Report, Row
from csrkit.report.verdict import Findings, findings

__all__ = ["to_html"]

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_CSR_LINE = '<tr class="csr">'
# What matplotlib wrote as a colour becomes a name that the page's light and dark styles define.
_NAMES = {INK: "ink", FAINT: "faint", GRID: "grid", STAIR: "stair", PAPER: "paper"} | {
    look.colour: family for family, look in FAMILIES.items()
}


def to_html(report: Report, path: Path) -> None:
    """Write a report as one self-contained page.

    Args:
        report: Any; one without rows has a page without pictures.
        path: File to write; replaced if it exists.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    path.write_text(_page(report), encoding="utf-8")


def _page(report: Report) -> str:
    found = findings(report)
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        version=escape(__version__),
        title=escape(f"{one_line(report.title)}: {found.headline}"),
        subject=escape(one_line(report.title)),
        headline=_words(found.headline),
        opening="\n".join(f"<p>{_words(sentence)}</p>" for sentence in found.opening),
        conditions=escape(conditions(report)),
        advice=_advice(found),
        pictures=_pictures(report),
        rows="\n".join(_tables(report.rows)),
        how=_how(report),
    )


def _words(sentence: str) -> str:
    return escape(unbroken(sentence))


# -- what to use --------------------------------------------------------------


def _advice(found: Findings) -> str:
    """Lay out both ladders side by side, and the remarks."""
    if not found.memory:
        return ""
    ladders = "\n".join(
        _ladder(steps, cost) for steps, cost in ((found.memory, MEMORY), (found.time, TIME))
    )
    items = "\n".join(f"<li>{_words(remark)}</li>" for remark in found.remarks)
    return (
        '<section aria-labelledby="use">\n<h2 id="use">What to use</h2>\n'
        f'<div class="pair ladders">\n{ladders}\n</div>\n<ul>\n{items}\n</ul>\n</section>'
    )


def _ladder(steps: Sequence[Step], cost: Cost) -> str:
    other = TIME if cost is MEMORY else MEMORY
    head = _line(
        "th",
        [
            (f"from {cost.unit}", ""),
            ("use", "words"),
            ("recall@10", ""),
            (other.unit, ""),
            ("CSR", ""),
            ("against", "words rival"),
        ],
    )
    body = "\n".join(_step(step, cost, other) for step in steps)
    return (
        f'<div>\n<h3>By {cost.word}</h3>\n<div class="scroll"><table class="steps">\n'
        f"<caption>The best recall@10 for each budget, {cost.counted} {cost.per}.</caption>\n"
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n</div>"
    )


def _step(step: Step, cost: Cost, other: Cost) -> str:
    stands = standing(step)
    rival = step.ties[0] if stands == "ties" else step.rival
    against = "nothing that cheap" if rival is None else _named(rival, recall=True)
    cells = [
        (escape(_amount(step.start, cost)), ""),
        (_named(step.row), "words"),
        (f"{step.row.recall10.value:.3f}", ""),
        (escape(_amount(other.of(step.row), other)), ""),
        (f'<span class="stands {stands}">{stands}</span>', ""),
        (against, "words rival"),
    ]
    return _line("td", cells)


def _amount(value: float, cost: Cost) -> str:
    return cost.spell(value).removesuffix(f" {cost.unit}")


def _named(row: Row, *, recall: bool = False) -> str:
    found = f" {row.recall10.value:.3f}" if recall else ""
    setting = f' <span class="setting">{escape(one_line(row.setting))}</span>'
    name = f'<b class="{escape(row.family)}">{escape(one_line(row.name))}</b>'
    return f"{name}{setting if row.setting else ''}{found}"


def _line(tag: str, cells: Iterable[tuple[str, str]]) -> str:
    """Make a table row of cells that are HTML already, each with its classes."""
    scope = ' scope="col"' if tag == "th" else ""
    made = (
        f'<{tag}{scope} class="{classes}">{cell}</{tag}>'
        if classes
        else f"<{tag}{scope}>{cell}</{tag}>"
        for cell, classes in cells
    )
    return f"<tr>{''.join(made)}</tr>"


# -- pictures -----------------------------------------------------------------


def _pictures(report: Report) -> str:
    if not report.rows:
        return ""
    figures = "\n".join(
        f"<figure>{_inline(picture, f'p{order}-')}</figure>"
        for order, picture in enumerate(pictures(report), 1)
    )
    return (
        '<section aria-labelledby="pictures">\n<h2 id="pictures">In pictures</h2>\n'
        '<p class="faint">Up and to the left is better. The grey stair joins the best rows of '
        "every budget, bars are 95% intervals, and the table below has every number.</p>\n"
        f'<div class="pair">\n{figures}\n</div>\n</section>'
    )


def _inline(picture: Picture, prefix: str) -> str:
    """Make an SVG document part of a page: no prolog or metadata, its own ids, colours by name."""
    root = ElementTree.fromstring(picture.svg)
    for unwanted in ("metadata", "defs[style]"):  # that style is in page.html, for pictures only
        for element in root.findall(unwanted, {"": _SVG}):
            root.remove(element)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    for element in root.iter():
        _rename(element, prefix)
    root.set("role", "img")
    root.set("aria-label", picture.title)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    text = ElementTree.tostring(root, encoding="unicode")
    for colour, name in _NAMES.items():
        text = text.replace(colour, f"var(--{name})")
    return text


def _rename(element: ElementTree.Element, prefix: str) -> None:
    """Put a prefix before the id of an element and before those that it refers to."""
    for name, value in element.attrib.items():
        if name == "id":
            element.set(name, prefix + value)
        elif name == f"{{{_LINK}}}href":
            element.set(name, value.replace("#", f"#{prefix}", 1))
        else:
            element.set(name, value.replace("url(#", f"url(#{prefix}"))


# -- every number -------------------------------------------------------------


def _tables(rows: Sequence[Row]) -> Iterable[str]:
    for heading, columns in blocks(rows):
        yield _table(heading, columns, rows)


def _table(heading: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    head = _line("th", [("method", "words"), *((escape(c.title), "") for c in columns)])
    body = "\n".join(_row(row, columns) for row in rows)
    meanings = "".join(
        f"<dt>{escape(column.title)}</dt><dd>{escape(column.meaning)}</dd>" for column in columns
    )
    return (
        f'<h3>{heading}</h3>\n<div class="scroll rows"><table>\n'
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n<dl>{meanings}</dl>"
    )


def _row(row: Row, columns: Sequence[Column]) -> str:
    setting = f' <span class="setting">{escape(one_line(row.setting))}</span>'
    cells = "".join(f"<td>{escape(column.cell(row) or '')}</td>" for column in columns)
    return (
        f"{_CSR_LINE if row.family == 'csr' else '<tr>'}"
        f'<th scope="row" class="words">{escape(one_line(row.name))}'
        f"{setting if row.setting else ''}</th>{cells}</tr>"
    )


# -- conditions ---------------------------------------------------------------


def _how(report: Report) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in report.machine.packages)
    notes = [
        f"{conditions(report)}.",
        *([f"With {one_line(packages)}."] if packages else []),
        "A row is preferred only where it finds more than chance explains: by the 95% intervals "
        "of both, taken as independent. Where it does not, and the costs are within 10%, it is "
        "a tie.",
        *(one_line(note) for note in report.notes),
    ]
    return "<ul>\n" + "\n".join(f"<li>{escape(note)}</li>" for note in notes) + "\n</ul>"
