"""From data to model: start the weights, train, measure, and freeze.

The measurement that decides is recall@10 against exact dense search, of
held-out queries over a sample of the documents, averaged over the ladder with
the same k on both sides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from csrkit import __version__
from csrkit.metrics import exact_top, recall_at
from csrkit.model import CSRModel, ModelConfig, Provenance, scale_count
from csrkit.model.residual import find_directions
from csrkit.training.autoencoder import Autoencoder
from csrkit.training.config import FitConfig
from csrkit.training.data import TrainingData
from csrkit.training.loop import Snapshot, Trained, Weights, train
from csrkit.training.objective import Objective
from csrkit.training.teacher import distillation_weight
from csrkit.vectors import SparseVectors

__all__ = ["run"]

DOCUMENTS = 10_000  # over which the held-out recall is measured
SCALE_ROWS = 4096  # on which the decoding scales are fitted
LIMIT = 10


def run(
    data: TrainingData,
    queries: NDArray[np.float32],
    config: FitConfig,
    *,
    progress: bool,
    sample_rows: int,
) -> tuple[CSRModel, Trained]:
    """Train one model.

    Args:
        data: What to train on.
        queries: float32 (q, dim) of norm 1, held out; may be empty, then the
            last weights are kept.
        config: Settings with every default resolved but the distillation weight, which
            follows from the sample.
        progress: Whether to show a progress bar.
        sample_rows: Training rows that start the weights and measure the result.

    Returns:
        The best model, and the run it came from.
    """
    sample = data.sample(sample_rows, config.seed)
    if config.distillation_weight is None:
        weight = distillation_weight(torch.from_numpy(sample), config.distillation_temperature)
        config = config.model_copy(update={"distillation_weight": weight})
    # float64: the variance of tightly packed rows is a small difference
    mean = sample.mean(axis=0, dtype=np.float64)
    variance = float(np.square(sample - mean).sum(axis=1).mean())
    generator = torch.Generator().manual_seed(config.seed)
    assert config.n_latents is not None  # resolved by the caller
    model = Autoencoder(
        torch.from_numpy(sample),
        torch.from_numpy(mean.astype(np.float32)),
        config.n_latents,
        tied=config.tied,
        rounds=config.kmeans_rounds,
        generator=generator,
    ).to(config.device)
    model.fit_scale_(torch.from_numpy(sample[:SCALE_ROWS]).to(config.device), config.ladder[-1])
    objective = Objective(config, max(variance, 1e-12), generator)
    measure = _measure(sample[:DOCUMENTS], queries, config) if len(queries) else None
    trained = train(model, data, objective, config, measure, progress)
    frozen = _freeze(trained.best, sample, config, data.embeddings.n)
    if told := _empty_codes(frozen, sample):
        warnings.warn(told, stacklevel=3)
    return frozen, trained


def _empty_codes(model: CSRModel, sample: NDArray[np.float32]) -> str | None:
    """Say how many rows no latent fires for, if they are one in a hundred or more."""
    counts = model.encode(sample[:SCALE_ROWS]).counts
    empty = int((counts == 0).sum())
    if 100 * empty < len(counts):
        return None
    return (
        f"{empty} of {len(counts)} embeddings get an empty code, which no search finds: they lie "
        "where the mean of all embeddings does, or n_latents is too small to tell them apart"
    )


def _measure(
    documents: NDArray[np.float32], queries: NDArray[np.float32], config: FitConfig
) -> Callable[[Weights], float]:
    """Return a function that gives the held-out recall of weights."""
    limit = min(LIMIT, len(documents))
    truth = exact_top(queries, documents, limit)

    def measure(weights: Weights) -> float:
        model = _model(weights, config, rows=0, step=0, recall=None)
        asked = model.encode(queries)
        stored = model.encode(documents)
        recalls = []
        for k in config.ladder:
            found = _top(asked.top(k).normalized(), stored.top(k).normalized(), limit)
            recalls.append(float(recall_at(found, truth, limit).mean()))
        return float(np.mean(recalls))

    return measure


def _top(queries: SparseVectors, documents: SparseVectors, limit: int) -> NDArray[np.int64]:
    """Return the best documents of each query, int64 (q, limit), in blocks of queries."""
    best = []
    for start in range(0, len(queries), 256):
        scores = queries[start : start + 256].dot(documents)
        best.append(np.argpartition(scores, -limit, axis=1)[:, -limit:])
    return np.concatenate(best)


def _freeze(best: Snapshot, sample: NDArray[np.float32], config: FitConfig, n: int) -> CSRModel:
    """Measure loads, decoding scales and what codes leave out, and build the model."""
    draft = _model(best.weights, config, rows=n, step=best.step, recall=best.recall)
    scales = _scales(draft, sample[:SCALE_ROWS])
    loads = np.stack([_loads(draft, sample, k) for k in config.ladder])
    model = replace(draft, scales=scales, loads=loads)
    bits = max(1, round(config.residual_bits * model.dim))
    codes = model.encode(sample[:SCALE_ROWS])
    basis, counts = find_directions(model, sample, codes, bits)
    if not counts:  # all rows alike
        return model
    settings = model.config.model_copy(update={"residual_bits": counts})
    return replace(model, config=settings, residual_basis=basis)


def _loads(model: CSRModel, rows: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    counts = np.bincount(model.encode(rows, k=k).indices, minlength=model.n_latents)
    return (counts / len(rows)).astype(np.float32)


def _scales(model: CSRModel, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fit the constant that turns a normalised code back into a row, for every length.

    Least squares at the powers of two, ``s = <x - b, y> / <y, y>`` with
    ``y = code W_dec``, and linear in log k between them.
    """
    longest = scale_count(model.config) - 1
    lengths = np.unique([*(2**i for i in range(longest.bit_length())), longest])
    codes = model.encode(rows, k=longest)
    fitted = []
    for k in lengths:
        y = codes.top(int(k)).normalized().to_scipy() @ model.decoder
        power = float(np.vdot(y, y))
        fitted.append(float(np.vdot(rows - model.pre_bias, y)) / power if power else 0.0)
    every = np.interp(np.log2(np.arange(1, longest + 1)), np.log2(lengths), fitted)
    return np.concatenate([[0.0], every]).astype(np.float32)


def _model(
    weights: Weights, config: FitConfig, *, rows: int, step: int, recall: float | None
) -> CSRModel:
    """Wrap weights, with scales of 1 and loads of 0."""
    latents, dim = weights.encoder.shape
    settings = ModelConfig(
        dim=dim,
        n_latents=latents,
        ladder=config.ladder,
        provenance=Provenance(
            csrkit=__version__,
            rows=rows,
            steps=step,
            recall=recall,
            fit=config.model_dump(mode="json"),
        ),
    )
    return CSRModel(
        config=settings,
        encoder=weights.encoder.numpy(),
        decoder=weights.decoder.numpy(),
        latent_bias=weights.latent_bias.numpy(),
        pre_bias=weights.pre_bias.numpy(),
        scales=np.ones(scale_count(settings), dtype=np.float32),
        loads=np.zeros((len(config.ladder), latents), dtype=np.float32),
    )
