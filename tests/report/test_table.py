"""The tables as a reader sees them, parsed back and compared with the rows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from csrkit.metrics import Interval
from csrkit.report import Report, Row

MadeRow = Callable[..., Row]
MadeReport = Callable[..., Report]


def _parsed(markdown: str) -> list[list[dict[str, str]]]:
    """Read Markdown tables by the rules of GitHub: cells between unescaped bars."""
    tables: list[list[dict[str, str]]] = []
    head: list[str] = []
    for line in markdown.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not head:
            head = cells
            tables.append([])
        elif not set("".join(cells)) <= set("-:"):
            tables[-1].append(dict(zip(head, cells, strict=True)))
    return tables


def _number(cell: str) -> float:
    return float(cell.split(" ±")[0].replace(",", ""))


def test_markdown_holds_every_number(realistic: Report) -> None:
    found, kept, spent, filtered = _parsed(realistic.table("markdown"))
    for row, a, b, c, d in zip(realistic.rows, found, kept, spent, filtered, strict=True):
        assert a["method"].startswith(row.name)
        assert row.setting in a["method"]
        assert _number(a["recall@10"]) == pytest.approx(row.recall10.value, abs=5e-4)
        assert _number(a["@100"]) == pytest.approx(row.recall100.value, abs=5e-4)
        assert row.ndcg10 is not None
        assert _number(a["nDCG@10"]) == pytest.approx(row.ndcg10.value, abs=5e-4)
        half = float(a["recall@10"].split("±")[1])
        assert half == pytest.approx(row.recall10.value - row.recall10.low, abs=6e-4)
        assert _number(b["bytes"]) == pytest.approx(row.bytes_per_vector, abs=0.5)
        assert (b["retained"] == "") == (row.retained_bytes == 0)
        assert _number(c["build s"]) == pytest.approx(row.build_seconds, rel=0.05)
        assert _number(c["p50 ms"]) == pytest.approx(row.ms_p50, rel=0.05)
        assert (c["postings"] == "") == (row.posting_cost is None)
        assert _number(d["at 1%"]) == pytest.approx(row.filtered[1].recall, abs=5e-4)
        assert _number(d["ms at 10%"]) == pytest.approx(row.filtered[0].ms_p50, rel=0.05)


def test_text_is_aligned_and_fits_100_columns(realistic: Report) -> None:
    lines = realistic.table().splitlines()
    assert max(map(len, lines)) <= 100
    heads = [i for i, line in enumerate(lines) if line.startswith("method ")]
    assert len(heads) == 4
    for head in heads:
        # Every number ends under the last letter of a title.
        ends = {match.end() for match in re.finditer(r"\S+( ms| kB| s)?(?=  |$)", lines[head])}
        for line in lines[head + 1 : head + 1 + len(realistic.rows)]:
            numbers = re.split(r"\s{2,}", line)[1:]
            assert numbers, line
            at = {match.end() for match in re.finditer(r"(?<=  )[\d.,]+( ±[\d.]+)?(?=  |$)", line)}
            assert at <= ends
            assert len(at) == len(numbers)


def test_a_long_setting_wraps_and_loses_nothing(made_report: MadeReport, made_row: MadeRow) -> None:
    setting = " ".join(f"word{i}" for i in range(30))
    text = made_report(made_row("csr", setting=setting, ndcg=0.5)).table()
    assert max(map(len, text.splitlines())) <= 100
    for word in setting.split():
        assert len(re.findall(rf"\b{word}\b", text)) == 4


def test_columns_without_values_are_left_out(made_report: MadeReport, made_row: MadeRow) -> None:
    bare = made_row(filtered=(), resident_bytes=None)
    text = made_report(bare).table()
    for title in ("nDCG@10", "1-NN", "UNDER FILTERS", "resident", "shared kB", "postings"):
        assert title not in text
    full = made_report(bare, made_row(accuracy=0.5, posting_cost=0.2, shared_bytes=2e6)).table()
    for title in ("1-NN", "UNDER FILTERS", "resident", "shared kB", "postings"):
        assert title in full


def test_the_larger_half_of_an_interval_is_shown(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    row = made_row(recall10=Interval(0.8, 0.9, 0.93))
    assert "0.900 ±.100" in made_report(row).table()


def test_hostile_names_break_no_table(made_report: MadeReport, made_row: MadeRow) -> None:
    name = "a|b\n| c | <img src=x> [l](u) *e* `c` \x1b[31m"
    report = made_report(made_row(name), title="# <b>\n## t", notes=("<script>|",))
    text, markdown = report.table(), report.table("markdown")
    assert "\x1b" not in text + markdown
    assert len(_parsed(markdown)) == 4
    assert not re.search(r"(?<!\\)[<>`*\[\]]", markdown.replace("**", ""))


def test_conditions_and_notes_are_told(realistic: Report) -> None:
    text = realistic.table()
    assert text.splitlines()[0] == realistic.title
    assert "20,000 documents, 1,000 queries, 768 dimensions, seed 0" in text
    assert realistic.notes[0] in text


def test_a_report_without_rows_has_no_tables(made_report: MadeReport) -> None:
    assert "method" not in made_report().table()
