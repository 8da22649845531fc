"""Time of rescoring: one query, 100 candidates, after the first stage.

    python examples/benchmarks/rescore.py         20,000 rows, 768 -> 3072, k=32

- ``first stage``: the search of an `EdgeStore` by codes alone, which gives ids.
- ``with codes``: the same, when each candidate brings its code and residual bits along.
- ``score``: the estimated cosines of such candidates with the query, and the ranking.
- ``name``: ids and payloads of the best 10.
- ``rescored``: the last three together, as `Searcher` does them; and what that is more than the
  first stage alone, which is the price of rescoring.
- ``whole search``: all of `Searcher.search`.

Each round takes the next query, so that no row is hot in a cache for long. The ids and scores
of the last round are compared with the cosines of decoded rows plus bits, worked out anew.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from itertools import cycle
from typing import NamedTuple

import numpy as np
from _common import heading, interleaved, table, unit_rows
from numpy.typing import NDArray

from csrkit import CSRModel, Hit, Searcher
from csrkit.model import ModelConfig, Provenance, array_shapes
from csrkit.search.stages import CodesStages
from csrkit.stores import EdgeStore

LIMIT = 10


class Shape(NamedTuple):
    """Sizes of one run."""

    rows: int
    dim: int
    latents: int
    k: int
    candidates: int
    queries: int


PRICE = "rescored, less first stage"
FULL = Shape(20_000, 768, 3072, 32, 100, 300)
TOY = Shape(300, 32, 256, 8, 20, 5)
WANTED = {"score": "1.0 / 0.3", PRICE: "5.0 / 2.0"}  # ms, at most / aim


def random_model(shape: Shape) -> CSRModel:
    """Make a model of unit rows with small biases; speed does not depend on training.

    Its bits are shared out about as `csrkit.fit` does it: more to fewer directions.
    """
    config = ModelConfig(
        dim=shape.dim,
        n_latents=shape.latents,
        ladder=(shape.k,),
        residual_bits=(shape.dim // 4, shape.dim // 4, shape.dim // 12),
        provenance=Provenance(csrkit="benchmark", rows=0, steps=0),
    )
    rng = np.random.default_rng(1)
    arrays = {
        name: 0.01 * rng.standard_normal(size, dtype=np.float32)
        for name, size in array_shapes(config).items()
    }
    weights = unit_rows(shape.latents, shape.dim, 2)
    scales = np.full_like(arrays["scales"], 0.5)
    basis = np.linalg.qr(arrays["residual_basis"].T)[0].T * shape.dim**-0.5
    made = {"encoder": weights, "decoder": weights, "scales": scales, "residual_basis": basis}
    return CSRModel(config=config, **(arrays | made))


def compare(model: CSRModel, hits: list[Hit], query: NDArray[np.float32], docs: NDArray) -> float:
    """Return the largest error of a score; raises SystemExit if the ranking is another."""
    rows = docs[[int(hit.id) for hit in hits]]
    codes = model.encode(rows)
    left = rows - model.decode(codes)
    own = model.estimate_cosines(query[None], codes, model.encode_residuals(rows, codes))[0]
    scores = np.array([hit.score for hit in hits])
    error = float(np.abs(scores - own).max())
    true = rows @ query
    if error > 1e-4 or np.abs(scores - true).mean() > np.linalg.norm(left, axis=1).mean():
        raise SystemExit(f"the scores are wrong by {error:.1e}")
    return float(np.abs(scores - true).mean())


def contestants(
    shape: Shape, searcher: Searcher, store: EdgeStore, queries: NDArray[np.float32]
) -> dict[str, Callable[[], object]]:
    model, count = searcher.model, shape.candidates
    codes, stage = model.encode(queries), CodesStages(model, store)
    found = store.candidates(codes, limit=count)
    ranked = stage.ranked(found, queries, LIMIT)
    turns = {name: cycle(range(len(queries))) for name in ("first", "codes", "score", "name")}
    both, whole = cycle(range(len(queries))), cycle(range(len(queries)))

    def score() -> object:
        row = next(turns["score"])
        return stage.ranked(found[row : row + 1], queries[row : row + 1], LIMIT)

    def rescored() -> object:
        row = next(both)
        return stage.search(
            codes[row], queries[row : row + 1], candidates=count, limit=LIMIT, filter=None
        )

    return {
        "first stage": lambda: store.search(codes[next(turns["first"])], limit=count),
        "with codes": lambda: store.candidates(codes[next(turns["codes"])], limit=count),
        "score": score,
        "name": lambda: store.resolve([ranked[next(turns["name"])]]),
        "rescored": rescored,
        "whole search": lambda: searcher.search(
            queries[next(whole)], limit=LIMIT, k=shape.k, candidates=count
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="tiny sizes: does it run at all")
    arguments = parser.parse_args()
    shape = TOY if arguments.toy else FULL
    heading("Rescoring of one query", shape, toy=arguments.toy)
    model, docs = random_model(shape), unit_rows(shape.rows, shape.dim)
    queries = unit_rows(shape.queries, shape.dim, seed=3)
    with tempfile.TemporaryDirectory() as folder, EdgeStore(folder) as store:
        searcher = Searcher(model, store, rescore="codes")
        searcher.upsert(range(len(docs)), docs)
        store.optimize()
        seconds = interleaved(contestants(shape, searcher, store, queries), shape.queries, warmup=3)
        (hits,) = searcher.search(queries[-1], limit=LIMIT, candidates=shape.candidates)
        error = compare(model, hits, queries[-1], docs)
    seconds[PRICE] = seconds["rescored"] - seconds["first stage"]
    rows = [[name, f"{1e3 * value:.3f}", WANTED.get(name, "")] for name, value in seconds.items()]
    first = f"{shape.candidates} candidates, {model.residual_bytes} B of residual bits"
    print(table([first, "median ms", "wanted / aim"], rows))
    print(f"\nmean error of an estimated cosine of the hits: {error:.3f}")


if __name__ == "__main__":
    main()
