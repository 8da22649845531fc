"""`DualWriter` on both homes: written points have the codes of a backfill, and bad ones nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from csrkit import Searcher
from csrkit.collection import DualWriter, Job, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.errors import ConfigError, JobError, ShapeError, StoreError
from csrkit.model import CSRModel
from csrkit.stores import QdrantStore

from ..contract.rest_shim import QUICK, RestShim, running
from .copies import copied, point, records, title
from .models import random_model
from .servers import fill
from .shards import DIM, contents, embeddings, make_shard

N = 60
NEW = 10**8


class Service(NamedTuple):
    """Somebody's collection with a job, and how its vendor spells points."""

    job: Job
    point: Callable[..., Any]
    vectors: Callable[..., Any]
    shard: Callable[[], qe.EdgeShard]


@pytest.fixture(scope="module")
def model() -> CSRModel:
    return random_model()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RestShim) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def shim(server: RestShim, tmp_path: Path) -> RestShim:
    server.reset(tmp_path / "server")
    return server


@pytest.fixture(params=["edge", "server"])
def service(request: Any, tmp_path: Path, model: CSRModel) -> Iterator[Service]:
    options: Any = {"model": model, "k": 8, "job": tmp_path / "job", "progress": False}
    if request.param == "edge":
        make_shard(tmp_path / "shard", N).close()
        home: Any = EdgeHome(tmp_path / "shard")
        job = compress(home, **options)
        yield Service(job, qe.Point, qe.PointVectors, lambda: home.shard)
        home.close()
        return
    shim, client = request.getfixturevalue("shim"), request.getfixturevalue("client")
    fill(shim, client, N)
    job = compress(QdrantHome(client, "docs", retry=QUICK), **options)

    def point(one: Any, vector: Any, payload: Any) -> Any:
        return models.PointStruct(id=one, vector=vector, payload=payload)

    def vectors(one: Any, vector: Any) -> Any:
        return models.PointVectors(id=one, vector=vector)

    yield Service(job, point, vectors, lambda: shim["docs"].shard)


def written(service: Service) -> Any:
    return contents(service.shard())


def fresh(n: int, seed: int = 7) -> Any:
    """Rows of all lengths, as no engine keeps them for the cosine."""
    scale = np.random.default_rng(seed).exponential(3, size=(n, 1))
    return (embeddings(n, seed) * scale).astype(np.float32)


def test_new_points_are_found_and_nothing_is_left_to_sweep(
    service: Service, model: CSRModel
) -> None:
    before, rows = written(service), fresh(40)
    writer = DualWriter.of(service.job, batch_size=16)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    payload = {"cat": 3, "tags": ["a"], "at": at.isoformat()}
    points = [
        service.point(NEW + i, {"dense": row.tolist()}, payload) for i, row in enumerate(rows)
    ]
    writer.upsert(iter(points))
    home = service.job.home
    assert [hits[0].id for hits in home.exact(rows, "dense", limit=1)] == [
        NEW + i for i in range(40)
    ]
    queries = model.encode(rows, k=8)
    found = home.sparse(queries, "csr", limit=1, filter=home.matching("cat", 3))
    assert [round(hits[0].score, 5) for hits in found] == [1.0] * 40
    after = written(service)
    assert {one: after[one] for one in before} == before
    assert after[str(NEW)][0] == payload
    wrote = service.job.sweep()
    assert (wrote.written, wrote.rejects) == (0, 0)
    assert written(service) == after


def test_a_point_that_exists_is_replaced_whole_and_coded_anew(service: Service) -> None:
    one = next(iter(written(service)))
    row = fresh(1)[0]
    key: Any = int(one) if one.isdigit() else one
    DualWriter.of(service.job).upsert([service.point(key, {"dense": row.tolist()}, {"new": 1})])
    assert written(service)[one][0] == {"new": 1}
    assert service.job.sweep().written == 0


def test_vectors_replaced_alone_keep_their_payload(service: Service) -> None:
    before = written(service)
    ids: list[Any] = [int(one) for one in before if one.isdigit()][:5]
    rows = fresh(5).tolist()
    writer = DualWriter.of(service.job)
    writer.update_vectors(
        [service.vectors(one, {"dense": row}) for one, row in zip(ids, rows, strict=True)]
    )
    after = written(service)
    for one in map(str, ids):
        assert after[one][0] == before[one][0]
        assert after[one][1]["csr"] != before[one][1]["csr"]
    assert service.job.sweep().written == 0
    with pytest.raises(StoreError, match=r"cannot write \[1234567\], after 0 of 1 were stored"):
        writer.update_vectors([service.vectors(1234567, {"dense": rows[0]})])


def test_points_can_be_sent_by_other_means(service: Service) -> None:
    rows = fresh(3)
    points = DualWriter.of(service.job).coded(
        [service.point(NEW + i, {"dense": row.tolist()}, None) for i, row in enumerate(rows)]
    )
    assert {type(point) for point in points} <= {qe.Point, models.PointStruct}
    if isinstance(service.job.home, QdrantHome):
        service.job.home.client.upsert("docs", points, wait=True)
    else:
        service.shard().update(qe.UpdateOperation.upsert_points(points))
    assert service.job.sweep().written == 0


def bad_points(row: list[float]) -> list[tuple[Any, Any, Any, type[Exception], str]]:
    dense = {"dense": row}
    return [
        (1, {"dense": [float("nan"), *row[1:]]}, {}, ShapeError, "'dense' of point 1, got NaN"),
        (1, {"dense": [3e38 * 10, *row[1:]]}, {}, ShapeError, "NaN or infinity"),
        (1, {"dense": [0.0] * DIM}, {}, ShapeError, "zeros alone for point 1"),
        (1, {"dense": row[1:]}, {}, ShapeError, rf"expected {DIM} numbers .* \({DIM - 1},\)"),
        (1, {}, {}, ShapeError, "point 1 has no vector 'dense' to encode"),
        (1, {**dense, "text": row}, {}, StoreError, "a vector 'text', the collection has 'dense'"),
        (1, {**dense, "csr_residual": row}, {}, StoreError, "which is made here from 'dense'"),
        (1, dense, {"deep": _deep(200)}, StoreError, "the payload of point 1 is nested deeper"),
        (1, dense, {"x": float("nan")}, StoreError, "the payload of point 1 holds nan"),
    ]


def _deep(levels: int) -> Any:
    return {"a": _deep(levels - 1)} if levels else 1


def test_of_a_refused_batch_nothing_is_written(service: Service) -> None:
    good = fresh(1)[0].tolist()
    before, writer = written(service), DualWriter.of(service.job, batch_size=1)
    for one, vector, payload, kind, words in bad_points(good):
        point = models.PointStruct(id=one, vector=vector, payload=payload)
        with pytest.raises(kind, match=words):
            writer.upsert([service.point(NEW, {"dense": good}, {}), point])
    assert written(service) == before


def test_odd_ids_and_things_that_are_no_points_are_refused(service: Service) -> None:
    row = {"dense": fresh(1)[0].tolist()}
    before, writer = written(service), DualWriter.of(service.job)
    same = "936DA01F-9ABD-4D9D-80C7-02AF85C822A8"
    for points, words in (
        ([service.point(5, row, {}), service.point(5, row, {})], r"\[5\] more than once"),
        ([service.point(i, row, {}) for i in (same, same.lower())], "more than once"),
        ([models.PointStruct(id="note-7", vector=row)], "whole numbers and UUIDs, got 'note-7'"),
        ([models.PointStruct.model_construct(id=-1, vector=row, payload=None)], "got -1"),
        ([{"id": 1, "vector": row}], "such as models.PointStruct, got dict"),
    ):
        with pytest.raises(StoreError, match=words):
            writer.upsert(points)
    writer.upsert([])
    assert written(service) == before
    writer.upsert([service.point(same, row, {})])
    assert str(UUID(same)) in written(service)


def test_another_model_is_refused_and_so_is_a_collection_without_codes(
    service: Service, model: CSRModel
) -> None:
    home = service.job.home
    with pytest.raises(JobError, match="codes of two models must not mix"):
        DualWriter(home, model=random_model(1))
    with pytest.raises(JobError, match="has no codes 'codes' of csrkit: add them with"):
        DualWriter(home, model=model, name="codes")
    writer, row = DualWriter(home, model=model), {"dense": fresh(1)[0].tolist()}
    marker = home.marker("csr")
    assert marker is not None
    home.mark(marker.model_copy(update={"fingerprint": "0" * 64}))
    before = written(service)
    with pytest.raises(JobError, match="are of the model 000000000000"):
        writer.upsert([service.point(NEW, row, {})])
    assert written(service) == before
    home.mark(marker.model_copy(update={"is_live": True}))  # a cutover meanwhile is no matter
    writer.upsert([service.point(NEW, row, {})])
    assert "csr" in written(service)[str(NEW)][1]


def test_a_rollback_stops_nobody_from_writing(service: Service) -> None:
    writer = DualWriter.of(service.job)
    service.job.rollback()
    row = fresh(1)[0].tolist()
    with pytest.warns(UserWarning, match="were rolled back: points are written without codes"):
        writer.upsert([service.point(NEW, {"dense": row}, {"cat": 1})])
    writer.upsert([service.point(NEW + 1, {"dense": row}, {})])  # told once
    after = written(service)
    assert list(after[str(NEW)][1]) == ["dense"]
    assert after[str(NEW)][0] == {"cat": 1}


def test_a_rollback_between_look_and_write_does_not_either(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = DualWriter.of(service.job)
    points = [service.point(NEW, {"dense": fresh(1)[0].tolist()}, {})]
    send = writer._vendor.upsert

    def late(*arguments: Any) -> None:
        monkeypatch.undo()
        service.job.rollback()
        send(*arguments)

    monkeypatch.setattr(writer._vendor, "upsert", late)
    with pytest.warns(UserWarning, match="were rolled back"):
        writer.upsert(points)
    assert list(written(service)[str(NEW)][1]) == ["dense"]


def test_a_dense_vector_that_was_dropped_is_encoded_and_not_sent(service: Service) -> None:
    service.job.cutover(verify=False)
    service.job.finalize("drop", confirm=service.job.home.describe().title)
    rows = fresh(4)
    DualWriter.of(service.job).upsert(
        [service.point(NEW + i, {"dense": row.tolist()}, {}) for i, row in enumerate(rows)]
    )
    assert sorted(written(service)[str(NEW)][1]) == ["csr", "csr_residual"]
    found = service.job.home.sparse(service.job.model.encode(rows, k=8), "csr", limit=1)
    assert [hits[0].id for hits in found] == [NEW + i for i in range(4)]


def test_the_folder_of_a_job_is_enough(service: Service, tmp_path: Path) -> None:
    job, home = service.job, service.job.home
    target: Any = home.client if isinstance(home, QdrantHome) else home
    with DualWriter.of(tmp_path / "job", target=target, retry=QUICK) as writer:
        writer.upsert([service.point(NEW, {"dense": fresh(1)[0].tolist()}, {})], wait=False)
    assert job.sweep().written == 0
    with pytest.raises(ConfigError, match="a batch_size of at least 1, got 0"):
        DualWriter.of(job, batch_size=0)


def test_faults_of_a_server_that_pass_are_waited_for(
    shim: RestShim, client: QdrantClient, model: CSRModel, tmp_path: Path
) -> None:
    fill(shim, client, N)
    job = compress(client, "docs", model=model, k=8, job=tmp_path / "job", progress=False)
    writer = DualWriter.of(job, retry=QUICK)
    shim.fail(500, applied=True, only="/points", verb="PUT")
    shim.fail(429, only="/points", verb="PUT")
    shim.fail(None, only="/points", verb="PUT")
    row = fresh(1)[0].tolist()
    writer.upsert([models.PointStruct(id=NEW, vector={"dense": row}, payload={})])
    assert job.sweep().written == 0
    shim.fail(500, 4, only="/points", verb="PUT")
    with pytest.raises(StoreError, match=r"cannot write \[100000001\], after 0 of 1"):
        writer.upsert([models.PointStruct(id=NEW + 1, vector={"dense": row}, payload={})])


def test_a_searcher_finds_what_was_written(
    shim: RestShim, client: QdrantClient, model: CSRModel, tmp_path: Path
) -> None:
    fill(shim, client, N)
    job = compress(client, "docs", model=model, k=8, job=tmp_path / "job", progress=False)
    rows = fresh(5)
    DualWriter.of(job).upsert(
        [
            models.PointStruct(id=NEW + i, vector={"dense": row.tolist()})
            for i, row in enumerate(rows)
        ]
    )
    store = QdrantStore(client, "docs", create=False)
    for rescore, dense in (("codes", None), ("dense", "dense"), (None, None)):
        searcher = Searcher(model, store, k_doc=8, rescore=rescore, dense=dense)
        found = searcher.search(rows, limit=1, k=8)
        assert [hits[0].id for hits in found] == [NEW + i for i in range(5)]


def test_a_copy_is_written_to_once_it_is_live(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    job = copied(old_client, tmp_path)
    row = fresh(1)[0]
    with pytest.raises(JobError, match=r"a copy of .* that is not live: until the cutover write"):
        DualWriter.of(job)
    with pytest.raises(JobError, match="has no codes 'csr' of csrkit"):
        DualWriter(old_client, "live", model=job.model)
    job.cutover(verify=False)
    DualWriter.of(tmp_path / "job", target=old_client).upsert([point(0, NEW, row)])
    writer = DualWriter(old_client, "live", model=job.model)  # by the alias, as a service does
    writer.upsert([point(0, NEW + 1, row)])
    assert job.sweep().written == 0
    found = job.home.sparse(job.model.encode(row[None], k=8), "csr", limit=2)
    assert {hit.id for hit in found[0]} == {NEW, NEW + 1}
    job.rollback(confirm=title(job))
    with pytest.warns(UserWarning, match="were rolled back"):
        writer.upsert([point(0, NEW + 2, row)])
    assert sorted(records(old, "docs")[str(NEW + 2)][1]) == sorted(point(0, NEW, row).vector)
