from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from csrkit.collection.jobs.ledger import Ledger, Phase, Range, Tally, held
from csrkit.errors import JobError

LARGEST = 2**64 - 1  # beyond SQLite's integers, so ids are kept as JSON
UUID = "00000000-0000-0000-0000-000000000001"


def test_what_was_noted_is_there_after_opening_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.phase is Phase.PLANNED
    ledger.advance(Phase.ADDED)
    first = ledger.begin(1, 9, 5)
    second = ledger.begin(10, LARGEST, 4)
    ledger.attempt(first)
    ledger.finish(first, 3, 1, {7: "zero"})
    ledger.count_retries(2)
    ledger.close()
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.phase is Phase.ADDED
    assert ledger.unfinished() == [second] == [Range(2, 10, LARGEST, 4)]
    assert ledger.frontier() == LARGEST
    assert ledger.tally() == Tally(2, 1, 5, 3, 1, 1, 2)
    assert ledger.rejects() == [(7, "zero")]
    ledger.close()


def test_a_number_and_its_text_are_two_ids(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.settle([], {1: "a", "1": "b", UUID: "c"})
    ledger.settle([1], {UUID: "d"})
    assert dict(ledger.rejects()) == {"1": "b", UUID: "d"}
    ledger.close()


def test_an_empty_ledger_has_no_frontier(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.frontier() is None
    assert ledger.tally() == Tally(0, 0, 0, 0, 0, 0, 0)
    ledger.close()


def test_every_statement_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    settings = {
        name: ledger._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    assert settings == {"journal_mode": "delete", "synchronous": 2}
    ledger.close()


def test_a_full_disk_is_told_and_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    one = ledger.begin(1, 10**6, 10**6)
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLITE_FULL, as of a full disk
    with pytest.raises(JobError, match=r"full; what was acknowledged is kept: see to the disk"):
        ledger.finish(one, 1, 0, {i: "x" * 100 for i in range(1000)})
    assert ledger.unfinished() == [one]
    assert ledger.tally().rejects == 0
    ledger._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    ledger.finish(one, 1, 0, {i: "x" * 100 for i in range(1000)})
    assert ledger.tally().rejects == 1000
    ledger.close()


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(JobError, match="a ledger of format 9, this csrkit reads format 1"):
        Ledger(tmp_path / "ledger.db")


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"something else, and long enough to be looked at" * 99)
    with pytest.raises(JobError, match="cannot open the ledger"):
        Ledger(tmp_path / "ledger.db")


def test_one_process_works_on_a_job_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "job.lock"
    refused = pytest.raises(JobError, match="another process works on the job")
    with held(lock), refused, held(lock):
        raise AssertionError
    with held(lock):
        pass
