"""The table of `docs/stores.md`: what each store can do, occupies and takes per query.

    python examples/benchmarks/stores.py          bytes of 10,000 codes, times of 100,000
    python examples/benchmarks/stores.py --only Edge

- ``bytes at k``: all that the store occupies after the load, its index built, per code; without
  payloads, ids are 0, 1, 2.
- ``p50``: median milliseconds of one query of 16 latents for 10 hits, the call of csrkit's store
  included, over so many ``codes`` of 32 latents; ``CPU``: mean milliseconds of processor,
  a server's included, which other work of the machine hardly lengthens.
- ``queries``: 200, or as many as two minutes hold.
- ``found``: share of the exact best 10 that were found.

Codes are drawn, of 4096 latents in 400 clusters, so that a query has neighbours.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from _common import heading, table
from _stores import ENGINES, KINDS, Kind, Opened

from csrkit import SparseVectors

BATCH = 10_000
PATIENCE = 120  # seconds


class Shape(NamedTuple):
    """Sizes of one run."""

    latents: int
    clusters: int
    ks: tuple[int, ...]
    small: int
    large: int
    k: int
    query_k: int
    queries: int


FULL = Shape(4096, 400, (16, 32, 64), 10_000, 100_000, 32, 16, 200)
TOY = Shape(512, 20, (4, 8), 300, 400, 8, 4, 5)


def clustered(n: int, k: int, shape: Shape, seed: int) -> SparseVectors:
    """Draw codes of k latents out of the 3 k of a cluster; some latents are in many clusters."""
    topics = np.random.default_rng(0)
    ease = 1 / (1 + np.arange(shape.latents)) ** 0.7
    keys = topics.exponential(size=(shape.clusters, shape.latents)) / ease
    own = np.argsort(keys, axis=1)[:, : 3 * k]  # latents of each cluster
    rng = np.random.default_rng(seed)
    which = own[rng.integers(shape.clusters, size=n)]
    picked = np.argpartition(rng.random(which.shape), k, axis=1)[:, :k]
    indices = np.sort(np.take_along_axis(which, picked, axis=1), axis=1).astype(np.int32)
    values = (rng.random((n, k)) + 0.1).astype(np.float32)
    codes = SparseVectors(np.arange(n + 1) * k, indices.ravel(), values.ravel(), shape.latents)
    return codes.normalized()


def fill(opened: Opened, codes: SparseVectors) -> None:
    """Load and settle."""
    for start in range(0, len(codes), BATCH):
        part = codes[start : start + BATCH]
        opened.store.upsert(range(start, start + len(part)), part)
    opened.settle()


def weigh(kind: Kind, k: int, shape: Shape) -> str:
    """Return the bytes per code."""
    assert kind.opened is not None  # or it is not measured
    codes = clustered(shape.small, k, shape, 1)
    tracemalloc.start() if kind.place == "memory" else None
    with tempfile.TemporaryDirectory() as folder, kind.opened(Path(folder)) as opened:
        fill(opened, codes)
        opened.store.search(codes[:1])  # builds what is built at the first search
        occupied = opened.occupied()
    tracemalloc.stop()
    return f"{occupied / shape.small:,.0f}"


def ask(kind: Kind, shape: Shape) -> list[str]:
    """Return the codes, the queries, their median time, the processor's, and the share found."""
    assert kind.opened is not None  # or it is not measured
    codes = clustered(shape.large, shape.k, shape, 2)
    queries = clustered(shape.queries, shape.query_k, shape, 3)
    whole = codes.to_scipy()
    seconds, shares = [], []
    with tempfile.TemporaryDirectory() as folder, kind.opened(Path(folder)) as opened:
        fill(opened, codes)
        for query in queries[:5]:  # they warm up
            opened.store.search(query, limit=10)
        began, found = opened.spent(), []
        for query in queries:
            start = time.perf_counter()
            found += opened.store.search(query, limit=10)
            seconds.append(time.perf_counter() - start)
            if sum(seconds) > PATIENCE:
                break
        used = (opened.spent() - began) / len(found)
    for query, hits in zip(queries, found, strict=False):
        scores = np.asarray((whole @ query.to_scipy().T).todense()).ravel()
        least = np.sort(scores)[-10] - 1e-5
        shares.append(sum(scores[int(hit.id)] >= least for hit in hits) / 10)
    times = [f"{1e3 * median(seconds):.2f}", f"{1e3 * used:.2f}"]
    return [f"{len(codes):,}", f"{len(found)}", *times, f"{np.mean(shares):.3f}"]


def row(kind: Kind, shape: Shape) -> list[str]:
    """Return the row of a store."""
    facts = [kind.store, kind.tested, kind.in_place, kind.filters, kind.search, kind.limits]
    if kind.opened is None:
        return [*facts, *["not measured"] * (len(shape.ks) + 5), kind.relaxed]
    weights = [weigh(kind, k, shape) for k in shape.ks]
    if kind.place == "memory":
        weights = [f"{one} (RAM)" for one in weights]
    return [*facts, *weights, *ask(kind, shape), kind.relaxed]


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--only", default="", help="rows whose store and search hold this text")
    options = parser.parse_args()
    shape = TOY if options.toy else FULL
    heading("The stores", shape, toy=options.toy)
    head = ["store", "tested on", "added in place", "filter", "search", "limits"]
    head += [f"bytes at k={k}" for k in shape.ks]
    head += ["codes", "queries", "p50 ms", "CPU ms", "found", "relaxed in the contract"]
    with ENGINES:
        rows = [row(kind, shape) for kind in KINDS if options.only in f"{kind.store} {kind.search}"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
