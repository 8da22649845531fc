"""`csrkit plan`: the page and its JSON, exit codes, Ctrl-C, and what is left behind: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from typer.testing import Result

Run = Callable[..., Result]
N, DIM = 450, 16


@pytest.fixture
def shard(tmp_path: Path, rows: Any) -> str:
    folder = tmp_path / "shard"
    folder.mkdir()
    dense = qe.EdgeVectorParams(size=DIM, distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": dense}))
    points = [qe.Point(i, {"dense": rows[i].tolist()}, {}) for i in range(N)]
    shard.update(qe.UpdateOperation.upsert_points(points))
    shard.close()
    return f"edge://{folder}"


def test_the_page_fits_a_terminal_and_the_json_says_the_same(
    run: Run, shard: str, codec: Path, rows: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "queries.npy", rows[N:])
    given = ("plan", shard, "--model", codec, "--n-queries", 30, "--k", 4, "--k", "2")
    page = run(*given, "--queries", tmp_path / "queries.npy", "--free-ram", 1)
    lines = page.stdout.splitlines()
    assert lines[:2] == ["plan: measured on a sample, nothing was written", f"  target   {shard}"]
    for part in ("codes k=2, dense dropped", "int8 copy, dense on disk", "VERDICT", "NOTES"):
        assert part in page.stdout
    assert "30 given queries" in page.stdout
    assert max(map(len, lines[2:])) <= 100
    facts = json.loads(run(*given, "--json").stdout)
    assert facts["collection"]["points"] == N
    assert [one["k"] for one in facts["candidates"]] == [2, 4]
    assert facts["sample"]["queries_are"] == "documents"
    assert facts["instead"] in ("int8", "binary", None)
    assert facts["headroom"]["free_disk"] > 0
    settings = json.loads((tmp_path / "shard" / "edge_config.json").read_bytes())
    assert not settings.get("sparse_vectors")
    assert not list((tmp_path / "shard").glob("csrkit*"))


def test_exit_codes(run: Run, shard: str, codec: Path, tmp_path: Path) -> None:
    assert "no dense vector 'text'" in run("plan", shard, "--vector", "text", code=2).stderr
    assert "expected qdrant://" in run("plan", "http://host/docs", code=2).stderr
    assert "from 1 to 7" in run("plan", shard, "--k", 8, "--model", codec, code=2).stderr
    assert "sample=399" in run("plan", shard, "--sample", 399, "--k", 2, code=2).stderr
    missing = run("plan", shard, "--model", tmp_path / "nowhere", code=2).stderr
    assert "nowhere" in missing
    assert "cannot" in run("plan", "qdrant://127.0.0.1:1/docs", code=3).stderr
    other = qe.EdgeShard.load(shard.removeprefix("edge://"))
    assert "is open elsewhere" in run("plan", shard, code=3).stderr
    other.close()


def test_ctrl_c_leaves_nothing(
    start: Callable[..., subprocess.Popen[str]], shard: str, codec: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = ("plan", shard, "--model", codec, "--k", "4", "--progress")
    process = start(*command, env=os.environ | {"TMPDIR": str(scratch)})
    deadline = time.monotonic() + 120
    while not list(scratch.glob("csrkit-plan-*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert list(scratch.glob("csrkit*")) == []
    assert process.returncode in (4, 0), err  # 0: it was done already
    assert "Traceback" not in err
    if process.returncode:
        assert "csrkit: interrupted; nothing was kept" in err
