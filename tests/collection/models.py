"""A small model with random weights; what a job does with it does not depend on its quality."""

from __future__ import annotations

import numpy as np

from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes

from .shards import DIM

LATENTS = 96


def random_model(seed: int = 0, dim: int = DIM, latents: int = LATENTS) -> CSRModel:
    config = ModelConfig(
        dim=dim,
        n_latents=latents,
        ladder=(4, 8),
        provenance=Provenance(csrkit="0.0.0", rows=7, steps=3),
    )
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=shape) for name, shape in array_shapes(config).items()}
    arrays |= {"decoder": arrays["encoder"] / 8, "scales": np.ones(len(arrays["scales"]))}
    return CSRModel(config=config, **{**arrays, "pre_bias": arrays["pre_bias"] / 8})
