"""How far off is the recall that `csrkit.plan` expects of a collection larger than its sample?

    python examples/benchmarks/plan.py --data FOLDER        (see _datasets.py)

One model is fitted to some documents; the others are the collection. Samples are drawn from it,
``--draws`` for each size, and each gives a range per k, way to rescore and effort. The truth is
what the same setting finds in the whole collection, with the same queries.

    sample    recall in the sample, over the truth: what a plan without a range would be off by
    low, high ends of the range, over the truth, mean
    inside    how often the truth lay in the range
    too high  how often it lay below the low end, the only promise that can hurt
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _common import HERE, heading, table
from _datasets import Dataset, load

import csrkit
from csrkit.collection.plans.growth import expected
from csrkit.collection.plans.sampling import Parts
from csrkit.collection.plans.searching import searched, tried
from csrkit.model import Setting


def offs(model: csrkit.CSRModel, data: Dataset, options: argparse.Namespace) -> list[list[float]]:
    """Draw samples and compare; rows of ratio, k, sample, low, high, each over the truth."""
    docs, queries = data.docs[options.fit_rows :], data.queries
    nothing, cosines = docs[:0], queries @ docs.T
    whole = Parts(nothing, docs, queries, "given")
    truth = {k: tried(model, whole, k, cosines, len(docs)).recalls for k in options.k}
    rows = []
    for ratio in options.ratios:
        for seed in range(options.draws):
            chosen = np.random.default_rng(seed).permutation(len(docs))[: len(docs) // ratio]
            sample = Parts(nothing, docs[chosen], queries, "given")
            for k in options.k:
                found = searched(model, sample, k, cosines[:, chosen], len(docs), float(ratio))
                for one, span in zip(found, expected(found, seed), strict=True):
                    setting: Setting = one.sought.setting
                    true = truth[k].get(setting)
                    if true is not None:  # all documents of a small sample were candidates
                        ends = (span.sample, *span.recall)
                        rows.append([ratio, k, *(end - true.mean() for end in ends)])
    return rows


def summary(rows: list[list[float]], options: argparse.Namespace) -> str:
    """One line per ratio and k."""
    lines, values = [], np.array(rows)
    for ratio in options.ratios:
        for k in options.k:
            own = values[(values[:, 0] == ratio) & (values[:, 1] == k)][:, 2:]
            sample, low, high = own.mean(axis=0)
            inside = np.mean((own[:, 1] <= 0) & (own[:, 2] >= 0))
            means = [f"{one:+.3f}" for one in (sample, low, high)]
            above = np.mean(own[:, 1] > 0)
            lines.append([f"{ratio}", f"{k}", *means, f"{inside:.2f}", f"{above:.2f}"])
    header = ["collection / sample", "k", "sample", "low", "high", "inside", "too high"]
    return table(header, lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--data", type=Path, default=HERE.parent / "data", help="folder or array")
    add("--queries", type=int, default=200)
    add("--docs", type=int, help="only the first so many documents, and the relevant ones")
    add("--fit-rows", type=int, default=5000, help="documents to fit on, which are not searched")
    add("--steps", type=int, default=150, help="training steps")
    add("--latents", type=int, help="4 times the width if not given")
    add("--k", nargs="+", type=int, default=[16, 32, 64])
    add("--ratios", nargs="+", type=int, default=[2, 5, 10, 20])
    add("--draws", type=int, default=5)
    options = parser.parse_args()
    if options.toy:
        toy = {"queries": 30, "docs": 900, "fit_rows": 300, "steps": 3, "latents": 128}
        vars(options).update(toy | {"k": [16], "ratios": [2, 4], "draws": 1})
    return options


def main() -> None:
    options = parse()
    settings = " ".join(
        f"{name}={value}" for name, value in vars(options).items() if name != "data"
    )
    heading("Recall that csrkit.plan expects, against the truth", settings, toy=options.toy)
    data = load(options.data, options.queries, options.docs)
    rng = np.random.default_rng(0)
    data = data._replace(docs=data.docs[rng.permutation(len(data.docs))])
    config = csrkit.FitConfig(steps=options.steps, n_latents=options.latents)
    model = csrkit.fit(data.docs[: options.fit_rows], config=config, progress=False)
    print(summary(offs(model, data, options), options))


if __name__ == "__main__":
    main()
