"""Jobs that are killed at chosen moments and go on: is the result that of one never killed?

    PYTHONPATH=. python tests/faults/killed_job.py edge|server|old FOLDER SEED MOMENTS

Three stories are told, each a list of commands as a person gives them: a job up to its
cutover; one that is then rolled back; one that then drops the dense vector. A moment is a
call of the engine, the ledger or the file system, before or after it took effect, drawn from
all those of an uninterrupted run. A fork of this process tells the story and kills itself
there with SIGKILL; a second fork gives the command that was killed again, and the rest. One
line of JSON per moment; exit code 1 if any result differs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from tests.faults.places import Place, opened
from tests.faults.stories import STORIES, forked, in_small_steps, result, same, tell

from csrkit import fitting
from csrkit.collection.jobs.ledger import Ledger

WATCHED: list[tuple[Any, str]] = [
    *((Ledger, name) for name in ("advance", "begin", "attempt", "finish", "settle")),
    *((os, name) for name in ("replace", "fsync", "mkdir")),
    (fitting, "fit"),
]


def watch(place: Place, die_at: int | None) -> list[int]:
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

    for owner, name in [*WATCHED, *place.watched]:
        setattr(owner, name, wrapped(getattr(owner, name)))
    return count


def main(kind: str, folder: Path, seed: int, moments: int) -> bool:
    in_small_steps()
    rng, all_same = np.random.default_rng(seed), True
    with opened(kind, folder) as place:
        shares = np.array_split(np.arange(moments), len(STORIES))
        for story, share in zip(STORIES, shares, strict=True):
            all_same &= survives(place, folder, story, rng, len(share))
    return all_same


def survives(
    place: Place, folder: Path, story: tuple[str, ...], rng: np.random.Generator, moments: int
) -> bool:
    """Kill and resume a story at some moments, and print a line for each."""
    answer, all_same = folder / "answer.json", True
    reference, begins = uninterrupted(place, folder / f"whole-{story[-1]}", story, answer)
    for at in drawn(begins, moments, rng):
        run = folder / f"{story[-1]}-{at}"
        url = place.fresh(run)
        killed = forked(lambda: (watch(place, at), tell(place, run, url, story)), answer)  # noqa: B023
        given = (run / "given.txt").read_text()
        again = lambda: (tell(place, run, url, story), result(place, run, url))[1]  # noqa: B023, E731
        equal = forked(again, answer) == 0 and same(json.loads(answer.read_text()), reference)
        all_same &= equal and killed == signal.SIGKILL
        line = {"story": story[-1], "at": at, "of": begins[-1], "command": given}
        print(json.dumps({**line, "killed": killed == signal.SIGKILL, "same": equal}), flush=True)
        shutil.rmtree(run, ignore_errors=equal)
    return all_same


def drawn(begins: list[int], moments: int, rng: np.random.Generator) -> list[int]:
    """Draw moments from all commands alike, however long each takes, the last one first."""
    spans = [rng.permutation(np.arange(*span)).tolist() for span in pairwise(begins)]
    turns = [one for turn in zip_longest(*reversed(spans)) for one in turn if one is not None]
    return sorted(turns[:moments])


def uninterrupted(
    place: Place, run: Path, story: tuple[str, ...], answer: Path
) -> tuple[Any, list[int]]:
    """Return the result of a story that nobody kills, and the moment each command begins."""
    url = place.fresh(run)

    def whole() -> list[int]:
        count, begins = watch(place, None), list[int]()
        tell(place, run, url, story, lambda: begins.append(count[0]))
        return [*begins, count[0]]

    assert forked(whole, answer) == 0
    begins = json.loads(answer.read_text())
    assert forked(lambda: result(place, run, url), answer) == 0
    return json.loads(answer.read_text()), begins


if __name__ == "__main__":
    kind, folder, seed, moments = sys.argv[1:]
    sys.exit(not main(kind, Path(folder), int(seed), int(moments)))
