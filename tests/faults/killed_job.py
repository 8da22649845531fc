"""Jobs that are killed at chosen moments and go on: is the result that of one never killed?

    PYTHONPATH=. python tests/faults/killed_job.py FOLDER SEED MOMENTS

Each moment is a call of the home or of the ledger, before or after it took effect, drawn
from all those of an uninterrupted run. A fork of this process does the job and kills itself
there with SIGKILL; a second fork goes on. One line of JSON per moment; exit code 1 if any
result differs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.collection.models import random_model
from tests.collection.shards import contents, embeddings, make_shard, point_ids

from csrkit.collection import Job, backfill, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.ledger import Ledger
from csrkit.collection.manifest import Manifest
from csrkit.collection.pace import Pace

N = 240
WATCHED: list[tuple[type, str]] = [
    *((EdgeHome, name) for name in ("mark", "add", "write", "drop", "unmark", "read")),
    *((Ledger, name) for name in ("advance", "begin", "attempt", "finish", "settle")),
    (Manifest, "write"),
]


def watch(die_at: int | None) -> list[int]:
    """Count the moments before and after each watched call, and die at one."""
    count = [0]

    def moment() -> None:
        if count[0] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count[0] += 1

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            moment()
            result = call(*args, **options)
            moment()
            return result

        return watched

    for owner, name in WATCHED:
        setattr(owner, name, wrapped(getattr(owner, name)))
    return count


def work(folder: Path, back: bool) -> None:
    """Do the whole job, or go on with it; then roll it back if asked to."""
    job = compress(
        EdgeHome(folder / "shard"),
        model=random_model(),
        k=8,
        job=folder / "job",
        progress=False,
    )
    job.sweep()
    job.close()
    if back:
        job = Job.open(folder / "job", progress=False)
        job.rollback()
        job.close()


def finish(folder: Path, back: bool) -> None:
    """Go on with a job in whatever state; one that was rolled back stays so."""
    phase = ""
    if Manifest.read(folder / "job") is not None:
        job = Job.open(folder / "job", progress=False)
        if back and job.phase.value == "backfilled":  # it may have been killed inside a rollback
            job.rollback()
        phase = job.phase.value
        job.close()
    if phase != "rolled_back":
        work(folder, back)


def result(folder: Path) -> dict[str, Any]:
    """Everything that a job may touch, but the random id of the job."""
    home = EdgeHome(folder / "shard")
    marker, description = home.marker("csr"), home.describe()
    found = {
        "points": contents(home.shard),
        "marker": marker and marker.model_dump(exclude={"job"}),
        "sparse": description.sparse,
        "dense": [one.name for one in description.dense],
    }
    home.close()
    job = Job.open(folder / "job", progress=False)
    status = job.status()
    found["status"] = (status.phase, status.rejects)
    job.close()
    return json.loads(json.dumps(found))


def forked(call: Callable[[], Any], answer: Path) -> int:
    """Run a call in a fork of this process; its result goes to a file."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        answer.write_text(json.dumps(call()))
        code = 0
    finally:
        os._exit(code)


def main(folder: Path, seed: int, moments: int) -> bool:
    backfill.RANGE_POINTS = 48
    Pace.__init__.__kwdefaults__["size"] = 16
    setattr(Pace, "done", lambda *_: None)  # noqa: B010  # else the load decides on the moments
    pristine, answer = folder / "pristine", folder / "answer.json"
    assert forked(lambda: make_pristine(pristine), answer) == 0
    rng = np.random.default_rng(seed)
    same = True
    for back in (False, True):
        reference, total = uninterrupted(folder / f"reference-{back}", pristine, answer, back)
        for at in sorted(rng.choice(total, moments // 2, replace=False).tolist()):
            run = folder / f"{back}-{at}"
            shutil.copytree(pristine, run / "shard")
            killed = forked(lambda: (watch(at), work(run, back)), answer)  # noqa: B023
            code = forked(lambda: (finish(run, back), result(run))[1], answer)  # noqa: B023
            equal = code == 0 and json.loads(answer.read_text()) == reference
            same &= equal and killed == signal.SIGKILL
            line = {"rollback": back, "at": at, "of": total, "killed": killed == signal.SIGKILL}
            print(json.dumps({**line, "same": equal}), flush=True)
            shutil.rmtree(run, ignore_errors=equal)
    return same


def make_pristine(folder: Path) -> None:
    shard = make_shard(folder, N)
    import qdrant_edge as qe

    odd = [qe.Point(10**8, {"dense": [0.0] * 24}, {}), qe.Point(10**8 + 1, {}, {"a": 1})]
    shard.update(qe.UpdateOperation.upsert_points(odd))
    assert shard.count(qe.CountRequest()) == len(point_ids(N)) + 2 == len(embeddings(N)) + 2
    shard.close()


def uninterrupted(run: Path, pristine: Path, answer: Path, back: bool) -> tuple[Any, int]:
    """Return the result of a run that nobody kills, and how many moments it has."""
    shutil.copytree(pristine, run / "shard")

    def whole() -> int:
        count = watch(None)
        work(run, back)
        return count[0]

    assert forked(whole, answer) == 0
    total = json.loads(answer.read_text())
    assert forked(lambda: result(run), answer) == 0
    return json.loads(answer.read_text()), total


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
