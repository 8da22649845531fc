"""Jobs whose folder was damaged or changed, and whose collection was undone by others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as qe

from csrkit.collection import Job, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.jobs.ledger import held
from csrkit.collection.verdicts.verdict import VerifyConfig
from csrkit.errors import JobError
from csrkit.model import CSRModel, load

from .models import random_model
from .shards import contents, make_shard

N = 60
LOW = VerifyConfig(min_recall=0.0, n_queries=4)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[EdgeHome]:
    shard = make_shard(tmp_path / "shard", N)
    yield EdgeHome(tmp_path / "shard", shard=shard)
    shard.close()


@pytest.fixture
def folder(tmp_path: Path, home: EdgeHome) -> Path:
    """The folder of a job that is done."""
    run(home, tmp_path / "job", random_model())
    return tmp_path / "job"


def run(home: EdgeHome, folder: Path, model: CSRModel | None = None) -> None:
    compress(home, job=folder, k=8, model=model, progress=False).close()


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_job_without_its_ledger_begins_again_with_its_own_model(
    left: str, home: EdgeHome, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: another model was fitted and took the place of the one that made the codes."""
    monkeypatch.setattr("csrkit.fitting.fit", lambda *_, **__: pytest.fail("it has a model"))
    before, model = contents(home.shard), load(folder / "model").fingerprint
    (folder / "ledger.db").unlink() if left == "nothing" else (folder / "ledger.db").write_text("")
    run(home, folder)
    assert contents(home.shard) == before
    assert load(folder / "model").fingerprint == model
    job = Job.open(folder, target=home, progress=False)
    assert job.status().written == N
    assert job.verify(LOW).passed


@pytest.mark.parametrize("damage", [b"garbage" * 1000, None])
def test_a_damaged_ledger_is_told_with_a_way_out_that_works(
    damage: bytes | None, home: EdgeHome, folder: Path
) -> None:
    """Regression: the advice was to run the same command again, which failed for ever."""
    path = folder / "ledger.db"
    path.write_bytes(damage or path.read_bytes()[:5000])
    with pytest.raises(JobError, match=r"changed or damaged \(.*\); restore it, or move it away"):
        run(home, folder)
    path.rename(folder / "ledger.damaged")
    run(home, folder)
    Job.open(folder, target=home, progress=False).rollback()
    assert not home.describe().sparse


@pytest.mark.parametrize(
    ("change", "verb", "told"),
    [
        ({"k": 4}, "sweep", "were begun with k=8, and the job folder says 4: the job folder was"),
        ({"vector": "other"}, "sweep", "were begun with vector=dense, and the job folder says"),
        ({"n_latents": 64}, "sweep", "begun with n_latents=96, and the job folder says 64"),
        ({"n_latents": 64}, "verify", r"has 96 latents .* manifest\.json says n_latents=64"),
        ({"residual_bytes": 0}, "verify", r"residuals of \d bytes, .* residual_bytes=0: it was"),
    ],
)
def test_a_manifest_that_was_changed_by_hand_is_refused(
    change: dict[str, Any], verb: str, told: str, home: EdgeHome, folder: Path
) -> None:
    """Regression: all codes were replaced by others, or shapes differed in scipy."""
    path, before = folder / "manifest.json", contents(home.shard)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    job = Job.open(folder, target=home, progress=False)
    with pytest.raises(JobError, match=told):
        job.verify(LOW) if verb == "verify" else job.sweep()
    assert contents(home.shard) == before


def test_the_same_call_does_not_claim_codes_that_somebody_removed(
    home: EdgeHome, folder: Path
) -> None:
    """Regression: "added", where a copy of the job folder had been rolled back."""
    home.shard.update(qe.UpdateOperation.delete_vector_name("csr"))
    home.shard.update(qe.UpdateOperation.delete_vector_name("csr_residual"))
    home.unmark("csr")
    with pytest.raises(JobError, match="has no vector 'csr' any more: somebody dropped it"):
        run(home, folder)
    Job.open(folder, target=home, progress=False).rollback()


def test_a_lock_that_cannot_be_written_is_no_other_process(tmp_path: Path) -> None:
    """Regression: "another process works on the job", also where a file was damaged."""
    (tmp_path / "job.lock").write_bytes(b"no database at all, and long enough to tell" * 99)
    refused = pytest.raises(JobError, match=r"cannot lock .*job\.lock: file is not a database")
    with refused, held(tmp_path / "job.lock"):
        raise AssertionError


def test_a_collection_that_moved_is_found_by_its_new_url(tmp_path: Path) -> None:
    make_shard(tmp_path / "shard", N).close()
    job = {"job": tmp_path / "job", "k": 8, "model": random_model(), "progress": False}
    compress(f"edge://{tmp_path / 'shard'}", **job).close()  # type: ignore[arg-type]
    (tmp_path / "shard").rename(tmp_path / "moved")
    path = tmp_path / "job" / "manifest.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"url": f"edge://{tmp_path / 'moved'}"}))
    opened = Job.open(tmp_path / "job", progress=False)
    assert opened.verify(LOW).passed
    opened.close()
