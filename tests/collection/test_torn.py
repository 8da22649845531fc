"""Shards that a kill left with a vector half added or half dropped, on the real engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as qe

from csrkit.collection import Job, compress
from csrkit.collection.homes._torn import mended
from csrkit.collection.homes.edge import EdgeHome
from csrkit.errors import StoreError

from ..memory_disk import quick_folder
from .models import random_model
from .shards import contents, embeddings, point_ids

N = 200
NAMES = ("csr", "csr_residual")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A shard of several segments, as one from a snapshot of a server."""
    folder = tmp_path / "run" / "shard"
    folder.mkdir(parents=True)
    dense = qe.EdgeVectorParams(size=24, distance=qe.Distance.Cosine)
    often = qe.EdgeOptimizersConfig(
        indexing_threshold=1, default_segment_number=3, max_segment_size=2
    )
    made = qe.EdgeShard.create(
        str(folder), qe.EdgeConfig(vectors={"dense": dense}, optimizers=often)
    )
    rows = list(zip(point_ids(N), embeddings(N).tolist(), strict=True))
    for start in range(0, N, N // 4):
        some = rows[start : start + N // 4]
        points = [qe.Point(one, {"dense": row}, {"n": 1}) for one, row in some]
        made.update(qe.UpdateOperation.upsert_points(points))
        made.optimize()
    made.close()
    assert len(settings(folder)) > 3
    return folder


def settings(folder: Path) -> list[set[str]]:
    """Names of the vectors in the shard's settings, and in each segment's."""
    found = json.loads((folder / "edge_config.json").read_bytes())
    sets = [{*found["vectors"], *found.get("sparse_vectors", {})}]
    for path in folder.glob("segments/*/segment.json"):
        one = json.loads(path.read_bytes())["config"]
        sets.append({*one["vector_data"], *one.get("sparse_vector_data", {})})
    return sets


def killed(folder: Path, work: Any) -> None:
    """Open a shard in a fork, and kill it while its files differ; again if it was too quick."""
    run, kept = folder.parent, folder.parent.with_name("kept")
    shutil.copytree(run, kept)
    for _ in range(50):
        child = os.fork()
        if not child:
            try:
                work(qe.EdgeShard.load(str(folder)))
            finally:
                os._exit(0)
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if is_torn(folder):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
        if is_torn(folder) and is_refused(folder):
            return
        shutil.rmtree(run)
        shutil.copytree(kept, run)
    raise AssertionError("it was too quick")


def is_refused(folder: Path) -> bool:
    """Tell whether the engine alone opens it no more: some differences it takes."""
    try:
        qe.EdgeShard.load(str(folder)).close()
    except Exception as error:
        return "incompatible with" in str(error)
    return False


def is_torn(folder: Path) -> bool:
    try:
        sets = settings(folder)
    except (ValueError, FileNotFoundError):  # it writes this moment
        return False
    return any(one != sets[0] for one in sets)


def job(target: Any, folder: Path) -> None:
    compress(target, model=random_model(), k=8, job=folder, progress=False).close()


def test_a_job_that_was_killed_as_it_added_its_vectors_goes_on(shard: Path) -> None:
    """Regression: the engine opened the shard no more, for nobody."""
    before = EdgeHome(shard)
    points = contents(before.shard)
    before.close()

    def claims(opened: Any) -> None:
        job(EdgeHome(shard, shard=opened), shard.parent / "job")

    killed(shard, claims)
    with pytest.raises(Exception, match="incompatible with"):
        qe.EdgeShard.load(str(shard))
    job(f"edge://{shard}", shard.parent / "job")
    home = EdgeHome(shard)
    assert home.describe().sparse == ("csr",)
    assert not [one for page in home.missing("csr") for one in page]
    found = contents(home.shard)
    assert {one: (load, {"dense": vectors["dense"]}) for one, (load, vectors) in found.items()} == (
        points
    )
    home.close()


def test_a_rollback_that_was_killed_goes_on(shard: Path) -> None:
    opened = EdgeHome(shard)
    points = contents(opened.shard)
    opened.close()
    job(f"edge://{shard}", shard.parent / "job")

    def drops(opened: Any) -> None:
        for name in NAMES:
            opened.update(qe.UpdateOperation.delete_vector_name(name))

    killed(shard, drops)
    home = EdgeHome(shard)
    left = {*home.describe().sparse, *(one.name for one in home.describe().dense)}
    assert left in ({"dense", "csr_residual"}, {"dense"})
    marker = home.marker("csr")
    assert marker is not None
    home.close()
    again = Job.open(shard.parent / "job", progress=False)
    again.rollback()
    assert contents(again.home.shard) == points
    again.close()
    assert settings(shard) == [{"dense"}] * len(settings(shard))


def test_a_shard_that_is_open_is_left_alone(shard: Path, tmp_path: Path) -> None:
    opened = qe.EdgeShard.load(str(shard))
    path = shard / "edge_config.json"
    config = path.read_text()
    torn = json.loads(config)
    torn["vectors"]["csr_residual"] = torn["vectors"]["dense"]
    path.write_text(json.dumps(torn))
    assert not mended(shard, NAMES)
    assert json.loads(path.read_bytes()) == torn
    opened.close()
    assert not mended(shard, ["another"])
    assert mended(shard, NAMES)
    qe.EdgeShard.load(str(shard)).close()
    assert not mended(shard, NAMES)
    assert not mended(tmp_path / "nothing", NAMES)


def test_vectors_of_others_are_not_taken_out(shard: Path) -> None:
    torn = json.loads((shard / "edge_config.json").read_bytes())
    torn["vectors"]["mine"] = torn["vectors"]["dense"]
    (shard / "edge_config.json").write_text(json.dumps(torn))
    with pytest.raises(StoreError, match=r"cannot open it: .*incompatible with"):
        EdgeHome(shard)
    assert json.loads((shard / "edge_config.json").read_bytes()) == torn


def test_the_dense_vector_is_not_taken_out_before_a_cutover(shard: Path) -> None:
    job(f"edge://{shard}", shard.parent / "job")
    path = shard / "edge_config.json"
    torn = json.loads(path.read_bytes())
    del torn["vectors"]["dense"]
    path.write_text(json.dumps(torn))
    before = settings(shard)
    with pytest.raises(StoreError, match="cannot open it"):
        EdgeHome(shard)
    assert settings(shard) == before
