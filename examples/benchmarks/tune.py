"""Do the promises of `csrkit.tune` hold on queries that it has not seen, and what do they cost?

    python examples/benchmarks/tune.py --steps 500
    python examples/benchmarks/tune.py --data FOLDER --out results/tune    (see _datasets.py)

One model is fitted and tuned, with some of the queries and then with documents in their place.
Then ``--draws`` times some queries are drawn to choose by, as tune does, and the rest look at it:

    reached   how often a setting promised the target at all
    inside    how often the recall of the rest lay in the promised interval
    kept      how often it reached the target
    cheapest  how often no cheaper setting reached the target on the rest
    cost      cost of the chosen setting over that of the cheapest one that did, mean

The rest are a sample too, so ``inside`` is below what it is for all queries like these. Intervals
hold for all settings together: for the chosen one alone they are wider than 95% needs.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
from _common import HERE, heading, provenance, table
from _datasets import Dataset, load

import csrkit
from csrkit.errors import ConfigError
from csrkit.metrics import recall_at
from csrkit.model import Card, Measured
from csrkit.stores import MemoryStore
from csrkit.tuning.intervals import simultaneous_intervals

LOOKED_AT = ("inside", "kept", "cheapest", "cost")


def recalls(model: csrkit.CSRModel, card: Card, data: Dataset) -> np.ndarray:
    """Search with every query at every setting of the card; float64 (settings, q)."""
    store = MemoryStore()
    searchers = {
        None: csrkit.Searcher(model, store, rescore=None),
        "codes": csrkit.Searcher(model, store),
        "dense": csrkit.Searcher(model, store, rescore="dense", dense=data.docs),
    }
    searchers["codes"].upsert(range(len(data.docs)), data.docs)
    found = []
    for row in card.measured:
        hits = searchers[row.setting.rescore].run(data.queries, row.setting, limit=card.limit)
        found.append(recall_at([[hit.id for hit in one] for one in hits], data.truth, card.limit))
        print(f"\r{data.name}: {len(found)} of {len(card.measured)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return np.array(found)


def redrawn(card: Card, values: np.ndarray, seed: int) -> Card:
    """Return the card that these queries would have given."""
    intervals = simultaneous_intervals(values, resamples=2000, seed=seed)
    rows = zip(card.measured, intervals, strict=True)
    measured = tuple(row.model_copy(update={"recall": interval}) for row, interval in rows)
    return card.model_copy(update={"measured": measured})


def outcome(card: Card, row: Measured, rest: np.ndarray, target: float) -> dict[str, float]:
    """Look at a chosen row with the recalls of other queries, float64 (settings,)."""
    observed = rest[card.measured.index(row)]
    good = [one.cost for one, value in zip(card.measured, rest, strict=True) if value >= target]
    cheapest = min(good, default=row.cost)
    return {
        "inside": row.recall.low <= observed <= row.recall.high,
        "kept": observed >= target,
        "cheapest": row.cost <= cheapest,
        "cost": row.cost / cheapest,
    }


def rates(card: Card, values: np.ndarray, options: argparse.Namespace) -> list[list[str]]:
    """Draw, choose and look, many times; one line of the table per target."""
    outcomes: dict[float, list[dict[str, float]]] = {target: [] for target in options.targets}
    for seed in range(options.draws):
        order = np.random.default_rng(seed).permutation(values.shape[1])
        ours, rest = np.split(values[:, order], [options.chosen_by], axis=1)
        drawn = redrawn(card, ours, seed)
        for target, seen in outcomes.items():
            with suppress(ConfigError):  # none promises it
                seen.append(outcome(drawn, drawn.cheapest(target), rest.mean(axis=1), target))
    lines = []
    for target, seen in outcomes.items():
        means = [f"{np.mean([one[name] for one in seen]):.2f}" for name in LOOKED_AT if seen]
        lines.append([f"{target}", f"{len(seen) / options.draws:.2f}", *(means or ["-"] * 4)])
    return lines


def chosen(card: Card, rest: np.ndarray, target: float) -> list[str]:
    """Say what one card chooses, and what the other queries got by it."""
    try:
        row = card.cheapest(target)
    except ConfigError:
        return [card.queries, f"{target}", "none promises it", "", "", ""]
    low, value, high = row.recall
    interval, observed = f"{low:.3f} to {high:.3f}", rest[card.measured.index(row)]
    return [
        card.queries,
        f"{target}",
        str(row.setting),
        f"{value:.3f}",
        interval,
        f"{observed:.3f}",
    ]


def report(data: Dataset, options: argparse.Namespace) -> str:
    """Fit, tune twice, and measure; the tables of one data set."""
    config = csrkit.FitConfig(steps=options.steps, n_latents=options.latents)
    model = csrkit.fit(data.docs, config=config, progress=False)
    rng = np.random.default_rng(0)
    ours = np.sort(rng.permutation(len(data.queries))[: options.chosen_by])
    by_queries, by_documents = (
        csrkit.tune(model, data.docs, asked, n_queries=options.chosen_by, progress=False).card
        for asked in (data.queries[ours], None)
    )
    assert by_queries is not None
    assert by_documents is not None
    values = recalls(model, by_queries, data)
    rest = np.delete(values, ours, axis=1).mean(axis=1)
    one = [chosen(card, rest, r) for card in (by_queries, by_documents) for r in options.targets]
    many = rates(by_queries, values, options)
    times = np.array([row.ms for row in by_queries.measured])
    costs = np.array([row.cost for row in by_queries.measured])
    errors = [
        [f"{m.k}", m.rescore or "none", f"{m.mean_error:.3f}", f"{m.p95_error:.3f}"]
        for m in by_queries.calibrations
    ]
    return "\n\n".join(
        [
            f"{data.name}: {by_queries.summary()}",
            table(["queries", "target", "chosen", "recall", "promised", "observed"], one),
            table(["target", "reached", *LOOKED_AT], many),
            f"cost against median ms: off by {np.median(np.abs(times / costs - 1)):.0%} in median",
            table(["k", "scores of", "mean error", "95% below"], errors),
        ]
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--data", action="append", type=Path, help="folder or array; examples/data if not given")
    add("--queries", type=int, default=1500, help="queries in all")
    add("--chosen-by", type=int, default=500, help="queries that tune sees")
    add("--docs", type=int, help="only the first so many documents, and the relevant ones")
    add("--steps", type=int, default=500, help="training steps")
    add("--latents", type=int, help="4 times the width if not given")
    add("--draws", type=int, default=200)
    add("--targets", nargs="+", type=float, default=[0.8, 0.9, 0.95])
    add("--out", type=Path, help="write OUT.md")
    options = parser.parse_args()
    if options.toy:
        toy = {"queries": 60, "chosen_by": 30, "docs": 300, "steps": 3, "latents": 128, "draws": 5}
        vars(options).update(toy)
    return options


def main() -> None:
    options = parse()
    kept = {name: value for name, value in vars(options).items() if name not in ("data", "out")}
    settings = " ".join(f"{name}={value}" for name, value in kept.items())
    heading("Promises of csrkit.tune on other queries", settings, toy=options.toy)
    parts = []
    for path in options.data or [HERE.parent / "data"]:
        parts.append(report(load(path, options.queries, options.docs), options))
        print(f"{parts[-1]}\n", flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        words = [word.rstrip("/").rpartition("/")[2] for word in sys.argv[1:]]  # no folder of ours
        command = " ".join(["python examples/benchmarks/tune.py", *words])
        source = f"`{command}`\n\n{settings}\n\n{provenance()}\n"
        options.out.with_suffix(".md").write_text("\n".join([source, *parts]) + "\n")


if __name__ == "__main__":
    main()
