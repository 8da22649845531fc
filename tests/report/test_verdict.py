"""The verdict's sentences, each on rows constructed to deserve it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from csrkit.report import Report, Row
from csrkit.report.compose import MEMORY, TIME
from csrkit.report.verdict import budget_title, findings

MadeRow = Callable[..., Row]
MadeReport = Callable[..., Report]


@pytest.fixture
def int8(made_row: MadeRow) -> Row:
    return made_row("int8", "scalar", size=400, ms=0.5, recall=0.99)


def _steps(report: Report) -> list[str]:
    return [line for line in report.verdict() if line.startswith("From")]


# -- who wins -----------------------------------------------------------------


def test_csr_wins_below_int8(made_report: MadeReport, made_row: MadeRow, int8: Row) -> None:
    csr = made_row(setting="k=16, 100 candidates", size=100, ms=0.2, recall=0.9)
    pq = made_row("pq", "product", "96 B", size=104, ms=0.9, recall=0.85)
    verdict = made_report(int8, pq, csr).verdict()
    assert verdict[:4] == [
        "By memory (bytes per vector), CSR is the best choice from 100 to 400 B, and loses at "
        "every other budget: use int8 from 400 B instead.",
        "By time (ms per query), CSR is the best choice from 0.20 to 0.50 ms (unopposed), and "
        "loses at every other budget: use int8 from 0.50 ms instead.",
        "From 100 B per vector, use csr (k=16, 100 candidates): recall@10 0.900 at 0.20 ms; the "
        "best baseline there, pq (96 B), has 0.850.",
        "From 400 B per vector, use int8 instead: recall@10 0.990 at 0.50 ms; the best CSR row "
        "there, csr (k=16, 100 candidates), has 0.900.",
    ]
    assert findings(made_report(int8, pq, csr)).headline == (
        "CSR is the best choice from 100 to 400 B per vector, and from 0.20 to 0.50 ms per query "
        "(unopposed)"
    )


def test_csr_wins_everywhere(made_report: MadeReport, made_row: MadeRow) -> None:
    csr = made_row(size=100, ms=0.2, recall=0.9)
    pq = made_row("pq", "product", size=200, ms=0.9, recall=0.8)
    report = made_report(pq, csr)
    assert findings(report).headline == (
        "CSR is the best choice at every budget of memory, and at every budget of time"
    )
    assert report.verdict()[0] == (
        "By memory (bytes per vector), CSR is the best choice from 100 B on, and loses at no "
        "budget measured."
    )


def test_csr_loses_everywhere(made_report: MadeReport, made_row: MadeRow) -> None:
    csr = made_row(setting="k=8", size=500, ms=2.0, recall=0.7)
    int8 = made_row("int8", "scalar", size=400, ms=0.5, recall=0.99)
    report = made_report(int8, csr)
    assert findings(report).headline == "CSR loses here at every budget: use int8 instead"
    assert report.verdict()[0] == (
        "By memory (bytes per vector), CSR loses at every budget: use int8 from 400 B instead."
    )
    assert _steps(report)[0] == (
        "From 400 B per vector, use int8 instead: recall@10 0.990 at 0.50 ms; the best CSR row "
        "there, csr (k=8), has 0.700."
    )


def test_many_winners_are_not_listed_in_the_headline(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    csr = made_row(size=900, ms=9, recall=0.5)
    others = [
        made_row(str(i), "product", size=100 * i, ms=i, recall=0.5 + i / 10) for i in range(1, 5)
    ]
    assert findings(made_report(csr, *others)).headline == (
        "CSR loses here at every budget: use a baseline instead"
    )


def test_a_graph_over_int8_wins_by_time_and_shows_its_price(
    made_report: MadeReport, made_row: MadeRow, int8: Row
) -> None:
    csr = made_row(size=100, ms=0.58, recall=0.951, half=0.004, build=0.8)
    hnsw = made_row("hnsw + int8", "graph", size=656, ms=0.13, recall=0.958, half=0.004, build=7)
    verdict = made_report(int8, hnsw, csr).verdict()
    assert verdict[1] == (
        "By time (ms per query), CSR loses at every budget: use hnsw + int8 from 0.13 ms and int8 "
        "from 0.50 ms instead."
    )
    assert (
        "From 0.13 ms per query, use hnsw + int8 instead: recall@10 0.958 at 656 B; "
        "no CSR row is that cheap." in verdict
    )
    assert (
        "hnsw + int8 took 7.0 s to build, csr 0.80 s, the fit of the model not counted." in verdict
    )
    assert findings(made_report(int8, hnsw, csr)).headline == (
        "CSR is the best choice from 100 to 400 B per vector (unopposed), and loses at every "
        "budget of time"
    )


def test_a_tie_is_called_one(made_report: MadeReport, made_row: MadeRow, int8: Row) -> None:
    csr = made_row(size=100, ms=0.2, recall=0.870)
    opq = made_row("opq", "product", size=104, ms=0.9, recall=0.868)
    report = made_report(int8, opq, csr)
    assert report.verdict()[0] == (
        "By memory (bytes per vector), CSR is the best choice at no budget, ties from 100 to 400 B "
        "(with opq), and loses at every other budget: use int8 from 400 B instead."
    )
    assert _steps(report)[0] == (
        "From 100 B per vector, csr (recall@10 0.870 at 0.20 ms) and opq (recall@10 0.868 at "
        "0.90 ms) tie."
    )
    assert findings(report).headline.startswith("CSR at best ties from 100 to 400 B per vector")


def test_a_baseline_held_step_with_csr_beside_it_is_a_tie_as_well(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    opq = made_row("opq", "product", size=100, ms=0.9, recall=0.868)
    csr = made_row(size=104, ms=0.92, recall=0.870)
    assert findings(made_report(opq, csr)).headline == (
        "CSR at best ties at every budget of memory, and at best ties at every budget of time"
    )


def test_more_but_not_clearly_is_said(made_report: MadeReport, made_row: MadeRow) -> None:
    pq = made_row("pq", "product", size=72, ms=0.5, recall=0.71)
    csr = made_row(size=88, ms=0.9, recall=0.712)
    assert _steps(made_report(pq, csr))[0].endswith("has 0.712, not clearly more.")


# -- what cannot be compared --------------------------------------------------


def test_one_row_is_compared_with_nothing(made_report: MadeReport, int8: Row) -> None:
    assert made_report(int8).verdict() == [
        "Only int8 was measured: recall@10 0.990 in 400 B per vector and 0.50 ms per query, with "
        "nothing to compare it with."
    ]
    assert findings(made_report(int8)).headline == "Only int8 was measured"


def test_no_rows(made_report: MadeReport) -> None:
    assert made_report().verdict() == ["Nothing was measured: the report has no rows."]


def test_baselines_alone(made_report: MadeReport, made_row: MadeRow, int8: Row) -> None:
    other = made_row("pq", "product", size=100)
    assert made_report(int8, other).verdict() == [
        "No CSR row was measured: the report compares baselines alone."
    ]
    assert budget_title([int8, other], MEMORY) == "Recall by memory per vector"


def test_csr_alone(made_report: MadeReport, made_row: MadeRow) -> None:
    report = made_report(made_row(k=8), made_row(k=16, size=200, recall=0.95))
    assert report.verdict()[0].startswith("Only CSR was measured")


# -- remarks ------------------------------------------------------------------


def test_a_cliff_under_filters_is_told(
    made_report: MadeReport, made_row: MadeRow, int8: Row
) -> None:
    csr = made_row(size=100, ms=0.6, recall=0.95, slow=(0.5, 0.2))
    hnsw = made_row(
        "hnsw", "graph", "ef=64", size=900, ms=0.1, recall=0.96, drop=(0.1, 0.5), slow=(2, 6)
    )
    verdict = made_report(int8, hnsw, csr).verdict()
    assert (
        "hnsw (ef=64) falls from recall@10 0.960 to 0.460 and slows from 0.10 ms to 0.60 ms when "
        "a filter keeps 1% of the points." in verdict
    )
    assert (
        "Under a filter that keeps 1% of the points, the fastest to reach recall@10 0.9 is csr, "
        "0.12 ms." in verdict
    )


def test_no_cliff_is_told_too_and_csr_beside_the_fastest(
    made_report: MadeReport, made_row: MadeRow, int8: Row
) -> None:
    verdict = made_report(int8, made_row(size=100, ms=0.6, recall=0.95)).verdict()
    keeps = "Under a filter that keeps 1% of the points"
    assert f"{keeps}, no method loses recall or gets much slower." in verdict
    assert (
        f"{keeps}, the fastest to reach recall@10 0.9 is int8, 0.50 ms; of CSR it is csr, 0.60 ms."
        in verdict
    )


def test_many_cliffs_are_counted_but_csr_is_told(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    graphs = [
        made_row(f"graph {i}", "graph", size=900, ms=0.1 + i, recall=0.96, drop=(0, 0.1 + i / 10))
        for i in range(6)
    ]
    csr = made_row(size=100, ms=0.6, recall=0.95, slow=(1, 2))
    verdict = made_report(*graphs, csr).verdict()
    told = [line for line in verdict if line.endswith("when a filter keeps 1% of the points.")]
    assert [line.partition(" falls")[0] for line in told[:3]] == ["graph 5", "graph 4", "graph 3"]
    assert told[3:] == ["csr slows from 0.60 ms to 1.2 ms when a filter keeps 1% of the points."]
    assert "Filters take recall or time from 3 more methods." in verdict


def test_nothing_is_said_of_filters_that_were_not_tried(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    rows = [made_row(filtered=()), made_row("pq", "product", size=50, recall=0.5, filtered=())]
    assert not [line for line in made_report(*rows).verdict() if "filter" in line]


def test_relevance_names_the_smallest_that_is_as_good(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    exact = made_row("float32", "dense", size=3080, ms=3, recall=1.0, ndcg=0.564)
    bits = made_row("binary", "binary", size=104, ms=0.2, recall=0.79, ndcg=0.551)
    short = made_row(setting="k=8", size=60, ms=0.1, recall=0.6, ndcg=0.45)
    long = made_row(setting="k=32", size=200, ms=0.4, recall=0.85, ndcg=0.555)
    lines = made_report(exact, bits, short, long).verdict()
    assert (
        "By the judgements, the smallest that cannot be told from exact search (nDCG@10 0.564) is "
        "binary, 0.551 at 104 B; of CSR it is csr (k=32), 0.555 at 200 B." in lines
    )


def test_codes_are_compared_without_what_an_engine_adds(
    made_report: MadeReport, made_row: MadeRow
) -> None:
    pq = made_row("pq", "product", size=104, ms=0.5, recall=0.8, code_bytes=96)
    csr = made_row(size=300, ms=0.4, recall=0.9, code_bytes=98)
    floats = made_row("csr + dense", size=3400, kept=3072, ms=0.4, recall=0.99, code_bytes=98)
    verdict = made_report(pq, csr, floats).verdict()
    assert (
        "Counting the codes alone, without ids, postings, graphs and an engine's files, CSR is "
        "the best choice from 98 B on per vector." in verdict
    )
    unsized = made_report(made_row("pq", "product", size=104, recall=0.8), csr).verdict()
    assert not [line for line in unsized if line.startswith("Counting")]


def test_the_limits_are_told(made_report: MadeReport, made_row: MadeRow, int8: Row) -> None:
    given = made_report(int8, made_row(size=100)).verdict()
    assert given[-1].startswith("All this holds for 20,000 documents")
    documents = made_report(int8, made_row(size=100), queries="documents").verdict()
    assert documents[-1].startswith("Document vectors served as queries")


def test_hostile_names_stay_on_their_line(made_report: MadeReport, made_row: MadeRow) -> None:
    rows = [made_row("a\nb\x1b[2J", "scalar", "x\r\ny", size=50), made_row(size=100, recall=0.99)]
    for line in made_report(*rows).verdict():
        assert line.isprintable()


def test_a_realistic_report_says_where_csr_loses_first(realistic: Report) -> None:
    first, second, *_ = realistic.verdict()
    assert first.startswith("By memory")
    assert second.startswith("By time")
    for opening in (first, second):
        assert "loses at every other budget: use" in opening
    assert "int8 from 784 B" in first
    assert "hnsw int8 from 0.13 ms" in second
    assert len(_steps(realistic)) == len(findings(realistic).memory) + len(findings(realistic).time)
    assert budget_title(realistic.rows, TIME).startswith("By time, CSR is the best choice from")
