"""The verbs of a job that makes a copy, over HTTP: what they say, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models
from typer.testing import Result

from ..contract.rest_shim import RestShim, running

Run = Callable[..., Result]
N = 60


@pytest.fixture
def server(tmp_path: Path, rows: Any) -> Iterator[RestShim]:
    with running(tmp_path / "server") as server:
        (tmp_path / "server").mkdir()
        client = QdrantClient(url=server.url, check_compatibility=False)
        params = models.VectorParams(size=rows.shape[1], distance=models.Distance.COSINE)
        client.create_collection("docs", vectors_config={"dense": params})
        points = [
            models.PointStruct(id=i, vector={"dense": rows[i].tolist()}, payload={"n": i})
            for i in range(N)
        ]
        client.upsert("docs", points, wait=True)
        client.close()
        server.version = "1.17.1"
        yield server


def facts(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.mark.filterwarnings("ignore:Failed to obtain server version")
@pytest.mark.filterwarnings("ignore:Qdrant client version")  # two versions apart, as is told
def test_a_copy_from_beginning_to_end(
    run: Run, server: RestShim, codec: Path, tmp_path: Path
) -> None:
    job = tmp_path / "job"
    url = f"qdrant://127.0.0.1:{server.port}"
    start = ("compress", f"{url}/docs", "--model", codec, "--k", "8", "--job", job)
    assert "cannot add a vector" in run(*start, "--strategy", "in_place", code=2).stderr
    planned = run(*start, "--dry-run").stdout
    assert "would copy 'docs' to add 'csr' to 60 points, beside 'dense'" in planned
    assert "no alias leads to it, and a cutover needs one" in planned
    assert not job.exists()
    done = facts(run(*start, "--json"))
    assert (done["phase"], done["written"]) == ("backfilled", N)
    (copy,) = set(server.collections) - {"docs"}
    assert done["copy"] == copy
    assert f"copy     {copy}" in run("status", job).stdout
    assert "make an alias" in run("cutover", job, "--no-verify", code=4).stderr
    server.aliases["live"] = "docs"
    assert "move the aliases to the copy" in run("cutover", job, "--dry-run").stdout
    assert "search using='csr' by the aliases live" in run("cutover", job, "--no-verify").stdout
    assert server.aliases == {"live": copy}
    lost = models.PointStruct(id=10**6, vector={}, payload={})
    client = QdrantClient(url=server.url, check_compatibility=False)
    client.upsert("live", [lost], wait=True)
    client.close()
    assert f"give them up with confirm='{copy}'" in run("rollback", job, code=4).stderr
    refused = run("finalize", job, "--drop-original", "--confirm", "live", code=2).stderr
    assert "to do it, pass its name" in refused
    dropped = run("finalize", job, "--drop-original", "--confirm", "docs").stdout
    assert "finalized: delete the original" in dropped
    assert "snapshot docs-1.snapshot" in dropped
    assert set(server.collections) == {copy}
    assert facts(run("sweep", job, "--json"))["written"] == 0  # by the copy, all that is left


def test_rollback_from_a_shell(run: Run, server: RestShim, codec: Path, tmp_path: Path) -> None:
    job, url = tmp_path / "job", f"qdrant://127.0.0.1:{server.port}/docs"
    server.version = "1.20.0"
    server.aliases["live"] = "docs"
    run("compress", url, "--model", codec, "--job", job, "--k", "8", "--strategy", "copy")
    run("cutover", job, "--no-verify")
    assert "rolled back" in run("rollback", job).stdout
    assert (set(server.collections), server.aliases) == ({"docs"}, {"live": "docs"})
