"""The page, parsed: it needs nothing else, holds every number, and believes no name."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from csrkit.report import Report, Row
from csrkit.report.table import blocks

MadeRow = Callable[..., Row]
MadeReport = Callable[..., Report]
VOID = {"meta"}


class Page(HTMLParser):
    """A page as its tags, attributes and text; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: dict[str, list[str]] = {}
        self.tables: list[list[list[str]]] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.words.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            self.words[tag][-1] += data
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def _page(report: Report, folder: Path) -> tuple[str, Page]:
    report.to_html(folder / "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_a_realistic_page(realistic: Report, tmp_path: Path) -> None:
    """One page is made, as making it takes a while, and looked at from all sides."""
    text, page = _page(realistic, tmp_path)
    _needs_nothing_else(text, page)
    _says_first_where_csr_loses(page, realistic)
    _holds_every_number(page, realistic)
    _follows_the_readers_colours(text)
    _names_its_pictures(page)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def _needs_nothing_else(text: str, page: Page) -> None:
    assert not {"script", "link", "iframe", "img", "object", "embed", "base", "image"} & set(
        page.tags
    )
    for name, value in page.attributes:
        assert name not in {"src", "srcset", "action", "data"}
        assert not name.startswith("on")
        if name.endswith("href"):
            assert value.startswith("#")
        for target in re.findall(r"url\(([^)]*)\)", value):
            assert target.startswith("#")
    (style,) = page.words["style"]
    assert "url(" not in style
    assert "@import" not in style
    assert re.findall(r"https?://[^\s\"<]+", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)) == []
    assert page.comments == []


def _says_first_where_csr_loses(page: Page, report: Report) -> None:
    (headline,) = page.words["h1"]
    assert headline.startswith("CSR is the best choice")
    subject, first, second, *_ = page.words["p"]
    assert subject == report.title
    plain = [words.replace("\u00a0", " ") for words in (first, second)]
    assert plain == report.verdict()[:2]
    remarks = {words.replace("\u00a0", " ") for words in page.words["li"]}
    told = [line for line in report.verdict()[2:] if not line.startswith("From ")]
    assert set(told) <= remarks


def _holds_every_number(page: Page, report: Report) -> None:
    by_memory, by_time, *tables = page.tables
    assert [line[0] for line in by_memory][:3] == ["from B", "48", "72"]
    assert [line[0] for line in by_time][:3] == ["from ms", "0.050", "0.13"]
    assert {line[4] for line in by_memory[1:]} == {"wins", "loses"}
    for table, (_, columns) in zip(tables, blocks(report.rows), strict=True):
        head, *lines = table
        assert head == ["method", *(column.title for column in columns)]
        for line, row in zip(lines, report.rows, strict=True):
            assert line[0] == f"{row.name} {row.setting}".strip()
            assert line[1:] == [column.cell(row) or "" for column in columns]


def _follows_the_readers_colours(text: str) -> None:
    """No picture has a colour of its own, and each name is defined in light, dark and print."""
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        assert re.findall(r"(?<!href=\")#[0-9a-fA-F]{6}\b", picture) == []
    used = set(re.findall(r"var\((--[a-z]+)\)", text))
    style = text[text.index("<style>") : text.index("</style>")]
    light, dark, printed = (part.partition("}")[0] for part in style.split(":root {")[1:])
    for part in (light, dark, printed):
        assert used <= set(re.findall(r"(--[a-z]+):", part))


def _names_its_pictures(page: Page) -> None:
    attributes = page.attributes
    labels = [value for name, value in attributes if name == "aria-label"]
    assert len(labels) == 4
    assert labels[0].startswith("By memory, CSR is the best choice")
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for name, value in attributes if name.endswith("href")}
    clips = {part for _, value in attributes for part in re.findall(r"url\(#([^)]*)\)", value)}
    assert targets | clips <= set(ids)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "--><b>&lt;&amp;]]>",
    "$title ${rows} $$ %s {0}",
    "</svg></title></style><iframe>",
    "\u202e\x00\x1b[31m\ud800",
]


def test_no_name_is_believed(made_report: MadeReport, made_row: MadeRow, tmp_path: Path) -> None:
    rows = [
        made_row(name, "scalar", name, size=100 + i, recall=0.5 + i / 20)
        for i, name in enumerate(HOSTILE)
    ]
    csr = made_row(HOSTILE[0] + "csr", "csr", HOSTILE[1], k=8, size=300, recall=0.97)
    calm = made_report(made_row("a", "scalar"), made_row(k=8), title="t", notes=("n",))
    _, quiet = _page(calm, tmp_path)
    text, page = _page(made_report(*rows, csr, title=HOSTILE[0], notes=tuple(HOSTILE)), tmp_path)
    assert set(page.tags) <= set(quiet.tags)
    _needs_nothing_else(text, page)
    assert page.words["title"][0].startswith(HOSTILE[0])
    methods = [line[0] for line in page.tables[2][1:]]
    assert methods[:5] == [f"{name} {name}" for name in HOSTILE[:5]]
    assert "\x1b" not in text


@pytest.mark.parametrize("family", ["csr", "scalar"])
def test_one_row_has_a_page(
    made_report: MadeReport, made_row: MadeRow, tmp_path: Path, family: str
) -> None:
    _, page = _page(made_report(made_row("alone", family)), tmp_path)
    assert page.words["h1"] == ["Only alone was measured"]
    assert page.tags.count("svg") == 4
    assert "What to use" not in page.words["h2"]


def test_no_rows_have_a_page(made_report: MadeReport, tmp_path: Path) -> None:
    _, page = _page(made_report(), tmp_path)
    assert page.words["h1"] == ["Nothing was measured"]
    assert "svg" not in page.tags


def test_a_tie_is_shown_as_one(made_report: MadeReport, made_row: MadeRow, tmp_path: Path) -> None:
    report = made_report(
        made_row(size=100, recall=0.870), made_row("opq", "product", size=104, recall=0.868)
    )
    _, page = _page(report, tmp_path)
    step = page.tables[0][1]
    assert step[4] == "ties"
    assert step[5].startswith("opq")
