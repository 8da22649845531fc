"""The end of a copy: the aliases move in one step, and back; what is refused, and what is lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from csrkit.collection import Job
from csrkit.collection.homes.pairs import QdrantPair
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.collection.jobs.ledger import Ledger, Phase
from csrkit.errors import ConfigError, JobError
from csrkit.stores import QdrantStore

from ..contract.rest_shim import RestShim
from .copies import N, assert_equal, copied, point, records, title
from .shards import embeddings, point_ids
from .test_copying import Killed, dying, meddle


@pytest.fixture
def job(old: RestShim, old_client: QdrantClient, tmp_path: Path) -> Job:
    return copied(old_client, tmp_path)


def led_to(old: RestShim) -> set[str]:
    assert old.aliases.keys() == {"live", "ändere"}
    return set(old.aliases.values())


def test_the_aliases_move_in_one_call_once_the_copy_is_up_to_date(
    old: RestShim, old_client: QdrantClient, job: Job
) -> None:
    meddle(old, old_client)
    before = records(old, "docs")
    old.seen.clear()
    done = job.cutover(verify=False)
    assert (done.using, done.swept.written, done.swept.gone) == ("csr", 36, 2)
    assert [one for one in old.seen if "aliases" in one and one.startswith("POST")] == [
        "POST /collections/aliases"
    ]
    assert led_to(old) == {title(job)}
    assert job.phase is Phase.CUTOVER
    assert_equal(old, job)
    assert records(old, "docs") == before
    marker = job.home.marker("csr")
    assert marker is not None
    assert marker.is_live
    store = QdrantStore(old_client, "live", create=False, codec=job.model.fingerprint)
    code = job.model.encode(embeddings(N)[20:21], k=8)
    assert store.search(code, limit=1)[0][0].id == point_ids(N)[20]


def test_a_live_copy_is_the_collection_and_follows_nothing(
    old: RestShim, old_client: QdrantClient, job: Job
) -> None:
    job.cutover(verify=False)
    rows = embeddings(4, seed=8)
    old_client.upsert("live", [point(i, 10**9 + i, rows[i]) for i in range(4)], wait=True)
    old_client.delete("live", [point_ids(N)[0]], wait=True)
    assert job.sweep().written == 4
    assert job.cutover(verify=False).swept == (0, 0, 2)
    found = records(old, title(job))
    assert "csr" in found[str(10**9)][1]
    assert str(point_ids(N)[0]) not in found
    assert str(10**9) not in records(old, "docs")


def test_a_collection_without_an_alias_cannot_be_switched(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    old.aliases.clear()
    job = copied(old_client, tmp_path, "docs")
    with pytest.raises(JobError, match=r"'docs' is used by its own name.*make an alias"):
        job.cutover(verify=False)
    assert job.phase is Phase.BACKFILLED
    old.aliases["live"] = "docs"
    job.cutover(verify=False)
    assert old.aliases == {"live": title(job)}


def test_a_copy_whose_index_is_being_built_is_not_switched_to(old: RestShim, job: Job) -> None:
    old[title(job)].status = models.CollectionStatus.YELLOW
    with pytest.raises(JobError, match="is not ready, its index is being built"):
        job.cutover(verify=False)
    assert led_to(old) == {"docs"}


def test_a_writer_that_does_not_pause_stops_the_cutover(
    old: RestShim, old_client: QdrantClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, read, count = embeddings(N, seed=5), QdrantPair.read, [0]

    def disturbed(self: Any, *args: Any) -> Any:
        count[0] += 1
        new = point(1, 10**9 + count[0], rows[count[0] % N])
        old_client.upsert("docs", [new], wait=True)
        return read(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(QdrantPair, "read", disturbed)
        with pytest.raises(JobError, match=r"'docs' is being written to, \d+ points .* pause"):
            job.cutover(verify=False)
    assert led_to(old) == {"docs"}
    marker = job.home.marker("csr")
    assert marker is not None
    assert not marker.is_live
    job.cutover(verify=False)
    assert_equal(old, job)


def test_a_write_that_was_left_behind_is_told(
    old: RestShim, old_client: QdrantClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, switch = point_ids(N), QdrantPair.switch

    def late(self: Any, **options: Any) -> list[str]:
        row = embeddings(1, seed=2)[0]
        old_client.upsert("docs", [point(1, 10**9, row), point(2, ids[7], row)], wait=True)
        old_client.delete("docs", [ids[9]], wait=True)
        moved = switch(self, **options)
        old_client.upsert("live", [point(3, 10**9 + 1, row)], wait=True)  # as it should be
        return moved

    monkeypatch.setattr(QdrantPair, "switch", late)
    with pytest.raises(JobError, match="cut over, but 'docs' was written to") as caught:
        job.cutover(verify=False)
    (named,) = re.findall(r"\[(.*)\]", str(caught.value))
    assert set(named.split(", ")) == {str(ids[7]), str(ids[9]), str(10**9)}
    assert job.phase is Phase.CUTOVER
    assert led_to(old) == {title(job)}
    job.cutover(verify=False)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name"), [(QdrantHome, "mark"), (QdrantPair, "switch")])
def test_a_cutover_that_was_interrupted_goes_on(
    old: RestShim,
    old_client: QdrantClient,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    after: bool,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying(getattr(owner, name), 1, after=after))
        with pytest.raises(Killed):
            job.cutover(verify=False)
    is_moved = (name, after) == ("switch", True)
    new = point(1, 10**9, embeddings(1, seed=6)[0])
    old_client.upsert("live", [new], wait=True)  # to whichever it leads to
    Job.open(job.folder, target=old_client, progress=False).cutover(verify=False)
    assert led_to(old) == {title(job)}
    assert "csr" in records(old, title(job))[str(10**9)][1]
    assert (str(10**9) in records(old, "docs")) != is_moved


@pytest.mark.parametrize("is_live", [False, True])
def test_rollback_deletes_the_copy_alone(
    old: RestShim, old_client: QdrantClient, job: Job, is_live: bool
) -> None:
    before, metadata = records(old, "docs"), dict(old["docs"].metadata)
    if is_live:
        job.cutover(verify=False)
    job.rollback()
    job.rollback()  # harmless
    assert list(old.collections) == ["docs"]
    assert led_to(old) == {"docs"}
    assert (records(old, "docs"), old["docs"].metadata) == (before, metadata)
    with pytest.raises(JobError, match="was rolled back"):
        job.sweep()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"), [(QdrantPair, "switch"), (QdrantPair, "drop_copy"), (Ledger, "advance")]
)
def test_a_rollback_that_was_interrupted_goes_on(
    old: RestShim,
    old_client: QdrantClient,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    after: bool,
) -> None:
    before = records(old, "docs")
    job.cutover(verify=False)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying(getattr(owner, name), 1, after=after))
        with pytest.raises(Killed):
            job.rollback()
    again = Job.open(job.folder, target=old_client, progress=False)
    again.rollback()
    assert again.phase is Phase.ROLLED_BACK
    assert list(old.collections) == ["docs"]
    assert led_to(old) == {"docs"}
    assert records(old, "docs") == before


def test_rollback_does_not_lose_what_was_written_since(
    old: RestShim, old_client: QdrantClient, job: Job
) -> None:
    job.cutover(verify=False)
    ids = point_ids(N)
    old_client.upsert("live", [point(1, 10**9, embeddings(1)[0])], wait=True)
    old["live"].shard.update(qe.UpdateOperation.overwrite_payload([ids[4]], {"cat": 99}))
    old_client.delete("live", [ids[5]], wait=True)
    words = r"2 points were written to 'docs__csrkit_\w+' and 1 deleted, such as \["
    for confirm in (None, "", "docs", "yes"):
        with pytest.raises(JobError, match=words):
            job.rollback(confirm=confirm)
    assert led_to(old) == {title(job)}
    assert str(10**9) in records(old, title(job))
    job.rollback(confirm=title(job))
    assert list(old.collections) == ["docs"]


def test_a_copy_that_somebody_deleted_is_told(
    old: RestShim, old_client: QdrantClient, job: Job
) -> None:
    old_client.delete_collection(title(job))
    with pytest.raises(JobError, match="is not there any more, or carries no marker"):
        job.sweep()
    Job.open(job.folder, target=old_client, progress=False).rollback()
    assert list(old.collections) == ["docs"]


def test_the_original_is_deleted_only_when_its_name_is_typed(
    old: RestShim, old_client: QdrantClient, job: Job
) -> None:
    with pytest.raises(JobError, match="is backfilled, expected it to be cutover"):
        job.finalize(drop_original=True, confirm="docs")
    job.cutover(verify=False)
    for confirm in (None, "", title(job), "live"):
        with pytest.raises(ConfigError, match="cannot be undone: to do it, pass its name"):
            job.finalize(drop_original=True, confirm=confirm)
    with pytest.raises(ConfigError, match="expected drop_original alone"):
        job.finalize("drop", drop_original=True, confirm="docs")
    old.aliases["archive"] = "docs"
    with pytest.raises(JobError, match=r"still in use, by its aliases \['archive'\]"):
        job.finalize(drop_original=True, confirm="docs")
    del old.aliases["archive"]
    assert list(old.collections) == ["docs", title(job)]
    copy = records(old, title(job))
    assert job.finalize(drop_original=True, confirm="docs").snapshot == "docs-1.snapshot"
    assert list(old.collections) == [title(job)]
    assert old.snapshots == ["docs"]
    with pytest.raises(JobError, match=r"without the copy .* nothing would be left"):
        job.rollback(confirm=title(job))
    again = Job.open(job.folder, target=old_client, progress=False)
    assert again.sweep().written == 0
    assert again.finalize(drop_original=True, confirm="docs").snapshot is None  # it is done
    assert records(old, title(job)) == copy


def test_codes_in_place_have_no_original_to_drop(
    old: RestShim, old_client: QdrantClient, tmp_path: Path
) -> None:
    old.version = "1.18.1"
    job = copied(old_client, tmp_path)
    job.cutover(verify=False)
    with pytest.raises(ConfigError, match="in place, so there is no original"):
        job.finalize(drop_original=True, confirm="docs")
    assert list(old.collections) == ["docs"]
