"""Training speed: csrkit's step and epoch against the published code and sentence-transformers.

    python examples/benchmarks/fit.py            batch 4096, 768 -> 3072, ladder 8/16/32

Contestants, each with its own weights and optimiser, on the same rows:

- ``csrkit``: what `csrkit.fit` does per step, recipe "csrkit": ladder, 4k term, distillation,
  load balance, clipping, unit decoder rows. "10% dead" adds the worst case of the auxiliary term.
- ``published``: `_published.py`, k at the top of the ladder (it serves one k only).
- ``sentence-transformers``: `_library.py`. Its loss wants pairs: "(x, x)" is its form of CSR and
  encodes every row twice, "half pairs" splits the batch into pairs and encodes each row once.
- ``x @ W.T``: the one dense product that no step can avoid, and the same into memory that is
  already there, as a step that blocks its rows can have it.

An epoch is one pass over rows in memory: shuffled batches, steps, nothing else. "csrkit.fit, the
call" is what a user waits for: starting weights, held-out recall and decoding scales included.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import NamedTuple

import _library
import numpy as np
import torch
from _common import heading, interleaved, ratios, unit_rows
from _published import PublishedAutoencoder, PublishedTrainer
from numpy.typing import NDArray
from torch import Tensor

import csrkit
from csrkit.sources import open_source
from csrkit.training.autoencoder import Autoencoder
from csrkit.training.data import TrainingData
from csrkit.training.loop import Run, start
from csrkit.training.objective import Batch, Objective

Step = Callable[[Tensor], object]


class Sizes(NamedTuple):
    """Shapes of the comparison; the published k is the last rung."""

    batch: int
    dim: int
    latents: int
    ladder: tuple[int, ...]
    epoch_rows: int


FULL = Sizes(4096, 768, 3072, (8, 16, 32), 20_480)
TOY = Sizes(64, 32, 128, (2, 4, 8), 256)


def config_of(sizes: Sizes) -> csrkit.FitConfig:
    return csrkit.FitConfig(
        n_latents=sizes.latents,
        ladder=sizes.ladder,
        batch_size=sizes.batch,
        steps=max(1, sizes.epoch_rows // sizes.batch),
        distillation_weight=0.1,
    )


def csrkit_run(rows: NDArray[np.float32], sizes: Sizes) -> Run:
    """Stand where `csrkit.fit` stands before its first step."""
    config, sample = config_of(sizes), torch.from_numpy(rows)
    generator, mean = torch.Generator().manual_seed(0), sample.mean(dim=0)
    model = Autoencoder(sample, mean, sizes.latents, tied=config.tied, generator=generator)
    model.fit_scale_(sample[:4096], sizes.ladder[-1])
    variance = float((sample - mean).square().sum(dim=1).mean())
    return start(model, config, Objective(config, variance, generator))


def csrkit_step(rows: NDArray[np.float32], sizes: Sizes, dead_share: float) -> Step:
    run = csrkit_run(rows, sizes)
    dead = round(dead_share * sizes.latents)

    def step(x: Tensor) -> object:
        run.since_fired.zero_()  # the batch repeats: let deaths not depend on the repeats
        run.since_fired[:dead] = run.config.dead_after + 1
        return run.advance_(Batch(x))

    return step


def rivals(sizes: Sizes, *, library: bool) -> dict[str, Callable[[], Step]]:
    """Name the steps to compare with, each made afresh by a call."""
    _, dim, latents, ladder, _ = sizes
    k = ladder[-1]

    def published(*, with_contrast: bool) -> Step:
        torch.manual_seed(0)
        model = PublishedAutoencoder(dim, latents, k_aux=min(512, latents))
        return PublishedTrainer(model, k, with_contrast=with_contrast).step_

    found: dict[str, Callable[[], Step]] = {
        "published": lambda: published(with_contrast=True),
        "published, no contrast": lambda: published(with_contrast=False),
    }
    if library:
        pairs = {"(x, x)": lambda x: (x, x), "half pairs": lambda x: x.chunk(2)}
        for name, columns in pairs.items():
            found[f"sentence-transformers, {name}"] = lambda columns=columns: (
                _library.training_step(dim, latents, k, columns)
            )
    return found


def csrkit_epochs(rows: NDArray[np.float32], sizes: Sizes) -> dict[str, Callable[[], object]]:
    def steps() -> None:
        run = csrkit_run(rows, sizes)
        data, generator = TrainingData(open_source(rows)), torch.Generator().manual_seed(0)
        batches = data.batches(sizes.batch, 1, generator, "cpu")
        for _ in range(len(rows) // sizes.batch):
            run.advance_(next(batches))

    def call() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of too few rows, at toy size
            return csrkit.fit(rows, config=config_of(sizes), progress=False)

    return {"csrkit": steps, "csrkit.fit, the call": call}


def rival_epoch(make: Callable[[], Step], rows: NDArray[np.float32], batch: int) -> None:
    """Take one shuffled pass with the cheapest data loader there is."""
    step, order = make(), torch.randperm(len(rows))
    for part in order[: len(rows) - len(rows) % batch].split(batch):
        step(torch.from_numpy(rows)[part])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="tiny sizes: does it run at all")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of the step")
    parser.add_argument("--epochs", type=int, default=1, help="rounds of the epoch, 0 for none")
    arguments = parser.parse_args()
    sizes, repeats = (TOY, 1) if arguments.toy else (FULL, arguments.repeats)
    rows = unit_rows(sizes.epoch_rows, sizes.dim)
    x = torch.from_numpy(rows[: sizes.batch])
    heading("Training speed", sizes, toy=arguments.toy)
    library = _library.is_installed()
    if library:
        print(_library.fault(x, sizes.latents, sizes.ladder[-1]))
    others = rivals(sizes, library=library)

    steps = {"csrkit": csrkit_step(rows, sizes, 0.0)}
    steps["csrkit, 10% dead"] = csrkit_step(rows, sizes, 0.1)
    steps |= {name: make() for name, make in others.items()}
    contestants = {name: lambda step=step: step(x) for name, step in steps.items()}
    weight, buffer = torch.randn(sizes.latents, sizes.dim), torch.empty(len(x), sizes.latents)
    contestants["x @ W.T"] = lambda: x @ weight.T
    contestants["x @ W.T, warm memory"] = lambda: torch.mm(x, weight.T, out=buffer)
    seconds = interleaved(contestants, repeats)
    print(ratios(seconds, {"of csrkit": "csrkit", "of product": "x @ W.T"}, "one step"))

    epochs = csrkit_epochs(rows, sizes)
    for name, make in others.items():
        epochs[name] = lambda make=make: rival_epoch(make, rows, sizes.batch)
    if arguments.epochs:
        seconds = interleaved(epochs, arguments.epochs, warmup=0)
        print("\n" + ratios(seconds, {"of csrkit": "csrkit"}, f"one epoch, {len(rows)} rows"))


if __name__ == "__main__":
    main()
