"""`csrkit monitor`: exit codes to raise the alarm by, JSON, and which points are drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as qe
from typer.testing import Result

Run = Callable[..., Result]
N = 130
LATE = [N, N + 1]


@pytest.fixture
def job(run: Run, rows: Any, codec: Path, tmp_path: Path) -> Path:
    """A job on a shard of which two points were written past it since."""
    folder, job = tmp_path / "shard", tmp_path / "job"
    folder.mkdir()
    dense = qe.EdgeVectorParams(size=rows.shape[1], distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": dense}))
    write(shard, rows, range(N))
    shard.close()
    run("compress", f"edge://{folder}", "--model", codec, "--k", "8", "--job", job)
    shard = qe.EdgeShard.load(str(folder))
    write(shard, rows, LATE)
    shard.close()
    return job


def write(shard: qe.EdgeShard, rows: Any, ids: Any) -> None:
    points = [
        qe.Point(i, {"dense": rows[i].tolist()}, {"n": i, "is_late": i >= N, "tag": f"t{i % 2}"})
        for i in ids
    ]
    shard.update(qe.UpdateOperation.upsert_points(points))


def monitored(run: Run, job: Path, *options: object, code: int = 0) -> Any:
    quick = ("--sample", "110", "--queries", "8", "--max-load-ratio", "100", "--max-dead", "1")
    return json.loads(run("monitor", job, *quick, "--json", *options, code=code).stdout)


def test_it_ends_with_1_until_the_sweep_that_it_names(run: Run, job: Path) -> None:
    found = monitored(run, job, code=1)
    assert [one["name"] for one in found["findings"]] == ["missing"]
    assert (found["points"], found["missing"], found["is_kept"]) == (N + 2, 2, False)
    assert f"`csrkit sweep {job} --missing-only`" in found["findings"][0]["sentence"]
    lines = run("monitor", job, "--sample", "110", code=1).stdout
    assert lines.startswith("ATTENTION: edge://")
    assert "MISSING: 2 of 132 points have no code" in lines
    assert monitored(run, job, "--max-missing", "0.1", "--no-keep")["findings"] == []
    run("sweep", job, "--missing-only")
    assert monitored(run, job)["is_kept"]
    assert not monitored(run, job)["is_kept"]
    lines = run("monitor", job, "--sample", "110", "--max-load-ratio", "100", "--max-dead", "1")
    assert lines.stdout.startswith("ok: edge://")
    assert "reference  110 points, FVU" in lines.stdout


@pytest.mark.parametrize(
    ("option", "n"),
    [
        (("--where", "is_late=true"), 2),
        (("--where", f"n={N + 1}"), 1),
        (("--where", "tag=t1"), 66),
        (("--where", 'tag="t1"'), 66),
        (("--since", "n", N - 8), 10),
        (("--ids", "ids.txt"), 3),
    ],
)
def test_points_to_draw_from_can_be_chosen(
    run: Run, job: Path, option: Any, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ids.txt").write_text(f"3\n{N}\n7\n99999\n")
    found = monitored(run, job, *option, "--max-missing", "1")
    assert found["seen"]["points"] == n
    assert found["against"] == "a uniform sample of now"


def test_what_cannot_be_asked_for_is_refused(run: Run, job: Path, tmp_path: Path) -> None:
    for options, words in (
        (("--where", "n=1", "--since", "n", "2"), "at most one of --where, --since and --ids"),
        (("--where", "n"), "a condition FIELD=VALUE"),
        (("--where", "n=1234"), "found none in edge://"),
        (("--since", "n", "yesterday"), "got --since 'yesterday'"),
        (("--ids", tmp_path / "none.txt"), "cannot read the ids in"),
        (("--sample", "0"), "sample of at least 1, got 0"),
        (("--max-stale", "2"), "max_stale from 0 to 1, got 2"),
    ):
        assert words in run("monitor", job, *options, code=2).stderr
    assert "no job in" in run("monitor", tmp_path / "none", code=4).stderr
    run("rollback", job)
    assert "which is rolled_back" in run("monitor", job, code=4).stderr
