"""Sweep, cutover and finalize on an Edge shard: what they find, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe

from csrkit.collection import Job, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.errors import ConfigError, JobError, StoreError

from ..memory_disk import small_disk
from .models import random_model
from .shards import contents, embeddings, make_shard, point_ids

N = 120


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    make_shard(tmp_path / "shard", N).close()
    home = EdgeHome(tmp_path / "shard")
    yield compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    home.close()


def change(job: Job, operation: Any) -> None:
    assert isinstance(job.home, EdgeHome)
    job.home.shard.update(operation)


def coded(job: Job) -> tuple[Any, Any]:
    ids = [one for page in job.home.ids() for one in page]
    page = job.home.read(ids, vector="dense", codes=job.manifest.codes)
    assert page.codes is not None
    assert page.vectors is not None
    return page.codes.to_dense(), job.model.encode(page.vectors, k=8).to_dense()


def test_a_sweep_finds_old_codes_and_spoilt_ones(job: Job) -> None:
    ids, rows = point_ids(N), embeddings(N, seed=4).tolist()
    fresh = [qe.PointVectors(ids[i], {"dense": rows[i]}) for i in (3, 50)]
    spoilt = [qe.PointVectors(ids[70], {"csr": qe.SparseVector([1, 2], [0.6, 0.8])})]
    rest = [qe.PointVectors(ids[80], {"csr_residual": [0.0] * job.manifest.residual_bytes})]
    change(job, qe.UpdateOperation.update_vectors(fresh + spoilt + rest))
    assert job.sweep(stale=False).written == 0
    assert job.sweep().written == 4
    assert job.sweep().written == 0
    np.testing.assert_allclose(*coded(job), atol=1e-6)


def test_a_live_job_can_be_rolled_back(job: Job, tmp_path: Path) -> None:
    job.cutover(verify=False)
    job.finalize("keep")
    job.rollback()
    assert job.home.describe().sparse == ()
    assert [one.name for one in job.home.describe().dense] == ["dense"]


def test_the_dense_vector_is_dropped_only_when_its_name_is_typed(job: Job) -> None:
    assert isinstance(job.home, EdgeHome)
    with pytest.raises(JobError, match="is backfilled, expected it to be cutover"):
        job.finalize("drop", confirm=job.home.describe().title)
    job.cutover(verify=False)
    before = contents(job.home.shard)
    for confirm in (None, "", "docs", "yes"):
        with pytest.raises(ConfigError, match="cannot be undone: to do it, pass the name"):
            job.finalize("drop", confirm=confirm)
    with pytest.raises(ConfigError, match="cannot move a vector that exists to disk"):
        job.finalize("disk")
    assert contents(job.home.shard) == before
    saving = job.finalize("drop", confirm=job.home.describe().title)
    assert saving.bytes_before is not None
    assert saving.bytes_after is not None
    assert "dense" not in [one.name for one in job.home.describe().dense]
    after = contents(job.home.shard)
    assert {one: (load, vectors.get("csr")) for one, (load, vectors) in after.items()} == {
        one: (load, vectors.get("csr")) for one, (load, vectors) in before.items()
    }
    with pytest.raises(JobError, match="without the codes nothing could be found"):
        job.rollback()
    with pytest.raises(ConfigError, match="no dense vector 'dense'"):
        job.sweep()
    assert contents(job.home.shard) == after


def test_a_point_without_a_code_keeps_the_dense_vector(job: Job) -> None:
    job.cutover(verify=False)
    change(job, qe.UpdateOperation.upsert_points([qe.Point(10**8, {"dense": [0.0] * 24}, {})]))
    with pytest.raises(JobError, match=r"has points without a code, such as \[100000000\]"):
        job.finalize("drop", confirm=job.home.describe().title)
    assert "dense" in [one.name for one in job.home.describe().dense]


def test_a_vector_that_somebody_dropped_is_told(job: Job) -> None:
    change(job, qe.UpdateOperation.delete_vector_name("csr"))
    with pytest.raises(JobError, match="no vector 'csr' any more: somebody dropped it"):
        job.sweep()
    job.rollback()  # the residuals and the marker
    assert [one.name for one in job.home.describe().dense] == ["dense"]
    assert job.home.marker("csr") is None


def test_on_a_full_disk_a_job_waits_for_room_and_a_rollback_does_not(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        shard = make_shard(disk.folder / "shard", N)
        home, before = EdgeHome(disk.folder / "shard", shard=shard), contents(shard)
        job = {"model": random_model(), "k": 8, "job": tmp_path / "job", "progress": False}
        disk.leave(60)
        with pytest.raises(
            StoreError, match=r"expected 67\.1 MB free on its disk, got 60\.0: .*room"
        ):
            compress(home, **job)
        assert contents(shard) == before
        disk.leave(100)
        done = compress(home, **job)
        assert len(home.describe().sparse) == 1
        disk.leave(5)
        done.rollback()
        assert contents(shard) == before
        shard.close()
