"""The verbs of a job, on an Edge shard: results, exit codes, dry runs, and no secret anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as qe
from typer.testing import Result

Run = Callable[..., Result]
N = 60


@pytest.fixture
def shard(tmp_path: Path, rows: Any) -> str:
    folder = tmp_path / "shard"
    folder.mkdir()
    dense = qe.EdgeVectorParams(size=rows.shape[1], distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": dense}))
    points = [qe.Point(i, {"dense": rows[i].tolist()}, {"n": i}) for i in range(N)]
    shard.update(qe.UpdateOperation.upsert_points([*points, qe.Point(N, {}, {})]))
    shard.close()
    return f"edge://{folder}"


def facts(result: Result) -> Any:
    return json.loads(result.stdout)


def test_a_job_from_beginning_to_end(run: Run, shard: str, codec: Path, tmp_path: Path) -> None:
    job, settings = tmp_path / "job", tmp_path / "shard" / "edge_config.json"
    before = json.loads(settings.read_bytes())
    start = ("compress", shard, "--model", codec, "--k", "8", "--job", job, "--json")
    planned = facts(run(*start, "--dry-run"))
    assert (planned["dry_run"], planned["phase"]) == (True, None)
    assert planned["did"] == "add 'csr' to 61 points, beside 'dense'"
    size, small, kept = planned["notes"]
    assert size.startswith("a vector takes 64 bytes, a code about 66 and its postings up to 96")
    assert small.startswith("codes of k=8 are no smaller than the vectors")
    assert kept.startswith(f"job folder {job}: ")
    assert not job.exists()
    after = json.loads(settings.read_bytes())  # the engine spells its defaults out at an opening
    assert {key: after[key] for key in before} == before
    assert not list((tmp_path / "shard").glob("csrkit*"))
    done = facts(run(*start))
    assert (done["phase"], done["points"], done["written"], done["rejects"]) == (
        "backfilled",
        N + 1,
        N,
        1,
    )
    assert facts(run(*start)) == done
    assert facts(run("status", job, "--json"))["reasons"] == [
        [N, "the vector 'dense' is missing, or holds NaN or infinity"]
    ]
    assert facts(run("sweep", job, "--json"))["written"] == 0
    assert facts(run("cutover", job, "--json", "--dry-run"))["phase"] == "backfilled"
    assert facts(run("cutover", job, "--no-verify", "--json"))["phase"] == "cutover"
    assert facts(run("finalize", job, "--json"))["bytes_before"] > 0
    assert facts(run("rollback", job, "--json", "--dry-run"))["phase"] == "finalized"
    assert facts(run("rollback", job, "--json"))["phase"] == "rolled_back"
    lines = run("status", job).stdout
    assert "phase    rolled_back" in lines
    assert "1 rejected" in lines


def test_exit_codes(
    run: Run, shard: str, codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = tmp_path / "job"
    assert "no job in" in run("status", job, code=4).stderr
    assert "no dense vector 'text'" in run("compress", shard, "--vector", "text", code=2).stderr
    assert not (tmp_path / "csrkit-jobs").exists()
    assert "expected qdrant://" in run("compress", "http://host/docs", code=2).stderr
    run("compress", shard, "--model", codec, "--k", "8", "--job", job)
    refused = run(
        "compress", shard, "--model", codec, "--k", "8", "--job", tmp_path / "two", code=4
    )
    assert "of the job" in refused.stderr
    assert "expected it to be cutover" in run("finalize", job, "--dense", "drop", code=4).stderr
    run("cutover", job, "--no-verify")
    assert "cannot be undone" in run("finalize", job, "--dense", "drop", code=2).stderr
    other = qe.EdgeShard.load(shard.removeprefix("edge://"))
    assert "is open elsewhere" in run("sweep", job, code=3).stderr
    other.close()


def test_a_key_is_written_nowhere(
    run: Run, shard: str, codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "canary-5f2e9c"
    monkeypatch.setenv("QDRANT_API_KEY", canary)
    monkeypatch.chdir(tmp_path)
    said = []
    for url in (
        f"qdrant://user:{canary}@127.0.0.1:1/docs",
        f"https://{canary}@host/docs",
        f"qdrant://127.0.0.1:1/docs?api_key={canary}",
        "qdrant://example.invalid/docs",
    ):
        said.append(run("compress", url, code=2).output)
    done = run("compress", shard, "--model", codec, "--k", "8")
    said_whole = "".join(done.stdout.split())  # a long path is broken over lines
    assert f"-jobfolder{tmp_path}" in said_whole  # it was not named
    said.append(done.output)
    jobs = tmp_path / "csrkit-jobs"
    (folder,) = jobs.iterdir()
    said.append(run("status", folder, "--json").output)
    said.append(run("cutover", folder, "--no-verify").output)
    assert not [text for text in said if canary in text]
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size < 10**7]
    assert (folder / "manifest.json") in files
    assert not [path for path in files if canary.encode() in path.read_bytes()]
