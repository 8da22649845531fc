"""A copy on a server that cannot add a vector: the real client over HTTP to the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as qe
from pydantic import TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException

from csrkit.collection import Job, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.homes.pairs import QdrantPair
from csrkit.errors import ConfigError, JobError

from ..contract.rest_shim import RestShim
from .copies import N, assert_equal, copied, point, records, settings, title
from .models import random_model
from .shards import DIM, embeddings, make_shard, point_ids


def test_a_server_that_cannot_add_a_vector_gets_a_copy(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    before, metadata = records(old, "docs"), dict(old["docs"].metadata)
    job = copied(old_client, tmp_path)
    assert job.manifest.strategy == "copy"
    assert_equal(old, job)
    assert len(before) == N + 2  # one without a dense vector, one of zeros
    assert dict(job.status().reasons).keys() == {10**8, 10**8 + 1}
    assert job.status().written == N
    assert settings(old_client, title(job)) == settings(old_client, "docs")
    params = old_client.get_collection(title(job)).config.params
    assert isinstance(params.vectors, dict)
    assert params.vectors["csr_residual"].hnsw_config == models.HnswConfigDiff(m=0)
    assert set(params.sparse_vectors or {}) == {"csr", "bm25"}
    assert old.aliases == {"live": "docs", "ändere": "docs"}
    assert (records(old, "docs"), old["docs"].metadata) == (before, metadata)
    assert old[title(job)].metadata["owner"] == "search team"
    marker = job.home.marker("csr")
    assert marker is not None
    assert marker.job == job.manifest.job


def test_a_server_that_can_gets_codes_in_place_unless_told_otherwise(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    old.version = "1.18.0"
    assert copied(old_client, tmp_path).manifest.strategy == "in_place"
    assert "csr" in (old_client.get_collection("docs").config.params.sparse_vectors or {})
    options: Any = {"job": tmp_path / "other", "name": "csr2"}
    assert copied(old_client, tmp_path, strategy="copy", **options).manifest.copy_of == "docs"
    with pytest.raises(ConfigError, match="begun with strategy='copy', got 'in_place'"):
        copied(old_client, tmp_path, strategy="in_place", **options)


# -- what is refused --------------------------------------------------------------------


def test_a_collection_of_the_same_name_is_never_touched(
    old: RestShim, old_client: QdrantClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.compressing.secrets.token_hex", lambda n: "ab" * n)
    taken = "docs__csrkit_" + "ab" * 8
    params = models.VectorParams(size=2, distance=models.Distance.DOT)
    old_client.create_collection(taken, vectors_config={"x": params})
    old_client.upsert(taken, [models.PointStruct(id=1, vector={"x": [1.0, 2.0]}, payload={})])
    before = records(old, taken)
    with pytest.raises(JobError, match=f"a collection '{taken}' that carries no marker of this"):
        copied(old_client, tmp_path)
    Job.open(tmp_path / "job", target=old_client, progress=False).rollback()
    assert records(old, taken) == before


def test_a_second_copy_for_the_same_codes_is_refused(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    first = copied(old_client, tmp_path)
    with pytest.raises(JobError, match=f"has a copy with codes 'csr' already, {title(first)}"):
        copied(old_client, tmp_path, job=tmp_path / "two")
    assert list(old.collections) == ["docs", title(first)]
    first.rollback()
    copied(old_client, tmp_path, job=tmp_path / "two")


def test_a_vector_of_the_name_in_the_original_is_refused(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match="has a vector 'bm25' that carries no marker of csrkit"):
        copied(old_client, tmp_path, name="bm25")
    assert list(old.collections) == ["docs"]


def _unnamed(client: QdrantClient, name: str = "bare", **settings: Any) -> None:
    params = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config=params, **settings)
    rows = zip(point_ids(20), embeddings(20).tolist(), strict=True)
    points = [models.PointStruct(id=one, vector=row, payload={"a": 1}) for one, row in rows]
    client.upsert(name, points, wait=True)


@pytest.mark.parametrize(
    ("name", "settings", "options", "words"),
    [
        ("bare", {}, {}, r"has no name, so a copy has no place .*residuals=False"),
        ("bare", {"sharding_method": "custom"}, {"residuals": False}, "shard keys of its own"),
        ("b" * 240, {}, {"residuals": False}, "a name may have 255 characters, got 265"),
    ],
)
def test_what_cannot_be_copied_is_refused_before_anything_is_made(
    old: RestShim,
    old_client: QdrantClient,
    tmp_path: Path,
    name: str,
    settings: Any,
    options: Any,
    words: str,
) -> None:
    _unnamed(old_client, name, **settings)
    with pytest.raises(ConfigError, match=words):
        copied(old_client, tmp_path, name, vector="", **options)
    assert list(old.collections) == ["docs", name]
    assert not (tmp_path / "job").exists()


def test_a_vector_without_a_name_is_copied(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    _unnamed(old_client)
    job = copied(old_client, tmp_path, "bare", vector="", residuals=False)
    copy, original = records(old, f"bare__csrkit_{job.manifest.job}"), records(old, "bare")
    assert all(rows.pop("csr") for _, rows in copy.values())
    assert copy == original
    assert job.sweep() == (0, 0, 0)


def test_a_shard_has_no_collections_to_copy_into(tmp_path: Path) -> None:
    make_shard(tmp_path / "shard", 20).close()
    home = EdgeHome(tmp_path / "shard")
    with pytest.raises(ConfigError, match=r"a collection of a Qdrant server.*copy its folder"):
        compress(home, model=random_model(), k=8, job=tmp_path / "job", strategy="copy")
    assert not (tmp_path / "job").exists()
    assert EdgeHome(tmp_path / "shard").describe().sparse == ()


# -- interruptions ------------------------------------------------------------------------


class Killed(BaseException):
    """What nothing in the job catches."""


def dying(call: Callable[..., Any], at: int, *, after: bool) -> Callable[..., Any]:
    calls = []

    def watched(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == at and not after:
            raise Killed
        result = call(*args, **options)
        if len(calls) == at:
            raise Killed
        return result

    return watched


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("name", "at"), [("make", 1), ("complete", 1), ("write", 1), ("write", 4)])
def test_a_copy_that_was_interrupted_goes_on(
    old: RestShim,
    old_client: QdrantClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    at: int,
    after: bool,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(QdrantPair, name, dying(getattr(QdrantPair, name), at, after=after))
        with pytest.raises(Killed):
            copied(old_client, tmp_path)
    job = copied(old_client, tmp_path, model=None)
    assert_equal(old, job)
    assert settings(old_client, title(job)) == settings(old_client, "docs")
    assert list(old.collections) == ["docs", title(job)]


def test_faults_that_pass_change_nothing(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    old.fail(None, 1, only="/collections/docs__csrkit", verb="PUT", applied=True)  # it is made
    old.fail(429, 1, only="/points", verb="PUT", Retry_After="1")
    old.fail(500, 1, only="/points", verb="PUT", applied=True)
    old.fail(413, 1, only="/points", verb="PUT")
    old.fail(503, 2, only="/points", verb="POST")
    job = copied(old_client, tmp_path)
    assert_equal(old, job)
    assert job.status().retries == 3
    assert not old.faults


def test_batches_keep_to_what_strict_mode_allows(
    old: RestShim, old_client: QdrantClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, write = [], QdrantPair.write

    def seen(self: Any, whole: Any, *args: Any) -> None:
        sizes.append(len(whole.page.ids))
        write(self, whole, *args)

    monkeypatch.setattr(QdrantPair, "write", seen)
    copied(old_client, tmp_path)
    assert max(sizes) == 20  # of ranges of 30


# -- late writes ----------------------------------------------------------------------------


def meddle(old: RestShim, client: QdrantClient) -> None:
    """Insert, delete, and change in every way a point can be changed."""
    ids, rows = point_ids(N), embeddings(N, seed=3)
    client.delete("docs", [ids[3], ids[-1]], wait=True)
    client.upsert("docs", [point(i, 10**7 + i, rows[i]) for i in range(30)], wait=True)
    change, shard = qe.UpdateOperation, old["docs"].shard
    shard.update(change.overwrite_payload([ids[5]], {"cat": 1, "new": [None]}))
    shard.update(change.update_vectors([qe.PointVectors(ids[6], {"dense": rows[6].tolist()})]))
    shard.update(change.update_vectors([qe.PointVectors(ids[7], {"title": [4.0, 3.0, 2.0, 1.0]})]))
    shard.update(change.delete_vectors([ids[8]], ["bm25"]))
    shard.update(change.update_vectors([qe.PointVectors(10**8, {"dense": rows[9].tolist()})]))
    shard.update(change.delete_vectors([ids[10]], ["dense"]))


def test_late_writes_are_followed(old: RestShim, old_client: QdrantClient, tmp_path: Path) -> None:
    job = copied(old_client, tmp_path)
    meddle(old, old_client)
    swept = job.sweep(stale=False)  # ids alone
    assert (swept.written, swept.gone) == (30, 2)
    assert records(old, title(job)).keys() == records(old, "docs").keys()
    swept = job.sweep()
    assert (swept.written, swept.gone) == (6, 0)
    assert_equal(old, job)
    assert point_ids(N)[10] in dict(job.status().reasons)
    assert 10**8 not in dict(job.status().reasons)
    assert job.sweep() == (0, 0, 2)


def test_codes_that_were_spoilt_in_the_copy_are_mended(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    job = copied(old_client, tmp_path)
    ids, shard = point_ids(N), old[title(job)].shard
    spoilt = {"csr": qe.SparseVector([1, 2], [0.6, 0.8])}
    zeros = {"csr_residual": [0.0] * job.manifest.residual_bytes}
    rows = [(ids[1], spoilt), (ids[2], zeros), (10**8 + 1, spoilt | zeros)]
    shard.update(qe.UpdateOperation.update_vectors([qe.PointVectors(*row) for row in rows]))
    shard.update(qe.UpdateOperation.delete_vectors([ids[3]], ["csr"]))
    assert job.sweep().written == 4
    assert_equal(old, job)


def test_a_writer_meanwhile_is_followed(
    old: RestShim, old_client: QdrantClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = QdrantPair.write, []

    def disturbed(self: Any, *args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            meddle(old, old_client)
        write(self, *args)

    monkeypatch.setattr(QdrantPair, "write", disturbed)
    job = copied(old_client, tmp_path)
    job.sweep()
    assert_equal(old, job)


def strict(retrieve: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any, **options: Any) -> Any:
        records = retrieve(*args, **options)
        for one in records:
            for row in (one.vector or {}).values():
                if isinstance(row, list) and None in row:
                    try:
                        TypeAdapter(list[float]).validate_python(row)
                    except ValidationError as error:
                        raise ResponseHandlingException(error) from error
        return records

    return checked


@pytest.mark.parametrize("is_strict", [False, True])
def test_a_vector_that_json_cannot_hold_is_left_out_and_named(
    old: RestShim,
    old_client: QdrantClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_strict: bool,
) -> None:
    if is_strict:  # a client that refuses an answer with null for a number
        monkeypatch.setattr(old_client, "retrieve", strict(old_client.retrieve))
    nan, row = float("nan"), embeddings(1)[0].tolist()
    bad = [
        qe.Point(1, {"dense": row, "title": [nan] * 4}, {"cat": 1}),
        qe.Point(2, {"dense": [nan] * DIM}, {"cat": 2}),
    ]
    old["docs"].shard.update(qe.UpdateOperation.upsert_points(bad))
    job = copied(old_client, tmp_path)
    reasons = dict(job.status().reasons)
    assert "the vector 'title' holds NaN or infinity, and was not copied" in reasons[1]
    assert "'dense' holds NaN" in reasons[2]
    copy = records(old, title(job))
    assert set(copy["1"][1]) == {"dense", "csr", "csr_residual"}
    assert copy["2"] == ({"cat": 2}, {})
    assert job.sweep()[:2] == (0, 0)
