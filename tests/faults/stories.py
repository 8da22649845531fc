"""Stories of a job, each a list of commands as a person gives them, told in a fork."""

from __future__ import annotations

import json
import math
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.collection.models import random_model
from tests.faults.places import Place, described

from csrkit import fitting
from csrkit.collection import Job, compress
from csrkit.collection.jobs import backfill
from csrkit.collection.jobs.pace import Pace
from csrkit.collection.verdicts.verdict import VerifyConfig

STORIES = (
    ("compress", "sweep", "verify", "cutover"),
    ("compress", "cutover", "rollback"),
    ("compress", "repair", "cutover", "drop"),
)
# the weights are random and finds poor; and a story repairs points that were noted before
CHECK = VerifyConfig(min_recall=0.0, n_queries=4, max_changed=1.0)


def in_small_steps() -> None:
    """Make ranges and batches small, and all alike."""
    backfill.RANGE_POINTS = 48
    Pace.__init__.__kwdefaults__["size"] = 16
    setattr(Pace, "done", lambda *_: None)  # noqa: B010  # else the load decides on the moments
    # not what is tested here, and its libraries take longer to load than the rest takes
    fitting.fit = lambda *_, **__: random_model()


def tell(
    place: Place,
    run: Path,
    url: str,
    story: tuple[str, ...],
    told: Callable[[], object] = lambda: None,
) -> None:
    """Give the commands from the one that was given last; a note says which that is."""
    note = run / "given.txt"
    last = note.read_text() if note.exists() else story[0]
    for command in story[story.index(last) :]:
        note.write_text(command)
        told()
        give(command, run / "job", url, place)


def give(command: str, folder: Path, url: str, place: Place) -> None:
    if command == "compress":
        compress(url, k=8, job=folder, progress=False).close()
        return
    if command == "repair":
        place.repair(url)
        return
    job = Job.open(folder, progress=False)
    if command == "drop":
        job.finalize("drop", confirm=job.home.describe().title)
    elif command == "verify":
        assert job.verify(CHECK).passed
    elif command == "cutover":
        job.cutover(verify=CHECK)
    else:
        getattr(job, command)()
    job.close()


def result(place: Place, run: Path, url: str) -> dict[str, Any]:
    """Everything that a job may touch, but the random id of the job."""
    job = Job.open(run / "job", progress=False)
    status = job.status()
    job.close()
    found = {"status": (status.phase, status.rejects), "fingerprint": status.fingerprint}
    return found | described(url) | {"contents": place.contents(url)}


def forked(call: Callable[[], Any], answer: Path) -> int:
    """Run a call in a fork of this process; its result goes to a file."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        answer.write_text(json.dumps(call()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def same(one: Any, other: Any, *, to_the_bit: bool = True) -> bool:
    """Compare two results; values of codes may differ in what rounding a batch alone decides."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(one[key], other[key], to_the_bit=to_the_bit and key != "csr") for key in one
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same(*two, to_the_bit=to_the_bit) for two in pairs)
    if isinstance(one, float) and isinstance(other, float) and not to_the_bit:
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)
