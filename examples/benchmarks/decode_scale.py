"""Does a normalised code need its length back to be decoded? One constant per k against the length.

A code is stored with norm 1, so that a sparse score is a cosine. Decoding needs a scale: either a
constant of the model for each k (what csrkit does), or the length that the code had before, four
more bytes with each code that every store would have to carry. This measures what those buy, on
rows of norm 1 and on the same rows with lengths drawn over a factor of ten (which cosine
similarity, and so csrkit, does not see).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _common import heading, table
from _datasets import Dataset, load
from numpy.typing import NDArray

import csrkit
from csrkit.metrics import exact_top, recall_at
from csrkit.model import CSRModel

Floats = NDArray[np.float32]
DEFAULT_DATA = Path(__file__).parent.parent / "data"


def lengths(model: CSRModel, rows: Floats, k: int) -> Floats:
    """Return the length of each code before it was normalised, float32 (n,)."""
    codes = model.encode(rows, k=k)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pre = (unit - model.pre_bias) @ model.encoder.T + model.latent_bias
    row = np.repeat(np.arange(len(rows)), codes.counts)
    squares = np.bincount(row, pre[row, codes.indices].astype(float) ** 2, minlength=len(rows))
    return np.sqrt(squares).astype(np.float32)


def fvu(x: Floats, x_hat: Floats) -> float:
    spread = np.square(x - x.mean(axis=0)).sum()
    return float(np.square(x - x_hat).sum() / spread)


def recall(x_hat: Floats, queries: Floats, truth: NDArray[np.int64]) -> float:
    unit = x_hat / np.linalg.norm(x_hat, axis=1, keepdims=True)
    return float(recall_at(exact_top(queries, unit, 10), truth, 10).mean())


def measure(model: CSRModel, data: Dataset, k: int) -> list[list[object]]:
    """Decode the documents at k with both scales; one row of the table for each."""
    codes = model.encode(data.docs, k=k)
    constant = model.decode(codes)
    scale = model.scales[np.minimum(codes.counts, len(model.scales) - 1)]
    own = lengths(model, data.docs, k) / scale
    exact = model.pre_bias + (constant - model.pre_bias) * own[:, None]
    # lengths over a factor of ten, kept by the caller beside each code
    kept = np.exp(np.random.default_rng(0).uniform(-1.15, 1.15, len(codes))).astype(np.float32)
    return [
        [
            k,
            name,
            f"{fvu(data.docs, x_hat):.4f}",
            f"{fvu(data.docs * kept[:, None], x_hat * kept[:, None]):.4f}",
            f"{recall(x_hat, data.queries, data.truth):.3f}",
        ]
        for name, x_hat in (("constant of the model", constant), ("length of the code", exact))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="tiny sizes: does it run at all")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="see quality.py")
    parser.add_argument("--steps", type=int, default=500, help="training steps")
    options = parser.parse_args()
    toy = options.toy
    data = load(options.data, 50 if toy else 1000, 500 if toy else None)
    heading("Scale of decoding", f"{data.name}, {options.steps} steps", toy=toy)
    small = {"n_latents": 256, "steps": 5}
    config = csrkit.FitConfig(**(small if toy else {"steps": options.steps}))
    model = csrkit.fit(data.docs, config=config, progress=False)
    rows = [row for k in model.ladder for row in measure(model, data, k)]
    print(table(["k", "scale from", "FVU, norm 1", "FVU, |x| kept", "recall@10 decoded"], rows))


if __name__ == "__main__":
    main()
