"""A model that stands for the points of `shards` well, and for others badly, without a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes

from .shards import DIM, embeddings

LADDER = (4, 8)


def dictionary_model() -> CSRModel:
    """Latents are the directions that `embeddings` mixes, and their opposites."""
    directions = np.random.default_rng(0).normal(size=(12, DIM))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    atoms = np.concatenate([directions, -directions])
    config = ModelConfig(
        dim=DIM,
        n_latents=len(atoms),
        ladder=LADDER,
        provenance=Provenance(csrkit="0.0.0", rows=2000, steps=0),
    )
    arrays = {name: np.zeros(shape) for name, shape in array_shapes(config).items()}
    arrays |= {"encoder": atoms, "decoder": atoms, "latent_bias": np.full(len(atoms), -0.1)}
    return _measured(CSRModel(config=config, **arrays))


def _measured(model: CSRModel) -> CSRModel:
    """Fit the decoding scales, and note how often latents fire."""
    rows = embeddings(2000)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scales = np.zeros(len(model.scales), np.float32)
    for k in range(1, len(scales)):
        decoded = model.encode(rows, k=k).to_dense() @ model.decoder
        scales[k] = np.vdot(unit, decoded) / np.vdot(decoded, decoded)
    loads = [(model.encode(rows, k=k).to_dense() > 0).mean(axis=0) for k in LADDER]
    return replace(model, scales=scales, loads=np.array(loads, np.float32))
