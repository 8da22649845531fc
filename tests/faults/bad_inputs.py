"""Journeys with inputs that make no sense, drawn by a seed, to be survived or refused."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as qe

from csrkit.collection import Job, VerifyConfig, compress, read_status
from csrkit.collection.homes.edge import EdgeHome

from ..collection.models import random_model
from ..collection.shards import DIM, make_shard

N = 20
MODEL = random_model()
TEXTS = ("", " ", "dense", "csr", "ä/ö?#%20", "日本語", "a" * 300, "../up", "\n", "\x00", "🙂", "-")
ODD = (*TEXTS, None, 0, -1, 1, True, 2**70, 0.5, float("nan"), float("inf"), b"x", [], {}, object())
TARGETS = (
    *ODD,
    "edge://",
    "edge:///nowhere",
    "edge://\x00",
    "qdrant://",
    "qdrant:///docs",
    "qdrant://host",
    "qdrant://host:99999/docs",
    "qdrant://[::1/docs",
    "qdrant://127.0.0.1:1/docs",
    "qdrant://127.0.0.1:1/a/b",
    "qdrant+https://127.0.0.1:1/docs?x=1",
    "http://127.0.0.1:1/docs",
    "://",
    Path("shard"),
)
VALUES = (float("nan"), float("inf"), -float("inf"), 0.0, 1e38, -3e38, 1e-45, 1e300)
ATTACKS: list[Callable[[Case], None]] = []


class Case:
    """A shard, a job folder, and a generator to spoil them with."""

    def __init__(self, folder: Path, pristine: Path, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shard, self.job = folder / "shard", folder / "job"
        shutil.copytree(pristine, self.shard)
        self.options: dict[str, Any] = {"k": 8, "model": MODEL, "progress": False, "job": self.job}

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def begin(self) -> None:
        compress(f"edge://{self.shard}", **self.options).close()

    def go_on(self) -> None:
        """Give every command that a person could."""
        job = compress(f"edge://{self.shard}", **self.options)
        try:
            job.sweep()
            job.cutover(verify=self.pick(False, VerifyConfig(min_recall=0.0, max_changed=1.0)))
            job.finalize(self.pick("keep", "drop"), confirm=job.home.describe().title)
            job.rollback()
        finally:
            job.close()

    def look(self) -> None:
        read_status(self.job)
        Job.open(self.job, progress=False).close()

    def file(self) -> Path:
        """Return a file of the job or of what csrkit keeps in the shard."""
        mine = [path for path in self.job.rglob("*") if path.is_file()]
        found: Path = self.pick(*mine, self.shard / "csrkit-jobs.json", self.job / "manifest.json")
        return found


def attack(call: Callable[[Case], None]) -> Callable[[Case], None]:
    ATTACKS.append(call)
    return call


@attack
def arguments(case: Case) -> None:
    """Some arguments are anything at all."""
    names = ("vector", "name", "k", "model", "residuals", "strategy", "job", "config", "rate")
    for name in case.rng.choice(names, case.rng.integers(1, 3), replace=False).tolist():
        value = case.pick(*ODD)
        is_path = name in ("job", "model") and isinstance(value, str)
        case.options[name] = str(case.job / value) if is_path else value
    case.go_on()


@attack
def targets(case: Case) -> None:
    """The target, or the collection of it, is anything at all."""
    compress(case.pick(*TARGETS), case.pick(None, None, *TEXTS), **case.options).close()


@attack
def vectors(case: Case) -> None:
    """Points have odd ids, odd vectors, none, and odd payloads."""
    shard = qe.EdgeShard.load(str(case.shard))
    for _ in range(case.rng.integers(1, 6)):
        row = case.rng.normal(size=DIM)
        row[case.rng.random(DIM) < case.pick(0.1, 0.5, 1.0)] = case.pick(*VALUES)
        one = case.pick(0, 1, 2**64 - 1, str(UUID(int=int(case.rng.integers(9)))))
        payload = {
            case.pick(*TEXTS): case.pick("x" * 2_000_000, None, [[]], 1e300, -(2**62), "\x00")
        }
        named = case.pick({}, {"dense": row.tolist()})
        shard.update(qe.UpdateOperation.upsert_points([qe.Point(one, named, payload)]))
    shard.close()
    case.go_on()


@attack
def shards(case: Case) -> None:
    """The shard is empty, has another kind of vector, or a name that is hard to spell."""
    shutil.rmtree(case.shard)
    case.shard.mkdir()
    name, dim = case.pick(*TEXTS), case.pick(1, 2, DIM)
    several = case.pick(None, qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim))
    datatype = case.pick(*(getattr(qe.VectorStorageDatatype, one) for one in ("Float32", "Uint8")))
    distance = getattr(qe.Distance, case.pick("Cosine", "Dot", "Euclid", "Manhattan"))
    params = qe.EdgeVectorParams(
        size=dim, distance=distance, multivector_config=several, datatype=datatype
    )
    try:
        shard = qe.EdgeShard.create(str(case.shard), qe.EdgeConfig(vectors={name: params}))
        row = case.rng.integers(0, 9, (2, dim)).astype(float).tolist()
        point = qe.Point(1, {name: row if several else row[0]}, {})
        shard.update(
            case.pick(
                qe.UpdateOperation.upsert_points([point]), qe.UpdateOperation.delete_points([1])
            )
        )
        shard.close()
    except Exception:  # the engine refuses it: then nobody runs such a shard
        return
    case.options |= {"vector": name, "name": case.pick("csr", *TEXTS)}
    case.go_on()


@attack
def folders(case: Case) -> None:
    """Something is where the job folder is to be, or one of its files."""
    at = case.pick("", "manifest.json", "ledger.db", "job.lock", "model", "baseline.json")
    place = case.job / at if at else case.job
    place.parent.mkdir(parents=True, exist_ok=True)
    if case.pick(True, False):
        place.mkdir()
        case.pick(lambda: None, (place / "thesis.txt").touch)()
    else:
        place.write_bytes(case.pick(b"", b"{}", b"[]", b"null", b"x" * 5000, b"\xff\xfe"))
    case.pick(case.go_on, case.look)()


@attack
def files(case: Case) -> None:
    """A file of a job that was begun is cut, gone, overwritten or turned in one byte."""
    case.begin()
    path = case.file()
    data = bytearray(path.read_bytes())
    match case.rng.integers(4):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(data[: case.rng.integers(len(data) + 1)])
        case 2:
            path.write_bytes(case.pick(b"", b"{}", b"[]", b"null", b'{"format": 99}', b"\xff" * 99))
        case _:
            for _ in range(case.pick(1, 20) if data else 0):
                data[case.rng.integers(len(data))] = case.rng.integers(256)
            path.write_bytes(data)
    case.pick(case.go_on, case.go_on, case.look)()


@attack
def words(case: Case) -> None:
    """A word in a file of text is replaced, such as a number by a text."""
    case.begin()
    path: Path = case.pick(case.job / "manifest.json", case.shard / "csrkit-jobs.json")
    pieces = path.read_text().split('"')
    pieces[case.rng.integers(len(pieces))] = case.pick(": 1,", ": null,", "x", "0", ": -1,", "")
    path.write_text('"'.join(pieces))
    case.pick(case.go_on, case.look)()


@attack
def ledgers(case: Case) -> None:
    """The ledger is a good database that says nonsense."""
    case.begin()
    nonsense = case.pick(
        "x", "", None, -1, 2**62, 0.5, b"\xff", "[1", "{}", "null", '"a"', "-5", "1e9"
    )
    where, column = case.pick(
        *(("job", one) for one in ("phase", "retries")),
        *(("ranges", one) for one in ("first", "last", "points", "is_done", "written")),
        *(("rejects", one) for one in ("id", "reason")),
    )
    with sqlite3.connect(case.job / "ledger.db") as db:
        db.execute("INSERT INTO rejects VALUES ('7', 'zero')")
        if case.pick(True, False):  # as if it was killed on the way
            db.execute("UPDATE ranges SET is_done = 0")
            db.execute("UPDATE job SET phase = 'added'")
        case.pick(
            lambda: db.execute(f"UPDATE OR IGNORE {where} SET {column} = ?", [nonsense]),
            lambda: db.execute(f"ALTER TABLE {where} RENAME COLUMN {column} TO other"),
            lambda: db.execute(f"DELETE FROM {where}"),
        )()
    db.close()
    case.pick(case.go_on, case.look)()


@attack
def endings(case: Case) -> None:
    """The last commands get anything at all."""
    case.begin()
    job = Job.open(case.job, progress=False)
    try:
        odd = case.pick(*ODD)
        case.pick(
            lambda: job.finalize(odd),
            lambda: job.finalize("drop", confirm=odd),
            lambda: job.cutover(verify=odd),
            lambda: job.verify(VerifyConfig(**{case.pick("k", "effort", "sample", "by"): odd})),
            lambda: job.verify(odd),
            lambda: Job.open(odd),
            lambda: Job.open(case.job, target=odd),
            lambda: read_status(odd),
            lambda: EdgeHome(odd),
        )()
    finally:
        job.close()


def pristine(folder: Path) -> Path:
    make_shard(folder / "pristine", N).close()
    return folder / "pristine"
