"""Jobs whose disk is full at some size of some file: a clear error, and then they go on.

    PYTHONPATH=. python tests/faults/full_disk.py FOLDER SEED TIMES

A fork of this process compresses a collection of a server, allowed no file larger than a
drawn number of bytes, which stops the manifest, the model, the ledger or its journal at any
point; a second fork gives the same command without the limit. One line of JSON per limit;
exit code 1 if an error is not csrkit's, or a result differs.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tests.collection.models import random_model
from tests.faults.places import Place, opened
from tests.faults.stories import forked, in_small_steps, result, same, tell

from csrkit import fitting
from csrkit.collection.jobs import backfill
from csrkit.errors import CsrkitError

_LARGEST = 120_000  # bytes; every file of the job is smaller
_GROWING = (20_480, 32_768)  # the ledger, from its beginning to the end of the backfill
_STORY = ("compress", "cutover")


def limited(place: Place, run: Path, url: str, limit: int, points: int) -> str:
    """Begin the story, with ranges of so many points, and say how it ended."""
    backfill.RANGE_POINTS = points
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        tell(place, run, url, _STORY)
    except CsrkitError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return ""


def survives(place: Place, folder: Path, limits: Any, latents: int, points: int) -> bool:
    """Fill the disk at some sizes, with a model of so many latents; print a line for each."""
    fitting.fit = lambda *_, **__: random_model(latents=latents)
    answer, all_same, reference = folder / "answer.json", True, None
    for limit in [0, *sorted(limits.astype(int).tolist())]:
        run = folder / f"{latents}-{limit}"
        url = place.fresh(run)
        code, said = 0, None
        if limit:
            code = forked(lambda: limited(place, run, url, limit, points), answer)  # noqa: B023
            said = json.loads(answer.read_text()) if code == 0 else None
        whole = lambda: (tell(place, run, url, _STORY), result(place, run, url))[1]  # noqa: B023, E731
        assert forked(whole, answer) == 0
        reference = reference or json.loads(answer.read_text())
        equal = same(json.loads(answer.read_text()), reference)
        all_same &= equal and code == 0
        if limit:
            print(json.dumps({"limit": limit, "said": said, "same": equal}), flush=True)
    return all_same


def main(folder: Path, seed: int, times: int) -> bool:
    in_small_steps()
    rng, half = np.random.default_rng(seed), times // 2
    anywhere = np.exp(rng.uniform(4, np.log(_LARGEST), times - half))
    growing = rng.uniform(*_GROWING, half)
    with opened("server", folder) as place:
        larger = survives(place, folder, anywhere, 768, 48)  # a model larger than the ledger
        return survives(place, folder, growing, 96, 2) and larger  # one that grows


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
