"""A whole job on an Edge shard: the result, what stays as it was, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe

from csrkit.collection import Job, compress
from csrkit.collection.home import Busy, Marker, Page
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.jobs.backfill import Backfill
from csrkit.collection.jobs.ledger import Ledger, Phase
from csrkit.errors import ConfigError, FormatError, JobError, StoreError
from csrkit.model import CSRModel

from .models import random_model
from .shards import contents, embeddings, make_shard, point_ids

N = 300


@pytest.fixture(scope="module")
def model() -> CSRModel:
    return random_model()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[EdgeHome]:
    shard = make_shard(tmp_path / "shard")
    yield EdgeHome(tmp_path / "shard", shard=shard)
    shard.close()


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.backfill.RANGE_POINTS", 64)


def compressed(home: Any, tmp_path: Path, model: CSRModel | None, **options: Any) -> Job:
    options = {"job": tmp_path / "job", "k": 8, "progress": False, "model": model, **options}
    return compress(home, **options)


def without(points: dict[Any, Any], *names: str) -> dict[Any, Any]:
    return {
        one: (payload, {name: row for name, row in vectors.items() if name not in names})
        for one, (payload, vectors) in points.items()
    }


def assert_coded(home: EdgeHome, job: Job) -> None:
    """Each point has the code and the residual of its dense vector as it is now."""
    ids = [one for page in home.ids() for one in page]
    page = home.read(ids, vector="dense", codes=job.manifest.codes)
    assert page.vectors is not None
    assert page.codes is not None
    want = job.model.encode(page.vectors, k=job.manifest.k)
    np.testing.assert_allclose(page.codes.to_dense(), want.to_dense(), atol=1e-6)
    np.testing.assert_array_equal(page.residuals, job.model.encode_residuals(page.vectors, want))


def test_every_point_gets_its_code_and_nothing_else_changes(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    before, described = contents(home.shard), home.describe()
    job = compressed(home, tmp_path, model)
    assert_coded(home, job)
    assert without(contents(home.shard), "csr", "csr_residual") == before
    assert home.describe().payload_indexes == described.payload_indexes
    status = job.status()
    assert (status.phase, status.points, status.written, status.ranges) == ("backfilled", N, N, 5)
    assert status.rejects == status.gone == status.retries == 0
    marker = home.marker("csr")
    assert marker is not None
    assert (marker.job, marker.fingerprint) == (job.manifest.job, model.fingerprint)


def test_a_model_is_fitted_to_the_collection(
    home: EdgeHome, tmp_path: Path, model: CSRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `fit` as it is called: it has tests of its own, and takes seconds to load."""
    from csrkit import FitConfig

    config, given = FitConfig(seed=5), []

    def fit(rows: Any, **options: Any) -> CSRModel:
        given.append(rows)
        assert options == {"config": config, "progress": False}
        return model

    monkeypatch.setattr("csrkit.fitting.fit", fit)
    job = compressed(home, tmp_path, None, config=config)
    everything = home.read(point_ids(N), vector="dense").vectors
    assert everything is not None
    assert {row.tobytes() for row in given[0]} == {row.tobytes() for row in everything}
    assert job.manifest.fingerprint == model.fingerprint
    assert_coded(home, job)


def test_without_residuals_there_is_one_vector(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    compressed(home, tmp_path, model, residuals=False)
    assert [one.name for one in home.describe().dense] == ["dense"]
    assert home.describe().sparse == ("csr",)


def test_the_same_call_again_does_nothing(
    home: EdgeHome, tmp_path: Path, model: CSRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compressed(home, tmp_path, model)
    monkeypatch.setattr(EdgeHome, "write", lambda *_: pytest.fail("nothing is left to write"))
    again = compressed(home, tmp_path, None)
    assert again.manifest == first.manifest


def test_points_that_cannot_be_encoded_are_passed_over_and_named(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    odd = [
        qe.Point(1, {"dense": [float("nan")] * 24}, {}),
        qe.Point(2, {"dense": [0.0] * 24}, {}),
        qe.Point(3, {}, {}),
    ]
    home.shard.update(qe.UpdateOperation.upsert_points(odd))
    job = compressed(home, tmp_path, model)
    reasons = dict(job.status().reasons)
    assert sorted(reasons, key=str) == [1, 2, 3]
    assert "zero" in reasons[2]
    assert "missing, or holds NaN" in reasons[1] == reasons[3]
    assert job.status().written == home.describe().count - 3
    repaired = [qe.PointVectors(1, {"dense": embeddings(1)[0].tolist()})]
    home.shard.update(qe.UpdateOperation.update_vectors(repaired))
    assert job.sweep(stale=False).written == 1
    assert sorted(dict(job.status().reasons)) == [2, 3]


def test_a_reject_whose_sweep_was_killed_is_none_after_the_next(
    home: EdgeHome, tmp_path: Path, model: CSRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.shard.update(qe.UpdateOperation.upsert_points([qe.Point(1, {"dense": [0.0] * 24}, {})]))
    job = compressed(home, tmp_path, model)
    repaired = [qe.PointVectors(1, {"dense": embeddings(1)[0].tolist()})]
    home.shard.update(qe.UpdateOperation.update_vectors(repaired))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "settle", lambda *_: (_ for _ in ()).throw(JobError("killed")))
        with pytest.raises(JobError, match="killed"):
            job.sweep()
    assert job.status().rejects == 1
    assert job.sweep().written == 0  # it was, before the kill
    assert job.status().rejects == 0


class Writer(EdgeHome):
    """A home in which somebody writes at the same time: inserts, updates, deletes."""

    calls = 0

    def write(self, codes: Any, page: Page) -> Any:
        self.calls += 1
        if self.calls == 2:
            self._meddle()
        return super().write(codes, page)

    def _meddle(self) -> None:
        change, ids, rows = qe.UpdateOperation, point_ids(N), embeddings(N, seed=3).tolist()
        self.shard.update(change.delete_points([ids[3], ids[100], ids[290]]))
        new = [qe.Point(10**7 + i, {"dense": rows[i]}, {"cat": 1}) for i in range(9)]
        self.shard.update(change.upsert_points(new))
        before = [qe.Point(i, {"dense": rows[i]}, {}) for i in range(1, 4) if i not in ids]
        self.shard.update(change.upsert_points(before))  # behind the backfill
        alone = [qe.PointVectors(ids[i], {"dense": rows[i]}) for i in (5, 80, 250)]
        self.shard.update(change.update_vectors(alone))
        whole = [qe.Point(ids[i], {"dense": rows[i]}, {"cat": 2}) for i in (7, 90, 260)]
        self.shard.update(change.upsert_points(whole))


def test_a_writer_meanwhile_is_followed(tmp_path: Path, model: CSRModel) -> None:
    make_shard(tmp_path / "shard").close()
    home = Writer(tmp_path / "shard")
    job = compressed(home, tmp_path, model)
    swept = job.sweep()
    assert swept.written >= 1  # the dense vector changed behind the backfill, the code stayed
    assert_coded(home, job)
    ids = {one for page in home.ids() for one in page}
    assert not {point_ids(N)[i] for i in (3, 100, 290)} & ids
    assert job.sweep().written == 0
    home.close()


class Faulty(EdgeHome):
    """A home that fails as a server does, before and after it has applied a write."""

    def __init__(self, folder: Any, seed: int) -> None:
        super().__init__(folder)
        self.rng = np.random.default_rng(seed)

    def write(self, codes: Any, page: Page) -> Any:
        fate = self.rng.random()
        if fate < 0.2:
            raise Busy("429", wait_s=0.001)
        if fate < 0.3:
            super().write(codes, page)
            raise Busy("500 after it was applied")
        if fate < 0.4:
            half = len(page.ids) // 2
            assert page.codes is not None
            assert page.residuals is not None
            super().write(codes, Page(page.ids[:half], codes=page.codes[:half],
                                      residuals=page.residuals[:half]))  # fmt: skip
            raise Busy("503 half way")
        return super().write(codes, page)


@pytest.mark.parametrize("seed", range(3))
def test_faults_that_pass_change_nothing(
    tmp_path: Path, model: CSRModel, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.pace.time.sleep", lambda seconds: None)
    make_shard(tmp_path / "shard").close()
    home = Faulty(tmp_path / "shard", seed)
    job = compressed(home, tmp_path, model)
    assert_coded(home, job)
    assert job.status().retries > 0
    assert job.status().written == N
    home.close()


def test_a_home_that_stays_down_ends_the_run_and_the_same_call_goes_on(
    home: EdgeHome, tmp_path: Path, model: CSRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.pace.time.sleep", lambda seconds: None)
    calls, write = [], EdgeHome.write

    def dying(self: Any, codes: Any, page: Page) -> Any:
        calls.append(page.ids)
        if len(calls) > 2:
            raise Busy("connection refused")
        return write(self, codes, page)

    with monkeypatch.context() as patch:
        patch.setattr(EdgeHome, "write", dying)
        with pytest.raises(StoreError, match=r"given up after 8 .*run the same command to go on"):
            compressed(home, tmp_path, model)
    job = compressed(home, tmp_path, None)
    assert_coded(home, job)


def test_rollback_leaves_the_collection_as_it_was(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    before, described = contents(home.shard), home.describe()
    job = compressed(home, tmp_path, model)
    job.rollback()
    job.rollback()  # harmless
    assert contents(home.shard) == before
    assert home.describe() == described
    assert home.marker("csr") is None
    assert job.phase is Phase.ROLLED_BACK
    assert not list((tmp_path / "shard").glob("csrkit*"))
    with pytest.raises(JobError, match="was rolled back: begin another in a new folder"):
        compressed(home, tmp_path, model)


def test_a_vector_without_our_marker_is_never_touched(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    home.shard.update(qe.UpdateOperation.create_sparse_vector("csr"))
    code = qe.SparseVector([1, 2], [0.5, 0.5])
    home.shard.update(
        qe.UpdateOperation.update_vectors([qe.PointVectors(point_ids(N)[0], {"csr": code})])
    )
    before = contents(home.shard)
    with pytest.raises(JobError, match="'csr' that carries no marker of csrkit and is never taken"):
        compressed(home, tmp_path, model)
    Job.open(tmp_path / "job", target=home, progress=False)
    with pytest.raises(JobError, match="carries no marker of csrkit"):
        Job.open(tmp_path / "job", target=home, progress=False).rollback()
    assert contents(home.shard) == before


def test_two_jobs_on_one_target_refuse_each_other(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    first = compressed(home, tmp_path, model)
    before = contents(home.shard)
    with pytest.raises(JobError, match=f"of the job {first.manifest.job}, and this is the job"):
        compressed(home, tmp_path, random_model(1), job=tmp_path / "other")
    with pytest.raises(JobError, match=f"of the job {first.manifest.job}"):
        Job.open(tmp_path / "other", target=home, progress=False).rollback()
    assert contents(home.shard) == before
    second = compressed(home, tmp_path, random_model(1), job=tmp_path / "third", name="csr2")
    second.rollback()
    assert contents(home.shard) == before


def test_a_forged_marker_does_not_pass(home: EdgeHome, tmp_path: Path, model: CSRModel) -> None:
    job = compressed(home, tmp_path, model)
    marker = home.marker("csr")
    assert isinstance(marker, Marker)
    home.mark(marker.model_copy(update={"fingerprint": "0" * 64}))
    with pytest.raises(JobError, match="the job folder was changed"):
        job.sweep()


def test_other_arguments_than_the_job_began_with_are_refused(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    compressed(home, tmp_path, model)
    with pytest.raises(ConfigError, match="was begun with k=8, got 4"):
        compressed(home, tmp_path, model, k=4)
    with pytest.raises(ConfigError, match="was begun with the model"):
        compressed(home, tmp_path, random_model(1))


def test_a_folder_of_somebody_else_is_refused(
    home: EdgeHome, tmp_path: Path, model: CSRModel
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "thesis.txt").write_text("mine")
    with pytest.raises(FormatError, match="not empty and no job of csrkit"):
        compressed(home, tmp_path, model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vector": "text"}, "no dense vector 'text'"),
        ({"k": 0}, "expected k of at least 1"),
        ({"k": 97}, "up to the model's 96 latents, got k=97"),
        ({"name": "dense"}, "a name for the codes other than 'dense'"),
        ({"rate": -1.0}, "a rate above 0"),
    ],
)
def test_what_cannot_work_is_refused(
    home: EdgeHome, tmp_path: Path, model: CSRModel, options: Any, words: str
) -> None:
    before = contents(home.shard)
    with pytest.raises(ConfigError, match=words):
        compressed(home, tmp_path, model, **options)
    assert contents(home.shard) == before
    assert (tmp_path / "job").exists() == (options == {"k": 97})  # known once there is a model


def test_a_model_of_other_dimensions_is_refused(home: EdgeHome, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a model of 24 dimensions, .* got one of 16"):
        compressed(home, tmp_path, random_model(dim=16))


def test_an_odd_target_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError, match="got 'https'") as caught:
        compress("https://user:hunter2@host/docs")
    assert "hunter2" not in str(caught.value)


def test_batches_hold_no_more_than_a_range(
    home: EdgeHome, tmp_path: Path, model: CSRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, write = [], Backfill._write

    def seen(self: Any, ids: Any, part: Any) -> None:
        sizes.append(len(ids))
        write(self, ids, part)

    monkeypatch.setattr(Backfill, "_write", seen)
    compressed(home, tmp_path, model)
    assert sizes == [64, 64, 64, 64, 44]


def test_the_manifest_says_what_the_job_is(home: EdgeHome, tmp_path: Path, model: CSRModel) -> None:
    compressed(home, tmp_path, model)
    manifest = json.loads((tmp_path / "job" / "manifest.json").read_text())
    assert manifest["fingerprint"] == model.fingerprint
    assert manifest["url"] == f"edge://{tmp_path}/shard"


def test_a_shard_in_a_folder_with_an_odd_name_is_opened_again(
    tmp_path: Path, model: CSRModel
) -> None:
    for name in ("my shard", "50%41", "a#b?", "ü"):
        make_shard(tmp_path / name, 20).close()
        job = compressed(f"edge://{tmp_path / name}", tmp_path, model, job=tmp_path / f"{name}-job")
        job.close()
        again = Job.open(tmp_path / f"{name}-job", progress=False)
        assert again.home.describe().title == str(tmp_path / name)
        again.close()
