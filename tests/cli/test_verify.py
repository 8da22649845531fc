"""``csrkit verify`` on an Edge shard: exit codes, gates, what it prints, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from typer.testing import Result

from csrkit.cli.cutover import cutover
from csrkit.cli.verify import verify

Run = Callable[..., Result]
N = 120


@pytest.fixture
def folder(tmp_path: Path, rows: Any) -> Path:
    folder = tmp_path / "shard"
    folder.mkdir()
    dense = qe.EdgeVectorParams(size=rows.shape[1], distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": dense}))
    points = [
        qe.Point(i, {"dense": rows[i].tolist()}, {"tenant": f"t{i % 3}", "part": i % 2})
        for i in range(N)
    ]
    shard.update(qe.UpdateOperation.upsert_points(points))
    shard.close()
    return folder


@pytest.fixture
def job(run: Run, folder: Path, codec: Path, tmp_path: Path) -> Path:
    run("compress", f"edge://{folder}", "--model", codec, "--k", "8", "--job", tmp_path / "job")
    return tmp_path / "job"


def spoil(folder: Path) -> None:
    shard = qe.EdgeShard.load(str(folder))
    code = qe.SparseVector([1, 2], [0.6, 0.8])
    shard.update(qe.UpdateOperation.update_vectors([qe.PointVectors(7, {"csr": code})]))
    shard.close()


def test_exit_codes_and_lines(run: Run, job: Path, folder: Path) -> None:
    lines = run("verify", job, "--min-recall", "0").stdout
    assert lines.startswith("passed: all 11 checks\n")
    assert "120 points, 120 codes recomputed" in lines
    assert "ok  codes            0 of 120 differ" in lines
    assert "rescored by codes, k=8, 100 candidates" in lines
    spoil(folder)
    lines = run("verify", job, "--min-recall", "0", "--no-progress", code=1).stdout
    assert lines.startswith("1 of 11 checks failed\n")
    assert "FAILED: 1 of 120 codes are not those of their dense vectors" in lines
    assert "such as those of [7]. Spoilt: " in lines
    run("verify", job, "--min-recall", "0", "--max-stale", "0.01")
    run("verify", job, "--min-recall", "0", "--accept", "codes")


def test_json_report_filters_and_gates(run: Run, job: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = json.loads(
        run(
            *("verify", job, "--json", "--min-recall", "1", "--min-group-recall", "0"),
            *("--by", "tenant", "--filter", "part=1", "--report", page, "--full"),
            code=1,
        ).stdout
    )
    assert found["passed"] is False
    assert [one["name"] for one in found["checks"] if not one["passed"]] == ["recall"]
    names = {one["name"] for one in found["searches"]}
    assert names == {"all", "part=1", "tenant=t0", "tenant=t1", "tenant=t2"}
    assert "<h1>1 of 15 checks failed</h1>" in page.read_text(encoding="utf-8")


def test_queries_with_judgements(run: Run, job: Path, rows: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "queries.npy", rows[200:210])
    judged = tmp_path / "qrels.tsv"
    judged.write_text("query\tpoint\tgain\n" + "".join(f"{i}\t{i + 5}\t1\n" for i in range(10)))
    options = ("verify", job, "--min-recall", "0", "--queries", tmp_path / "queries.npy")
    found = json.loads(run(*options, "--qrels", judged, "--json").stdout)
    assert found["queries"] == "given"
    assert found["searches"][0]["queries"] == 10
    assert 0 <= found["searches"][0]["exact_ndcg"]["value"] < 1
    assert "nDCG@10" in run(*options, "--qrels", judged).stdout
    judged.write_text("11 5 1\n")
    assert "line 1: expected query row" in run(*options, "--qrels", judged, code=2).stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--min-recall", "2"), "expected min_recall from 0 to 1, got 2.0"),
        (("--filter", "tenant"), "expected a condition FIELD=VALUE, such as tenant=acme"),
        (("--by", "nothing"), "expected by= to name a payload field"),
        (("--report", "nowhere/page.html"), "expected a file in a folder that exists"),
        (("--k", "999"), "expected k from 1 to n_latents=96"),
        (("--qrels", "here.tsv"), "no file of judgements"),
    ],
)
def test_what_cannot_be_is_refused(
    run: Run, job: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in run("verify", job, *options, code=2).stderr


def test_a_cutover_is_gated(run: Run, job: Path, folder: Path) -> None:
    refused = run("cutover", job, "--min-recall", "1", code=1).stderr
    assert "not cut over, as the verification failed. The recall@10 against" in refused
    assert json.loads(run("status", job, "--json").stdout)["phase"] == "backfilled"
    spoil(folder)  # a sweep mends it
    done = json.loads(run("cutover", job, "--min-recall", "0", "--by", "tenant", "--json").stdout)
    assert (done["phase"], done["did"]) == (
        "cutover",
        "cut over, 1 late points written: search using='csr'",
    )


def test_a_cutover_searches_as_it_is_told(run: Run, job: Path, rows: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "queries.npy", rows[200:210])
    alike = ("--k", "1", "--rescore", "none", "--queries", tmp_path / "queries.npy", "--full")
    found = json.loads(run("verify", job, *alike, "--json", code=1).stdout)
    recall = found["searches"][0]["recall"]
    assert found["searches"][0]["stage"] == "sparse"
    refused = run("cutover", job, *alike, code=1).stderr
    assert f"the engine's exact search is {recall['value']:.3f} [" in refused
    gate = ("--min-recall", f"{recall['low'] - 1e-6:.6f}")
    strict = run("cutover", job, *alike, *gate, "--min-query-recall", "1", code=1).stderr
    assert "worst" in strict
    by = ("--filter", "part=1", "--min-group-recall", "1")
    assert "Within part=1 the" in run("cutover", job, *alike, *gate, *by, code=1).stderr
    run("cutover", job, *alike, *gate)


def test_a_cutover_takes_the_options_of_a_verification() -> None:
    ours, theirs = (dict(signature(verb).parameters) for verb in (cutover, verify))
    assert theirs.keys() - ours.keys() == {"qrels", "report"}  # of which no gate depends
    assert ours.keys() - theirs.keys() == {"verify", "rate", "dry_run"}
    shared = ours.keys() & theirs.keys()
    assert all(
        (ours[one].default, ours[one].annotation) == (theirs[one].default, theirs[one].annotation)
        for one in shared
    )


def test_a_cutover_without_verification(run: Run, job: Path) -> None:
    done = json.loads(run("cutover", job, "--no-verify", "--min-recall", "1", "--json").stdout)
    assert done["phase"] == "cutover"
