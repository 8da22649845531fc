"""What the adapters cost over their vendors' own calls: loading, and searching.

    python examples/benchmarks/adapters.py        5,000 codes of 32 of 4096 latents
    python examples/benchmarks/adapters.py --only zvec

- ``loading``: an empty store filled with codes and payloads, by the adapter, and by the vendor's
  own calls: with the time that its rows take to make out of the same codes, or without
  ("rows made"). Seismic's index is built in all of them.
- ``one query``: for id, score and payload of 10 hits, by `search` of a code and by the vendor's
  call, whose query was made of that code beforehand: what `Rival.ask` of each says. Each round
  takes the next query.

Contestants take turns, and turns at being first; beside the median on the clock stands the
processor time, all threads together, which other work of the machine lengthens less. What both
find is compared.
PostgreSQL has a script of its own, ``adapters/pgvector/benchmark.py``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from _common import heading, table
from _vendors import LIMIT, NAMES, Rival

from stores import FULL, Shape, clustered


class Sizes(NamedTuple):
    """Sizes of one run."""

    codes: int
    k: int
    query_k: int
    loads: int
    searches: int


REAL = Sizes(5_000, 32, 16, 5, 200)
TOY = Sizes(300, 8, 4, 1, 5)


class Spent(NamedTuple):
    """Median seconds, on the clock and of the processor."""

    clock: float
    processor: float


def timed(
    contestants: dict[str, Callable[[int], object]], rounds: int, queries: int = 1
) -> dict[str, Spent]:
    """Let contestants take turns, forth and back; the first round, a warm-up, does not count."""
    clock: dict[str, list[float]] = {name: [] for name in contestants}
    processor: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, call in list(contestants.items())[:: 1 if turn % 2 else -1]:
            began, used = time.perf_counter(), time.process_time()
            call(turn % queries)
            clock[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - used)
    return {
        name: Spent(median(clock[name][1:]), median(processor[name][1:])) for name in contestants
    }


def loading(rival: Rival, folder: Path, sizes: Sizes) -> list[str]:
    """Time loads into new folders."""

    def run(load: Callable[[Path], Any], end: Callable[[Any], None]) -> Callable[[int], None]:
        def call(turn: int) -> None:
            place = Path(tempfile.mkdtemp(dir=folder))
            end(load(place))
            shutil.rmtree(place)

        return call

    loads = {
        "rows made": run(lambda place: rival.theirs(place, rival.rows), rival.leave),
        "theirs": run(lambda place: rival.theirs(place, rival.spell()), rival.leave),
        "ours": run(rival.ours, leave),
    }
    found = timed(loads, sizes.loads)
    made, theirs, ours = found.values()
    return [
        *(f"{sizes.codes / one.clock:,.0f}" for one in (made, theirs, ours)),
        f"{theirs.clock / ours.clock:.0%}",
        *(f"{1e6 * one.processor / sizes.codes:.1f}" for one in (made, theirs, ours)),
        f"{theirs.processor / ours.processor:.0%}",
    ]


def leave(store: Any) -> None:
    """Close a store, if it can be."""
    store.close()


def searching(rival: Rival, folder: Path, sizes: Sizes) -> list[str]:
    """Time one query at a time, and see that both find the same."""
    loaded, store = rival.theirs(folder, rival.rows), rival.ours(folder)
    for row in range(min(20, sizes.searches)):
        want = {one: score for one, score in rival.ask(loaded, row) if score}
        got = {hit.id: hit.score for hit in store.search(rival.queries[row], limit=LIMIT)[0]}
        off = [abs(got[one] - want[one]) for one in got.keys() & want.keys()]
        assert len(off) >= 0.8 * len(want), "they find different codes"
        assert max(off, default=0) < 2e-3, "they score differently"
    found = timed(
        {
            "theirs": lambda row: rival.ask(loaded, row),
            "ours": lambda row: store.search(rival.queries[row], limit=LIMIT),
        },
        sizes.searches * rival.rounds,
        sizes.searches,
    )
    rival.leave(loaded)
    leave(store)
    theirs, ours = found["theirs"], found["ours"]
    more = ours.processor - theirs.processor
    times = [theirs.clock, ours.clock, theirs.processor, ours.processor]
    return [
        *(f"{1e6 * one:,.0f}" for one in times),
        f"{1e6 * more:+,.0f}",
        f"{more / theirs.processor:+.1%}",
    ]


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--only", choices=NAMES, help="one of them")
    options = parser.parse_args()
    sizes = TOY if options.toy else REAL
    shape: Shape = FULL
    heading("The adapters and their vendors' own calls", sizes, toy=options.toy)
    codes = clustered(sizes.codes, sizes.k, shape, 1)
    queries = clustered(sizes.searches, sizes.query_k, shape, 2)
    payloads = [{"title": f"title {row}", "lang": row % 7} for row in range(sizes.codes)]
    loads, searches = [], []
    for name, kind in NAMES.items():
        if options.only in (None, name):
            rival = kind(codes, payloads, queries)
            with tempfile.TemporaryDirectory(dir=memory()) as folder:
                if rival.is_loaded:
                    row = [f"{rival.name}: {rival.how}", *loading(rival, Path(folder), sizes)]
                    loads.append(row)
                searches.append([rival.name, *searching(rival, Path(folder), sizes)])
    speeds = ["codes/s, rows made", "vendor", "adapter", "of the vendor's"]
    costs = ["CPU us/code, rows made", "vendor", "adapter", "of the vendor's"]
    print(table(["loading", *speeds, *costs], loads), "\n") if loads else None
    head = ["vendor, us", "adapter, us", "vendor, CPU us", "adapter, CPU us", "more, us", "more"]
    print(table(["one query", *head], searches))


def memory() -> str | None:
    """Return a folder in memory, if there is a roomy one: the disk is no part of the question."""
    place = Path("/dev/shm")
    is_roomy = place.is_dir() and shutil.disk_usage(place).free > 1 << 30
    return str(place) if is_roomy else None


if __name__ == "__main__":
    main()
