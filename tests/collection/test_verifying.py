"""Verification on an Edge shard: a clean job passes, and each fault fails by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe

from csrkit.collection import Job, VerifyConfig, compress
from csrkit.collection.home import Page
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.jobs.ledger import Phase
from csrkit.errors import ConfigError, JobError

from .models import random_model
from .shards import contents, embeddings, make_shard, point_ids

N = 300
IDS = point_ids(N)
CHECKS = {
    "marker",
    "vector settings",
    "payload indexes",
    "aliases",
    "coded points",
    "orphaned codes",
    "codes",
    "dense vectors",
    "payloads",
    "recall",
    "worst queries",
}
LOOSE = VerifyConfig(min_recall=0.5, n_queries=30)  # the model's weights are random


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    make_shard(tmp_path / "shard", N).close()
    home = EdgeHome(tmp_path / "shard")
    yield compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    home.close()


def change(job: Job, operation: Any) -> None:
    assert isinstance(job.home, EdgeHome)
    job.home.shard.update(operation)


def move(job: Job, rows: range) -> None:
    """Give points other dense vectors, and leave their codes."""
    new = embeddings(N, seed=4).tolist()
    points = [qe.PointVectors(IDS[i], {"dense": new[i]}) for i in rows]
    change(job, qe.UpdateOperation.update_vectors(points))


def stored(job: Job, rows: range) -> Page:
    return job.home.read([IDS[i] for i in rows], vector="dense", codes=job.manifest.codes)


def write_codes(job: Job, rows: range, codes: Any) -> None:
    job.home.write(job.manifest.codes, stored(job, rows)._replace(codes=codes))


# -- faults, 15 points being 5% -----------------------------------------------------


def other_values(job: Job) -> None:
    page = stored(job, range(0, N, 20))
    assert page.codes is not None
    dense = page.codes.to_dense() * np.linspace(0.5, 1, page.codes.dim, dtype=np.float32)
    write_codes(job, range(0, N, 20), type(page.codes).from_dense(dense))


def other_latents(job: Job) -> None:
    page = stored(job, range(0, N, 20))
    assert page.codes is not None
    moved = np.roll(page.codes.to_dense(), 1, axis=1)
    write_codes(job, range(0, N, 20), type(page.codes).from_dense(moved))


def other_residuals(job: Job) -> None:
    page = stored(job, range(0, N, 20))
    assert page.residuals is not None
    job.home.write(job.manifest.codes, page._replace(residuals=255 - page.residuals))


def another_model(job: Job) -> None:
    page = stored(job, range(N))
    model = random_model(1)
    assert page.vectors is not None
    codes = model.encode(page.vectors, k=8)
    rest = model.encode_residuals(page.vectors, codes)
    job.home.write(job.manifest.codes, page._replace(codes=codes, residuals=rest))


def a_missing_code(job: Job) -> None:
    new = [qe.Point(10**8 + i, {"dense": embeddings(2)[i].tolist()}, {}) for i in range(2)]
    change(job, qe.UpdateOperation.upsert_points([*new, qe.Point(10**8 + 2, {}, {})]))


def a_missing_residual(job: Job) -> None:
    change(job, qe.UpdateOperation.delete_vectors([IDS[9]], ["csr_residual"]))


def a_lost_vector(job: Job) -> None:
    change(job, qe.UpdateOperation.delete_vectors([IDS[9]], ["dense"]))


def a_zero_vector(job: Job) -> None:
    zero = [qe.PointVectors(IDS[9], {"dense": [0.0] * 24})]
    change(job, qe.UpdateOperation.update_vectors(zero))


def other_payloads(job: Job) -> None:
    change(job, qe.UpdateOperation.set_payload(IDS[: N // 3], {"ü": "changed"}))


def other_marker(job: Job) -> None:
    job.home.mark(job.manifest.marker.model_copy(update={"fingerprint": "0" * 64}))


FAULTS: dict[str, tuple[Callable[[Job], object], set[str], str]] = {
    "values": (other_values, {"codes"}, "in 15 the latents are right and their values are not"),
    "latents": (
        other_latents,
        {"codes"},
        r"15 of 300 codes .*in 15 the latents are others.*Spoilt",
    ),
    "residuals": (other_residuals, {"codes"}, "in 15 the code is right and its residual is not"),
    "model": (another_model, {"codes", "recall"}, "300 of 300 .*the codes of another model than"),
    "stale": (
        lambda job: move(job, range(40, 70)),
        {"codes"},
        f"30 of 300 codes .*in one range, from {IDS[40]} to {IDS[69]}. Stale: .* 30 have another "
        "dense vector since, and 0 the same. `csrkit sweep` encodes anew",
    ),
    "missing": (a_missing_code, {"coded points"}, r"2 points with .*100000000, .*`csrkit sweep`"),
    "residual": (a_missing_residual, {"coded points"}, rf"1 points .*\[{IDS[9]}\]"),
    "lost": (a_lost_vector, {"orphaned codes"}, rf"no usable dense vector .*\[{IDS[9]}\]"),
    "zero": (a_zero_vector, {"orphaned codes"}, rf"no usable dense vector .*\[{IDS[9]}\]"),
    "index": (
        lambda job: change(job, qe.UpdateOperation.delete_field_index("cat")),
        {"payload indexes"},
        "Before the job the payload indexes had 'cat': integer, now 'cat': gone",
    ),
    "payloads": (other_payloads, {"payloads"}, "100 have other payloads now.* max_changed=0.2"),
    "marker": (other_marker, {"marker"}, "says fingerprint='000000000000' and the job says"),
    "unmarked": (lambda job: job.home.unmark("csr"), {"marker"}, "carry no marker of csrkit"),
    "dropped": (
        lambda job: change(job, qe.UpdateOperation.delete_vector_name("csr")),
        {"marker"},
        "The vector 'csr' or its residuals are not there any more",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_by_its_name(job: Job, fault: str) -> None:
    spoil, checks, words = FAULTS[fault]
    spoil(job)
    verdict = job.verify(LOOSE)
    assert {check.name for check in verdict.failed} == checks
    assert not verdict.passed
    told = " ".join(check.sentence for check in verdict.failed)
    assert re.search(words, told), told
    assert job.phase is Phase.BACKFILLED


def test_a_clean_job_passes_and_nothing_is_written(job: Job) -> None:
    assert isinstance(job.home, EdgeHome)
    odd = [qe.Point(10**8, {"dense": [0.0] * 24}, {}), qe.Point(10**8 + 1, {}, {})]
    change(job, qe.UpdateOperation.upsert_points(odd))
    before = contents(job.home.shard)
    for full in (False, True):
        verdict = job.verify(VerifyConfig(min_recall=0.5, max_changed=0, n_queries=30, full=full))
        assert verdict.passed, verdict.failed
        assert {check.name for check in verdict.checks} == CHECKS
        assert (verdict.points, verdict.compared) == (N + 2, N)
    told = {check.name: check.sentence for check in verdict.checks}
    assert "2 points have no usable 'dense' and rightly no code" in told["coded points"]
    assert contents(job.home.shard) == before
    assert job.phase is Phase.VERIFIED


def test_a_sample_says_how_far_it_sees(job: Job) -> None:
    verdict = job.verify(VerifyConfig(min_recall=0, sample=20, seed=3, n_queries=5))
    codes = next(check for check in verdict.checks if check.name == "codes")
    assert verdict.compared == N  # those noted before the job are looked at as well
    assert "300 codes were recomputed" in codes.sentence
    assert "at most 0.99% of all differ" in codes.sentence  # 1 - 0.05 ** (1 / 300)
    (job.folder / "baseline.json").unlink()
    verdict = job.verify(VerifyConfig(min_recall=0, sample=20, seed=3, n_queries=5))
    assert verdict.compared == 20
    assert verdict.notes == ("What the collection was before the job was not noted.",)


def test_a_verdict_that_fails_takes_the_phase_back(job: Job) -> None:
    assert job.verify(LOOSE).passed
    move(job, range(3))
    assert job.phase is Phase.VERIFIED
    assert not job.verify(LOOSE).passed
    assert job.phase is Phase.BACKFILLED
    job.sweep()
    assert job.verify(LOOSE).passed


def test_what_a_person_accepts_does_not_count(job: Job) -> None:
    change(job, qe.UpdateOperation.delete_field_index("cat"))
    config = VerifyConfig(min_recall=0.5, n_queries=30, accept=("payload indexes",))
    verdict = job.verify(config)
    assert verdict.passed
    assert [check.name for check in verdict.checks if check.accepted] == ["payload indexes"]
    with pytest.raises(ConfigError, match=r"expected accept to name checks, .*got 'indexes'"):
        job.verify(VerifyConfig(accept=("indexes",), n_queries=5))


def test_points_that_others_change_and_sweeps_follow_pass(job: Job) -> None:
    move(job, range(30))
    change(job, qe.UpdateOperation.delete_points(IDS[200:210]))
    job.sweep()
    verdict = job.verify(LOOSE)
    assert verdict.passed
    told = {check.name: check.sentence for check in verdict.checks}
    assert "10 are gone, and 30 have other dense vectors now" in told["dense vectors"]
    strict = job.verify(VerifyConfig(min_recall=0.5, n_queries=30, max_changed=0))
    assert [check.name for check in strict.failed] == ["dense vectors"]


def test_some_stale_codes_can_be_allowed(job: Job) -> None:
    move(job, range(3))
    assert not job.verify(LOOSE).passed
    assert job.verify(VerifyConfig(min_recall=0.5, n_queries=30, max_stale=0.01)).passed


def test_without_a_dense_vector_nothing_can_be_verified(job: Job) -> None:
    change(job, qe.UpdateOperation.delete_vector_name("dense"))
    with pytest.raises(JobError, match="nothing is left to verify the codes against"):
        job.verify()


def test_a_job_that_is_not_done_is_refused(job: Job) -> None:
    job.ledger.advance(Phase.ADDED)
    with pytest.raises(JobError, match=r"cannot verify: .* is added, expected it to be backfilled"):
        job.verify()


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_few_points_are_verified_too(tmp_path: Path, n: int) -> None:
    make_shard(tmp_path / "shard", 9).close()
    home = EdgeHome(tmp_path / "shard")
    home.shard.update(qe.UpdateOperation.delete_points(point_ids(9)[n:]))
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    verdict = job.verify(VerifyConfig(min_recall=0, full=n == 9))
    assert verdict.passed
    assert (verdict.points, verdict.compared) == (n, n)
    assert bool(verdict.searches) == (n > 1)
    home.close()


@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
@pytest.mark.parametrize("datatype", ["Float32", "Float16", "Uint8", "Turbo4"])
def test_what_an_engine_rounds_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, datatype: str, distance: str
) -> None:
    # rows of such lengths are refused, and rows of one length are no whole numbers
    monkeypatch.setattr(
        "csrkit.collection.jobs.compressing.ranked_alike", lambda home, source: None
    )
    kinds = (getattr(qe.Distance, distance), getattr(qe.VectorStorageDatatype, datatype))
    params = qe.EdgeVectorParams(size=24, distance=kinds[0], datatype=kinds[1])
    (tmp_path / "shard").mkdir()
    config = qe.EdgeConfig(vectors={"dense": params})
    shard = qe.EdgeShard.create(str(tmp_path / "shard"), config)
    rows = np.random.default_rng(0).integers(0, 256, (60, 24))
    rows = rows if datatype == "Uint8" else rows / 7
    points = [qe.Point(i, {"dense": row}, {}) for i, row in enumerate(rows.tolist())]
    shard.update(qe.UpdateOperation.upsert_points(points))
    home = EdgeHome(tmp_path / "shard", shard=shard)
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    verdict = job.verify(VerifyConfig(min_recall=0, max_changed=0, full=True, n_queries=5))
    assert verdict.passed, verdict.failed
    assert verdict.compared == 60
    job.close()
    shard.close()  # and as the engine has it on the disk
    job = Job.open(tmp_path / "job", progress=False)
    assert job.verify(VerifyConfig(min_recall=0, max_changed=0, full=True, n_queries=5)).passed
    job.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_recall": 1.5}, "expected min_recall from 0 to 1, got 1.5"),
        ({"max_stale": -0.1}, "expected max_stale from 0 to 1"),
        ({"sample": 0}, "expected sample of at least 1, got 0"),
        ({"rescore": "int8"}, "expected rescore to be"),
        ({"qrels": [{1: 1.0}]}, "expected queries= with qrels="),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        VerifyConfig(**settings)
