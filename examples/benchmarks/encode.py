"""Encoding speed: csrkit against the bare matrix product and sentence-transformers.

    python examples/benchmarks/encode.py         16,384 rows, 768 -> 3072 and two more shapes

- ``x @ W.T``: the product alone, in numpy and in torch; it writes (n, latents) and selects
  nothing. "Warm memory" writes into a buffer that is already there, the hardest thing to beat.
- ``csrkit``: `CSRModel.encode` of a float32 array, to codes of norm 1; "tensor" a CPU tensor.
- ``sentence-transformers``: its module in inference mode, 1,024 rows at a time, to dense codes that
  are not normalised (its encoder also runs the backbone and makes them sparse afterwards).

"of x @ W.T" is the throughput over that of the product in numpy: 1.00 is as fast, below is slower.
In the same run the codes of the first rows are compared with a dense oracle in float64: every
row must have the oracle's latents, unless its k-th and next value are closer than float32 tells.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import _library
import numpy as np
import torch
from _common import heading, interleaved, table, unit_rows
from numpy.typing import NDArray

from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes
from csrkit.vectors import SparseVectors

CHECKED = 2048  # rows compared with the oracle
CLOSE = 1e-6  # pre-activations of unit rows nearer than this may swap places in float32


class Shape(NamedTuple):
    """One shape and the k to encode it at."""

    rows: int
    dim: int
    latents: int
    ks: tuple[int, ...]


FULL = (
    Shape(16_384, 768, 3072, (8, 32, 64)),
    Shape(16_384, 768, 8192, (32,)),
    Shape(16_384, 384, 1536, (32,)),
)
TOY = (Shape(300, 32, 256, (4, 16)),)


def random_model(shape: Shape) -> CSRModel:
    """Make a model of unit rows with small biases; speed does not depend on training."""
    config = ModelConfig(
        dim=shape.dim,
        n_latents=shape.latents,
        ladder=shape.ks,
        provenance=Provenance(csrkit="benchmark", rows=0, steps=0),
    )
    rng = np.random.default_rng(1)
    arrays = {
        name: 0.01 * rng.standard_normal(size, dtype=np.float32)
        for name, size in array_shapes(config).items()
    }
    return CSRModel(config=config, **(arrays | {"encoder": unit_rows(shape.latents, shape.dim, 2)}))


def compare(codes: SparseVectors, model: CSRModel, x: NDArray[np.float32], k: int) -> str:
    """Compare codes with the dense formula in float64; raises SystemExit if they differ."""
    wide = x[: len(codes)].astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    pre = (wide - model.pre_bias.astype(np.float64)) @ model.encoder.T.astype(np.float64)
    pre += model.latent_bias
    order = np.argsort(-pre, axis=1, kind="stable")
    ranked = np.take_along_axis(pre, order[:, : k + 1], axis=1)
    expected = np.zeros_like(pre)
    np.put_along_axis(expected, order[:, :k], np.maximum(ranked[:, :k], 0), axis=1)
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-30)
    found = codes.to_dense()
    same = ((found > 0) == (expected > 0)).all(axis=1)
    # besides a tie for the last place, a value may round to either side of zero
    tie = (ranked[:, k - 1] - ranked[:, k] < CLOSE) | (np.abs(ranked) < CLOSE).any(axis=1)
    error = np.abs(found[same] - expected[same]).max(initial=0)
    if not (same | tie).all() or error > 1e-5:
        raise SystemExit(f"codes differ from the oracle: {(~same & ~tie).sum()} rows, {error:.1e}")
    return (
        f"k={k}: {same.sum()} of {len(same)} rows with the oracle's latents"
        + (f", the others tied to {CLOSE:g}" if not same.all() else "")
        + f"; values within {error:.0e}"
    )


def contestants(
    shape: Shape, model: CSRModel, x: NDArray[np.float32], *, library: bool
) -> dict[str, Callable[[], object]]:
    weight, buffer = model.encoder, np.empty((shape.rows, shape.latents), dtype=np.float32)
    tensor, torch_weight = torch.from_numpy(x), torch.tensor(model.encoder)
    runs: dict[str, Callable[[], object]] = {
        "x @ W.T": lambda: x @ weight.T,
        "x @ W.T, warm memory": lambda: np.matmul(x, weight.T, out=buffer),
        "x @ W.T, torch": lambda: tensor @ torch_weight.T,
    }
    for k in shape.ks:
        runs[f"csrkit, k={k}"] = lambda k=k: model.encode(x, k=k)
        runs[f"csrkit, tensor, k={k}"] = lambda k=k: model.encode(tensor, k=k)
        if library:
            runs[f"sentence-transformers, k={k}"] = library_encode(shape, tensor, k)
    return runs


def library_encode(shape: Shape, x: torch.Tensor, k: int) -> Callable[[], object]:
    module = _library.autoencoder(shape.dim, shape.latents, k).eval()

    def run() -> None:
        with torch.inference_mode():
            for part in x.split(1024):
                module({"sentence_embedding": part})

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="tiny sizes: does it run at all")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    arguments = parser.parse_args()
    heading("Encoding speed", "medians of interleaved rounds", toy=arguments.toy)
    library = _library.is_installed()
    for shape in TOY if arguments.toy else FULL:
        model, x = random_model(shape), unit_rows(shape.rows, shape.dim)
        runs = contestants(shape, model, x, library=library)
        seconds = interleaved(runs, 1 if arguments.toy else arguments.repeats)
        rows = [
            [name, f"{1e3 * value:.1f}", f"{shape.rows / value:,.0f}"]
            + [f"{seconds[product] / value:.2f}" for product in list(seconds)[:2]]
            for name, value in seconds.items()
        ]
        first = f"{shape.rows} x {shape.dim} -> {shape.latents}"
        print(table([first, "median ms", "rows/s", "of x @ W.T", "of warm"], rows))
        for k in shape.ks:
            print(compare(model.encode(x[:CHECKED], k=k), model, x, k))
            print(
                "  tensor", compare(model.encode(torch.from_numpy(x[:CHECKED]), k=k), model, x, k)
            )
        print()


if __name__ == "__main__":
    main()
