"""``csrkit evaluate`` reports what `csrkit.evaluate` measures, and refuses before it works."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import csrkit
from csrkit import CSRModel, Report
from csrkit.model import array_shapes

N, Q = 300, 40
TIMES = {"ms_p50", "ms_p95", "build_seconds", "resident_bytes"}


@pytest.fixture(autouse=True)
def few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time few queries and weigh no memory: no test here depends on the numbers."""
    monkeypatch.setattr("csrkit.evaluation.measure.TIMED", 4)
    monkeypatch.setattr("csrkit.evaluation.measure.FILTERED", 4)
    monkeypatch.setattr("csrkit.evaluation.stored.resident", lambda folder, queries: None)


@pytest.fixture(scope="session")
def model(model: CSRModel) -> CSRModel:
    """Decode by what encodes: refitted to other weights, codes of one latent tie by the hundred."""
    decoder = model.encoder / np.linalg.norm(model.encoder, axis=1, keepdims=True)
    arrays = {name: getattr(model, name) for name in array_shapes(model.config)}
    return CSRModel(config=model.config, **{**arrays, "decoder": decoder, "loads": model.loads})


@pytest.fixture
def docs(rows: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "docs.npy", rows[:N])
    return tmp_path / "docs.npy"


@pytest.fixture
def queries(rows: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "queries.npy", rows[N : N + Q])
    return tmp_path / "queries.npy"


def _timeless(report: Report) -> list[dict]:
    facts = json.loads(report.to_json())["rows"]
    for row in facts:
        for part in row["filtered"]:
            del part["ms_p50"]
    return [{name: row[name] for name in row.keys() - TIMES} for row in facts]


def test_json_is_the_report_of_python(
    run: Callable, codec: Path, docs: Path, queries: Path, model: CSRModel, rows: np.ndarray
) -> None:
    given = ("--queries", queries, "--baselines", "int8, binary", "--k-doc", 4)
    chosen = ("--n-queries", 30, "--seed", 3, "--title", "mine")
    report = Report.from_json(run("evaluate", codec, docs, *given, *chosen, "--json").stdout)
    expected = csrkit.evaluate(
        model,
        rows[:N],
        rows[N : N + Q],
        baselines=["int8", "binary"],
        k_doc=4,
        n_queries=30,
        seed=3,
        title="mine",
        progress=False,
    )
    assert _timeless(report) == _timeless(expected)
    assert (report.title, report.n_queries, report.queries) == ("mine", 30, "given")


@pytest.mark.parametrize("form", ["beir", "trec", "npy"])
def test_judgements_and_labels_come_from_files(
    form: str,
    run: Callable,
    codec: Path,
    docs: Path,
    queries: Path,
    model: CSRModel,
    tmp_path: Path,
) -> None:
    relevant = np.random.default_rng(2).integers(0, N, Q)
    lines = {
        "beir": ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in enumerate(relevant))],
        "trec": [f"{q} 0 {d} 1" for q, d in enumerate(relevant)],
        "npy": [],
    }[form]
    judged = tmp_path / ("qrels.npy" if form == "npy" else "qrels.txt")
    np.save(judged, relevant) if form == "npy" else judged.write_text("\n".join(lines))
    labels, own = np.arange(N) % 3, np.arange(Q) % 3
    if form == "npy":
        np.save(tmp_path / "labels", labels)
        np.save(tmp_path / "own", own)
    else:
        (tmp_path / "labels.npy").with_suffix("").write_text("\n".join(map(str, labels)))
        (tmp_path / "own.npy").with_suffix("").write_text("\n".join(map(str, own)))
    ending = ".npy" if form == "npy" else ""
    result = run(
        *("evaluate", codec, docs, "--queries", queries, "--qrels", judged),
        *("--labels", f"{tmp_path}/labels{ending}", "--query-labels", f"{tmp_path}/own{ending}"),
        *("--baselines", "float32", "--k-doc", 4, "--json"),
    )
    expected = csrkit.evaluate(
        model,
        np.load(docs),
        np.load(queries),
        qrels=relevant,
        labels=labels,
        query_labels=own,
        baselines=["float32"],
        k_doc=4,
        progress=False,
    )
    report = Report.from_json(result.stdout)
    assert _timeless(report) == _timeless(expected)
    assert report.rows[0].ndcg10 is not None
    assert report.rows[0].accuracy is not None


def test_text_shows_table_and_verdict_and_files_are_written(
    run: Callable, codec: Path, docs: Path, tmp_path: Path
) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "pareto.svg"
    given = ("--baselines", "float32,binary", "--k-doc", 8, "--html", page, "--plot", picture)
    out = run("evaluate", codec, docs, *given).stdout
    table, _, verdict = out.partition("VERDICT")
    assert "csr + bits" in table
    assert "Documents served as queries" in " ".join(table.split())
    assert verdict.strip()
    assert "<html" in page.read_text()
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--baselines", "int8,lsh"), r"expected baselines among .*, got 'lsh'"),
        (("--html", "{t}/gone/page.html"), r"cannot write .*page\.html: expected a file in a fold"),
        (("--plot", "{t}"), r"cannot write .*: expected a file in a folder that exists"),
        (("--qrels", "{t}/q.txt"), r"expected --queries with --qrels"),
        (("--queries", "{q}", "--qrels", "{t}/gone.npy"), r"no file of judgements at .*gone\.npy"),
        (("--queries", "{q}", "--qrels", "{t}/gone.txt"), r"no file of judgements at .*gone\.txt"),
        (("--queries", "{q}", "--qrels", "{t}/far.txt"), r"far\.txt, line 1: .* 0 to 39 for the"),
        (("--queries", "{q}", "--qrels", "{t}/bad.txt"), r"bad\.txt, line 2: expected query, doc"),
        (("--queries", "{q}", "--qrels", "{t}/bad.npy"), r"bad\.npy is not a readable \.npy file"),
        (("--labels", "{t}/few.txt"), r"one label per document, \(300,\), got \(2,\)"),
        (("--n-queries", "3"), r"got 300 documents and n_queries=3"),
        (("--k-doc", "97"), r"k_doc from 1 to n_latents=96, got k_doc=97"),
    ],
)
def test_bad_calls_are_told_in_one_line(
    options: tuple[str, ...],
    message: str,
    run: Callable,
    codec: Path,
    docs: Path,
    queries: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "q.txt").write_text("0 1 1\n")
    (tmp_path / "far.txt").write_text("40 1 1\n")
    (tmp_path / "bad.txt").write_text("query doc gain\n1 one 1\n")
    (tmp_path / "bad.npy").write_text("no array")
    (tmp_path / "few.txt").write_text("a\nb\n")
    filled = [one.format(t=tmp_path, q=queries) for one in options]
    result = run("evaluate", codec, docs, *filled, "--json", code=2)
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr
    assert result.stdout == ""


def test_a_page_needs_the_extra_before_the_work(
    run: Callable, codec: Path, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("evaluate", codec, docs, "--html", tmp_path / "page.html", code=2)
    assert 'pip install "csrkit[report]"' in result.stderr
