"""`Ledger`: what a job has done, in a SQLite file that survives a kill at any moment.

A rollback journal and ``synchronous=FULL``: a statement that returned is on the disk. A
range of ids is noted as done only after the engine has acknowledged its last write, so what
the ledger says is never more than what is true; doing a range again is harmless.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from csrkit.collection.home import PointId
from csrkit.errors import JobError

__all__ = ["Ledger", "Phase", "Range", "Tally", "held"]

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    one INTEGER PRIMARY KEY CHECK (one = 1), phase TEXT NOT NULL, retries INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS ranges (
    number INTEGER PRIMARY KEY, first TEXT NOT NULL, last TEXT NOT NULL,
    points INTEGER NOT NULL, is_done INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, written INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS rejects (id TEXT PRIMARY KEY, reason TEXT NOT NULL);
"""


class Phase(StrEnum):
    """How far a job is, in order; the last two are ends."""

    PLANNED = "planned"
    FITTED = "fitted"
    ADDED = "added"
    BACKFILLED = "backfilled"
    VERIFIED = "verified"
    CUTOVER = "cutover"
    FINALIZED = "finalized"
    ROLLED_BACK = "rolled_back"


class Range(NamedTuple):
    """Consecutive ids that are worked on together.

    Attributes:
        number: Its place, from 1.
        first: Its first id.
        last: Its last id.
        points: Points in it when it was listed.
    """

    number: int
    first: PointId
    last: PointId
    points: int


class Tally(NamedTuple):
    """Sums over all ranges.

    Attributes:
        ranges: Ranges listed so far.
        done: Those that are done.
        points: Points in those that are done.
        written: Points that got a code.
        gone: Points that were deleted between listing and writing.
        rejects: Points that cannot be encoded.
        retries: Calls that were repeated.
    """

    ranges: int
    done: int
    points: int
    written: int
    gone: int
    rejects: int
    retries: int


class Ledger:
    """The ledger of one job.

    Args:
        path: The file; made if missing.

    Raises:
        JobError: If it is not a ledger of this version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._reported("open"):
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.execute("PRAGMA synchronous = FULL")
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found not in (0, _FORMAT):
            raise JobError(
                f"{self._path} is a ledger of format {found}, this csrkit reads format {_FORMAT}: "
                "go on with the version that began the job"
            )
        if not found:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute("INSERT OR IGNORE INTO job VALUES (1, ?, 0)", [Phase.PLANNED])
                self._db.execute(f"PRAGMA user_version = {_FORMAT}")

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise JobError(
                f"cannot {doing} the ledger {self._path}: {error}; what was acknowledged is kept: "
                "see to the disk, and run the same command to go on"
            ) from error
        except (sqlite3.Error, LookupError, TypeError, ValueError) as error:
            raise JobError(
                f"cannot {doing} the ledger {self._path}: it was changed or damaged ({error}); "
                "restore it, or move it away: `csrkit compress` then begins again with the job's "
                "own model, and `csrkit rollback` undoes the job"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- phase ------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far the job is."""
        with self._reported("read"):
            return Phase(self._db.execute("SELECT phase FROM job").fetchone()[0])

    def advance(self, phase: Phase) -> None:
        """Note a new phase.

        Args:
            phase: The phase that was reached.
        """
        with self._reported("write"):
            self._db.execute("UPDATE job SET phase = ?", [phase])

    def count_retries(self, times: int) -> None:
        """Add to the number of repeated calls.

        Args:
            times: How many more.
        """
        if times:
            with self._reported("write"):
                self._db.execute("UPDATE job SET retries = retries + ?", [times])

    # -- ranges -----------------------------------------------------------------

    def begin(self, first: PointId, last: PointId, points: int) -> Range:
        """Note a range that is about to be worked on, for the first time.

        Args:
            first: Its first id.
            last: Its last id.
            points: How many it has.

        Returns:
            The range.
        """
        with self._reported("write"):
            cursor = self._db.execute(
                "INSERT INTO ranges (first, last, points, attempts) VALUES (?, ?, ?, 1)",
                [json.dumps(first), json.dumps(last), points],
            )
        assert cursor.lastrowid is not None  # it was inserted
        return Range(cursor.lastrowid, first, last, points)

    def attempt(self, one: Range) -> None:
        """Count another attempt at a range.

        Args:
            one: The range.
        """
        with self._reported("write"):
            self._db.execute(
                "UPDATE ranges SET attempts = attempts + 1 WHERE number = ?", [one.number]
            )

    def finish(self, one: Range, written: int, gone: int, rejects: Mapping[PointId, str]) -> None:
        """Note that every write of a range was acknowledged.

        Args:
            one: The range.
            written: Points that got a code.
            gone: Points that were deleted meanwhile.
            rejects: Points that cannot be encoded, with the reason.
        """
        with self._reported("write"), self._transaction():
            self._reject(rejects)
            self._db.execute(
                "UPDATE ranges SET is_done = 1, written = ?, gone = ? WHERE number = ?",
                [written, gone, one.number],
            )

    def unfinished(self) -> list[Range]:
        """Return the ranges that were begun and not finished."""
        with self._reported("read"):
            rows = self._db.execute(
                "SELECT number, first, last, points FROM ranges WHERE NOT is_done ORDER BY number"
            ).fetchall()
            return [Range(int(n), _id(first), _id(last), int(p)) for n, first, last, p in rows]

    def frontier(self) -> PointId | None:
        """Return the last id that is in a range, None before the first."""
        with self._reported("read"):
            row = self._db.execute(
                "SELECT last FROM ranges ORDER BY number DESC LIMIT 1"
            ).fetchone()
            return _id(row[0]) if row else None

    # -- rejects ----------------------------------------------------------------

    def settle(self, seen: Iterable[PointId], rejects: Mapping[PointId, str]) -> None:
        """Note what a sweep found: new rejects, and points that are none any more.

        Args:
            seen: Points that were looked at; those not among the rejects are none.
            rejects: Points that cannot be encoded, with the reason.
        """
        with self._reported("write"), self._transaction():
            keys = [[json.dumps(one)] for one in seen]
            self._db.executemany("DELETE FROM rejects WHERE id = ?", keys)
            self._reject(rejects)

    def _reject(self, rejects: Mapping[PointId, str]) -> None:
        rows = [(json.dumps(one), reason) for one, reason in rejects.items()]
        self._db.executemany("INSERT OR REPLACE INTO rejects VALUES (?, ?)", rows)

    def rejects(self, most: int = 20) -> list[tuple[PointId, str]]:
        """Return points that cannot be encoded, with the reason.

        Args:
            most: How many at most.

        Returns:
            The first of them.
        """
        with self._reported("read"):
            rows = self._db.execute("SELECT id, reason FROM rejects LIMIT ?", [most]).fetchall()
            return [(_id(one), str(reason)) for one, reason in rows]

    def tally(self) -> Tally:
        """Return the sums over all ranges."""
        with self._reported("read"):
            row: Any = self._db.execute(
                "SELECT count(*), coalesce(sum(is_done), 0), "
                "coalesce(sum(points * is_done), 0), coalesce(sum(written), 0), "
                "coalesce(sum(gone), 0), (SELECT count(*) FROM rejects), "
                "(SELECT retries FROM job) FROM ranges"
            ).fetchone()
            return Tally(*map(int, row))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _id(text: str) -> PointId:
    """Read an id as it is kept: JSON, as SQLite's integers end before Qdrant's."""
    found = json.loads(text)
    if not isinstance(found, int | str) or isinstance(found, bool):
        raise TypeError(f"{found!r} is no id")
    return found


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes from working on the same job; a kill releases it.

    Args:
        path: A file for this purpose alone.

    Yields:
        Nothing.

    Raises:
        JobError: If another process works on the job, or the file cannot be made.
    """
    try:
        lock = sqlite3.connect(path, timeout=0, isolation_level=None)
    except sqlite3.Error as error:
        raise JobError(f"cannot make {path}: {error}") from error
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if error.sqlite_errorname != "SQLITE_BUSY":
            raise JobError(
                f"cannot lock {path}: {error}; see to the disk and its rights"
            ) from error
        raise JobError(
            f"another process works on the job in {path.parent} ({error}): "
            "wait for it, or end it; `csrkit status` shows how far it is"
        ) from error
    try:
        yield
    finally:
        lock.close()
