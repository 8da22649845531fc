"""Quality of the recipes csr, csrv2 and csrkit on real embeddings, at equal training steps.

    python examples/benchmarks/quality.py --steps 1000 --out results/quality
    python examples/benchmarks/quality.py --data FOLDER --data FOLDER/X.npy    (see _datasets.py)

As their papers do it, csr and csrv2 are trained once per k of ``--train-k``, each with all the
steps, and a k in between or beyond is served by the model trained nearest to it (shown as "4 (8)");
csrkit is trained once, for its whole ladder, and with ``--one-model`` csr and csrv2 are, too. All
get the same width, batch and steps, keep their best weights by the same held-out recall, and are
measured on queries that none of them has seen. csrv2 gets the labels where the data has them,
unless ``--no-labels``.

Query and document take the same k. Per row, mean and standard deviation over the seeds:

    recall@10    overlap with the exact dense top 10, by sparse score (fidelity)
    nDCG@10      against the relevant row, where the data knows it (relevance)
    1-NN         label of the nearest code, where queries have labels
    cost         postings visited per query and document, sum_j p_query(j) p_doc(j)
    busiest      share of the documents in which the busiest latent fires
    dead         share of the latents that fire in no document
    decoded      recall@10 (nDCG@10) of the dense query against the decoded codes
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, heading
from _datasets import Dataset, load
from _report import Row, report

import csrkit
from csrkit.metrics import (
    exact_top,
    latent_loads,
    ndcg_at,
    neighbour_accuracy,
    posting_cost,
    recall_at,
)
from csrkit.stores import MemoryStore


def ranking_values(found: np.ndarray, data: Dataset, prefix: str = "") -> dict[str, float]:
    values = {"recall": recall_at(found, data.truth, 10).mean()}
    if data.relevant is not None:
        values["ndcg"] = ndcg_at(found, data.relevant, 10).mean()
    if data.labels is not None and data.labels.queries is not None and not prefix:
        nearest = neighbour_accuracy(found, data.labels.queries, data.labels.docs)
        values["accuracy"] = nearest.mean()
    return {prefix + name: float(value) for name, value in values.items()}


def measure(model: csrkit.CSRModel, data: Dataset, k: int) -> dict[str, float]:
    """Measure one model at one k, on both sides."""
    asked, stored = model.encode(data.queries, k=k), model.encode(data.docs, k=k)
    store = MemoryStore()
    store.upsert(range(len(stored)), stored)
    found = np.full((len(asked), 10), -1)
    for row, hits in enumerate(store.search(asked, limit=10)):
        found[row, : len(hits)] = [hit.id for hit in hits]
    decoded = model.decode(stored)
    decoded /= np.linalg.norm(decoded, axis=1, keepdims=True)
    loads = latent_loads(stored)
    return {
        **ranking_values(found, data),
        "cost": float(posting_cost(asked, stored).mean()),
        "busiest": float(loads.max()),
        "dead": float((loads == 0).mean()),
        **ranking_values(exact_top(data.queries, decoded, 10), data, "decoded_"),
    }


def ladders(recipe: str, options: argparse.Namespace) -> dict[tuple[int, ...], list[int]]:
    """Map the ladder of each model to train to the k that it serves."""
    if recipe == "csrkit" or options.one_model:
        return {tuple(options.ladder): list(options.k)}
    served: dict[tuple[int, ...], list[int]] = {(k,): [] for k in options.train_k}
    for k in options.k:
        served[(min(options.train_k, key=lambda trained: abs(np.log(k / trained))),)].append(k)
    return served


def rows_of(data: Dataset, recipe: str, seed: int, options: argparse.Namespace) -> Iterator[Row]:
    """Train the models of one recipe and seed, and measure them."""
    labels = data.labels.docs if recipe == "csrv2" and data.labels and options.labels else None
    for ladder, served in ladders(recipe, options).items():
        settings: dict[str, Any] = {"recipe": recipe, "ladder": ladder, "seed": seed}
        settings |= {"n_latents": options.latents, "steps": options.steps}
        settings |= {"batch_size": options.batch, **dict(options.set)}
        config = csrkit.FitConfig(**settings)
        model = csrkit.fit(data.docs, labels=labels, config=config, progress=False)
        for k in served:
            yield Row(data.name, recipe, k, ladder, seed, measure(model, data, k))


def setting(text: str) -> tuple[str, Any]:
    """Read ``name=value``, a setting of `FitConfig` in JSON."""
    name, _, value = text.partition("=")
    return name, json.loads(value)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--data", action="append", type=Path, help="folder or array; examples/data if not given")
    add("--queries", type=int, default=1000, help="test queries")
    add("--docs", type=int, help="only the first so many documents, and the relevant ones")
    add("--steps", type=int, default=1000, help="training steps of every model")
    add("--batch", type=int, default=1024)
    add("--latents", type=int, help="4 times the width if not given")
    add("--recipes", nargs="+", default=["csr", "csrv2", "csrkit"])
    add("--k", nargs="+", type=int, default=[4, 8, 16, 32, 64], help="where to measure")
    add("--train-k", nargs="+", type=int, default=[8, 16, 32], help="models of csr and csrv2")
    add("--ladder", nargs="+", type=int, default=[8, 16, 32, 64], help="rungs of csrkit")
    add("--one-model", action="store_true", help="train csr and csrv2 for the whole ladder, too")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--no-labels", dest="labels", action="store_false", help="csrv2 without labels")
    add("--set", nargs="+", type=setting, default=[], help="name=value of FitConfig, to try it")
    add("--out", type=Path, help="write OUT.md and OUT.json")
    options = parser.parse_args()
    if options.toy:
        toy = {"queries": 50, "docs": 1000, "steps": 3, "batch": 64, "latents": 128}
        vars(options).update(toy, seeds=[0, 1], k=[4, 16], train_k=[16], ladder=[8, 16])
    return options


def main() -> None:
    options = parse()
    paths = options.data or [HERE.parent / "data"]
    kept = {name: value for name, value in vars(options).items() if name not in ("data", "out")}
    settings = " ".join(f"{name}={value}" for name, value in kept.items())
    heading("Quality of the recipes", settings, toy=options.toy)
    rows: list[Row] = []
    for path in paths:
        data = load(path, options.queries, options.docs)
        dense = ranking_values(data.truth, data)
        rows.append(Row(data.name, "dense", 0, (), 0, dense))
        for seed in options.seeds:
            for recipe in options.recipes:
                rows += rows_of(data, recipe, seed, options)
                print(f"{data.name}: {recipe}, seed {seed} done", flush=True)
    print()
    report(rows, settings, options.out)


if __name__ == "__main__":
    main()
