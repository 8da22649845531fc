"""`EdgeHome`: the laws of every home, what a shard may hold, and what a folder may be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe

from csrkit.collection.home import CodeVector
from csrkit.collection.homes.edge import EdgeHome
from csrkit.errors import ConfigError, StoreError

from .home_laws import MARKER, HomeLaws
from .shards import contents, make_shard


@pytest.fixture
def home(tmp_path: Path) -> Iterator[EdgeHome]:
    make_shard(tmp_path / "shard").close()
    home = EdgeHome(tmp_path / "shard")
    yield home
    home.close()


class TestEdgeHome(HomeLaws):
    def delete(self, home: Any, ids: list[Any]) -> None:
        home.shard.update(qe.UpdateOperation.delete_points(ids))

    def contents(self, home: Any) -> Any:
        return contents(home.shard)


def test_rows_that_cannot_be_encoded_are_read_as_they_are(home: EdgeHome) -> None:
    odd = [qe.Point(1, {"dense": [float("nan")] * 24}, {}), qe.Point(2, {}, {})]
    home.shard.update(qe.UpdateOperation.upsert_points(odd))
    page = home.read([1, 2], vector="dense")
    assert page.vectors is not None
    assert np.isnan(page.vectors).all()
    assert not {1, 2} & set(home.sample(1000, "dense").ids)


def test_true_is_not_taken_for_one(home: EdgeHome) -> None:
    loads = [{"flag": True}, {"flag": 1}, {"flag": False}, {"flag": 0}]
    points = [qe.Point(i, {"dense": [1.0] * 24}, load) for i, load in enumerate(loads)]
    home.shard.update(qe.UpdateOperation.upsert_points(points))
    for value, one in ((True, 0), (1, 1), (False, 2), (0, 3)):
        assert list(home.ids(filter=home.matching("flag", value))) == [[one]]


def test_an_unnamed_vector_is_read(tmp_path: Path) -> None:
    params = qe.EdgeVectorParams(size=3, distance=qe.Distance.Dot)
    (tmp_path / "shard").mkdir()
    shard = qe.EdgeShard.create(str(tmp_path / "shard"), qe.EdgeConfig(vectors=params))
    shard.update(qe.UpdateOperation.upsert_points([qe.Point(1, [1.0, 2.0, 3.0], {})]))
    home = EdgeHome(tmp_path / "shard", shard=shard)
    codes = CodeVector("csr", 8)
    home.add(codes)
    page = home.read([1], vector="", codes=codes)
    assert page.vectors is not None
    assert page.vectors.tolist() == [[1.0, 2.0, 3.0]]
    home.close()
    assert shard.count(qe.CountRequest()) == 1  # still open: it was passed in
    shard.close()


def test_a_folder_that_is_no_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected the folder of a Qdrant Edge shard.*nowhere"):
        EdgeHome(tmp_path / "nowhere")


def test_a_shard_that_is_open_elsewhere_is_refused(home: EdgeHome, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is open elsewhere, .* one process have it at a time"):
        EdgeHome(tmp_path / "shard")


KILLED = """
import os, signal, sys
from csrkit.collection.home import CodeVector
from csrkit.collection.homes.edge import EdgeHome

home, codes = EdgeHome(sys.argv[1]), CodeVector("csr", 30, 6)
home.add(codes)
home.drop(codes)
if sys.argv[2] == "dense":
    home.drop_dense("dense")
home.add(codes)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("dropped", ["codes", "dense"])
def test_a_vector_that_came_again_outlives_a_kill(tmp_path: Path, dropped: str) -> None:
    make_shard(tmp_path / "shard").close()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "shard"), dropped]
    path = os.pathsep.join(sys.path)
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == -signal.SIGKILL
    for _ in range(3):  # the first replays the engine's log, and the second shows what came of it
        home = EdgeHome(tmp_path / "shard")
        assert home.describe().sparse == ("csr",)
        names = {one.name for one in home.describe().dense}
        assert names == {"csr_residual"} | ({"dense"} if dropped == "codes" else set())
        assert next(home.ids())
        home.close()


def test_marks_that_cannot_be_read_are_not_taken_for_none(home: EdgeHome, tmp_path: Path) -> None:
    home.mark(MARKER)
    (tmp_path / "shard" / "csrkit-jobs.json").write_text('{"format": 1, "marks": {}}')
    with pytest.raises(StoreError, match="cannot be read"):
        home.marker("csr")


def test_the_bytes_on_disk_grow_with_the_codes(home: EdgeHome) -> None:
    before = home.disk_bytes()
    assert before
    assert before > 300 * 24 * 4
