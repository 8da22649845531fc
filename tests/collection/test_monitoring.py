"""`monitor` on both homes: what is clean passes, and each thing that can go wrong is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from csrkit.collection import DualWriter, Health, Job, MonitorConfig, compress, monitor
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.monitors.monitoring import unexplained
from csrkit.collection.monitors.recent import since, where
from csrkit.errors import ConfigError, FormatError, JobError
from csrkit.model import CSRModel

from ..contract.rest_shim import RestShim, running
from .dictionary import dictionary_model
from .servers import everything, fill
from .shards import contents, embeddings, make_shard, point_ids

N = 300
NEW = 10**8
QUICK = MonitorConfig(sample=200, queries=40)
WRITES = ("PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def model() -> CSRModel:
    return dictionary_model()


@pytest.fixture
def job(tmp_path: Path, model: CSRModel) -> Iterator[Job]:
    make_shard(tmp_path / "shard", N).close()
    home = EdgeHome(tmp_path / "shard")
    yield compress(home, model=model, k=8, job=tmp_path / "job", progress=False)
    home.close()


def change(job: Job, operation: Any) -> None:
    assert isinstance(job.home, EdgeHome)
    job.home.shard.update(operation)


def write(job: Job, rows: Any, first: int = NEW, **payload: Any) -> None:
    DualWriter.of(job).upsert(
        [qe.Point(first + i, {"dense": row.tolist()}, payload) for i, row in enumerate(rows)]
    )


def names(health: Health) -> list[str]:
    return [one.name for one in health.findings]


def test_a_clean_collection_passes_and_nothing_is_written_to_it(job: Job) -> None:
    assert isinstance(job.home, EdgeHome)
    before, marker = contents(job.home.shard), job.home.marker("csr")
    first = monitor(job, QUICK)
    assert first.ok
    assert (first.points, first.missing, first.uncodable, first.looked, first.stale) == (
        *(N, 0, 0),
        *(200, 0),
    )
    assert first.is_kept
    assert first.reference is None
    assert first.notes == ("There is nothing yet to compare FVU and recall with.",)
    again = monitor(job, MonitorConfig(sample=200, queries=40, seed=1))
    assert again.ok
    assert again.reference == first.seen
    assert again.against.endswith("all points alike")
    assert not again.is_kept
    assert contents(job.home.shard) == before
    assert job.home.marker("csr") == marker


def test_points_of_another_kind_are_drift(job: Job) -> None:
    monitor(job, QUICK)
    write(job, embeddings(60, seed=9), cat=99)
    health = monitor(job, QUICK, filter=job.home.matching("cat", 99), which="the new ones")
    assert names(health)[0] == "fvu"
    assert health.seen is not None
    assert (health.seen.points, health.which) == (60, "the new ones")
    assert "fit a model that has seen such points" in health.findings[0].sentence
    assert not health.is_kept


def test_new_points_of_the_same_kind_are_none(job: Job) -> None:
    monitor(job, QUICK)
    write(job, embeddings(2400)[2000:2060], cat=99)  # behind what was fitted
    health = monitor(job, QUICK, filter=job.home.matching("cat", 99))
    assert health.ok
    assert health.seen is not None
    assert health.seen.points == 60


def test_without_a_reference_some_points_are_compared_with_all(job: Job) -> None:
    write(job, embeddings(60, seed=9), cat=99)
    health = monitor(job, QUICK, ids=[*range(NEW, NEW + 60), NEW + 10**6])
    assert health.against == "a uniform sample of now"
    assert "fvu" in names(health)
    assert health.seen is not None
    assert health.seen.points == 60
    assert monitor(job, QUICK, ids=range(NEW, NEW + 60), keep=True).is_kept
    health = monitor(job, QUICK, ids=range(NEW, NEW + 60))  # which is what is expected by now
    assert health.ok
    assert health.against.endswith("the points given")


def test_points_without_a_code_are_told_and_those_that_can_have_none_apart(job: Job) -> None:
    rows = embeddings(5, seed=2).tolist()
    late = [qe.Point(NEW + i, {"dense": row}, {}) for i, row in enumerate(rows)]
    odd = [qe.Point(NEW + 10, {}, {}), qe.Point(NEW + 11, {"dense": [0.0] * 24}, {})]
    change(job, qe.UpdateOperation.upsert_points(late + odd))
    change(job, qe.UpdateOperation.delete_vectors(point_ids(N)[:3], ["csr_residual"]))
    health = monitor(job, QUICK)
    assert (health.missing, health.torn, health.uncodable) == (5, 3, 2)
    assert names(health) == ["missing", "torn"]
    assert "5 of 307 points have no code" in health.findings[0].sentence
    assert f"`csrkit sweep {job.folder} --missing-only`" in health.findings[0].sentence
    assert not health.is_kept
    assert monitor(job, MonitorConfig(sample=50, queries=0, max_missing=0.02)).ok
    job.sweep(stale=False)
    assert names(monitor(job, QUICK)) == ["torn"]
    job.sweep()
    assert monitor(job, QUICK).ok


def test_codes_of_dense_vectors_that_changed_are_told(job: Job) -> None:
    ids, rows = point_ids(N), embeddings(30, seed=3).tolist()
    fresh = [qe.PointVectors(ids[10 * i], {"dense": row}) for i, row in enumerate(rows)]
    change(job, qe.UpdateOperation.update_vectors(fresh))
    health = monitor(job, MonitorConfig(sample=N, queries=0))
    assert (health.looked, health.stale) == (N, 30)
    assert names(health) == ["stale"]
    assert f"30 of {N} codes" in health.findings[0].sentence
    assert f"run `csrkit sweep {job.folder}`" in health.findings[0].sentence
    assert monitor(job, MonitorConfig(sample=N, queries=0, max_stale=0.1)).ok
    assert monitor(job, MonitorConfig(sample=100, queries=0), ids=[ids[10]]).stale >= 1


def test_searches_that_find_less_are_told(job: Job) -> None:
    monitor(job, QUICK)
    spoilt = [
        qe.PointVectors(one, {"csr": qe.SparseVector([i % 24, (i + 5) % 24], [0.6, 0.8])})
        for i, one in enumerate(point_ids(N))
    ]
    change(job, qe.UpdateOperation.update_vectors(spoilt))
    health = monitor(job, QUICK)
    assert names(health) == ["stale", "recall"]
    assert "search with more effort, or fit a model" in health.findings[1].sentence
    assert health.findings[1].value > 0.2
    assert names(monitor(job, MonitorConfig(sample=100, queries=0, max_stale=1))) == []


def test_points_that_grow_alike_make_searches_dear(job: Job) -> None:
    rows = embeddings(1)[:1] + 0.05 * np.random.default_rng(0).normal(size=(2 * N, 24))
    write(job, rows.astype(np.float32))
    found = names(monitor(job, MonitorConfig(sample=900, queries=0)))
    assert "posting cost" in found
    some = MonitorConfig(sample=900, queries=0, max_load_ratio=1.1)
    assert "busiest" in names(monitor(job, some))


def test_a_few_points_raise_no_alarm_and_are_no_reference(tmp_path: Path, model: CSRModel) -> None:
    for n in (1, 2, 40):
        make_shard(tmp_path / f"shard{n}", n).close()
        home = EdgeHome(tmp_path / f"shard{n}")
        folder = tmp_path / f"job{n}"
        job = compress(home, model=model, k=8, job=folder, progress=False)
        health = monitor(job, MonitorConfig(max_load_ratio=1.0, max_dead=0.0))
        assert (health.ok, health.is_kept, health.points) == (True, False, n)
        assert monitor(job, MonitorConfig(max_load_ratio=1.0), keep=True).is_kept
        home.close()


def test_a_run_without_recall_is_no_reference(job: Job) -> None:
    assert not monitor(job, MonitorConfig(queries=0)).is_kept
    assert monitor(job, QUICK).is_kept


def test_latents_are_counted_as_by_hand(job: Job, model: CSRModel) -> None:
    health = monitor(job, MonitorConfig(sample=60, queries=0, seed=5))
    codes = model.encode(embeddings(N), k=8)
    seen = monitor(job, MonitorConfig(sample=N, queries=0))
    assert seen.latents is not None
    fires = codes.to_dense() > 0
    shared = [int((fires[a] & fires[b]).sum()) for a, b in combinations(range(N), 2)]
    np.testing.assert_allclose(seen.latents.posting_cost, np.mean(shared), rtol=1e-9)
    assert seen.latents.load == fires.mean(axis=0).max()
    assert seen.latents.dead == (fires.sum(axis=0) == 0).mean()
    assert health.latents is not None
    assert health.fitted is not None
    loads = model.loads[1].astype(float)
    silent = np.random.default_rng(0).random((4000, 24, 60)) >= loads[None, :, None]
    assert abs(health.fitted.dead - silent.all(axis=2).mean()) < 0.01  # a sample of 60


def test_fvu_is_one_for_the_mean_alone_and_small_for_what_is_decoded(model: CSRModel) -> None:
    rows = embeddings(200)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    left = unit - model.decode(model.encode(rows, k=8))
    want = (left**2).sum() / ((unit - model.pre_bias) ** 2).sum()
    assert abs(unexplained(model, rows, 8).mean() - want) < 1e-5
    assert want < 0.3
    blind = replace(model, scales=np.zeros_like(model.scales))  # decodes to its pre_bias
    np.testing.assert_allclose(unexplained(blind, rows, 8).mean(), 1, rtol=1e-6)


def test_a_least_recall_can_be_asked_for(job: Job) -> None:
    config = MonitorConfig(sample=100, queries=30, min_recall=1.0)
    health = monitor(job, config, keep=False)
    assert health.seen is not None
    assert health.seen.recall is not None
    assert names(health) == (["recall"] if health.seen.recall.value < 1 else [])
    assert not health.is_kept


def test_when_the_dense_vector_was_dropped_it_says_what_it_cannot_see(job: Job) -> None:
    job.cutover(verify=False)
    job.finalize("drop", confirm=job.home.describe().title)
    health = monitor(job, QUICK)
    assert health.ok
    assert (health.seen, health.looked, health.is_kept) == (None, 0, False)
    assert "was dropped, so nothing tells" in health.notes[0]
    assert health.latents is not None


def test_what_cannot_be_monitored_is_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected ids= or filter=, got both"):
        monitor(job, ids=[1], filter=job.home.matching("cat", 1))
    with pytest.raises(ConfigError, match="among those given, found none in edge://"):
        monitor(job, QUICK, ids=[NEW])
    (tmp_path / "job" / "monitor.json").write_text("{}")
    with pytest.raises(FormatError, match="delete it, and the next run without findings"):
        monitor(job, QUICK)
    job.rollback()
    with pytest.raises(
        JobError, match=r"has no codes 'csr' of the job in .*, which is rolled_back"
    ):
        monitor(job, QUICK)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sample": 0}, "sample of at least 1, got 0"),
        ({"queries": -1}, "queries of at least 0, got -1"),
        ({"max_missing": 1.5}, "max_missing from 0 to 1, got 1.5"),
        ({"min_recall": float("nan")}, "min_recall from 0 to 1, got nan"),
        ({"max_fvu_ratio": 0.5}, "max_fvu_ratio of at least 1, got 0.5"),
    ],
)
def test_thresholds_out_of_range_are_refused(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MonitorConfig(**settings)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_a_server_is_only_read(server: RestShim, model: CSRModel, tmp_path: Path) -> None:
    client = QdrantClient(url=server.url, check_compatibility=False)
    fill(server, client, N)
    job = compress(client, "docs", model=model, k=8, job=tmp_path / "job", progress=False)
    points = [
        models.PointStruct(
            id=NEW + i,
            vector={"dense": row},
            payload={"cat": 50 + i, "at": f"2026-11-{1 + i % 20:02}"},
        )
        for i, row in enumerate(embeddings(60, seed=9).tolist())
    ]
    DualWriter.of(job).upsert(points)
    before = everything(server)
    server.seen.clear()
    config = MonitorConfig(sample=60, queries=10)
    health = monitor(job, config, filter=where(job.home, "cat=3"), keep=True)
    assert health.ok
    for chosen, n in (
        (since(job.home, "cat", "50"), 60),
        (since(job.home, "at", "2026-11-11"), 30),
        (since(job.home, "at", "2026-11-11T00:00:00Z"), 30),
        (where(job.home, 'cat="3"'), 0),
    ):
        if n:
            health = monitor(job, MonitorConfig(sample=60, queries=0), filter=chosen)
            assert health.seen is not None
            assert health.seen.points == n
            assert names(health) == ["fvu"]
        else:
            with pytest.raises(ConfigError, match="found none"):
                monitor(job, QUICK, filter=chosen)
    assert not [one for one in server.seen if one.startswith(WRITES)]
    assert everything(server) == before
    client.close()


@pytest.mark.parametrize("text", ["yesterday", "nan", "inf", ""])
def test_a_time_that_is_none_is_refused(text: str, job: Job) -> None:
    with pytest.raises(ConfigError, match="a date or time such as 2026-11-01T08:00:00Z, got"):
        since(job.home, "at", text)


def test_a_condition_that_is_none_is_refused(job: Job) -> None:
    for text in ("cat", "=3", ""):
        with pytest.raises(ConfigError, match="a condition FIELD=VALUE"):
            where(job.home, text)


def test_what_was_found_is_plain_data(job: Job) -> None:
    import json

    plain = json.loads(json.dumps(asdict(monitor(job, QUICK)), allow_nan=False))
    assert plain["seen"]["points"] == 200
    assert plain["findings"] == []
