"""A collection that is large enough to plan for, on either home, and a small model of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes

DIM, N = 64, 600


@cache
def rows(n: int = N, seed: int = 0) -> Any:
    """float32 (n, 64) of norm 1: mixtures of a few of 40 directions, and noise."""
    directions = np.random.default_rng(7).normal(size=(40, DIM))
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=(n, 40)) * (rng.random((n, 40)) < 0.15)
    mixed = weights @ directions + 0.4 * rng.normal(size=(n, DIM))
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


@cache
def model() -> CSRModel:
    """Latents are 160 such rows, and decoding has the scales that fit best: no training."""
    atoms = rows(160, seed=1)
    config = ModelConfig(
        dim=DIM,
        n_latents=len(atoms),
        ladder=(4, 8),
        provenance=Provenance(csrkit="0.0.0", rows=160, steps=0),
    )
    arrays = {name: np.zeros(shape) for name, shape in array_shapes(config).items()}
    arrays |= {"encoder": atoms, "decoder": atoms, "latent_bias": np.full(len(atoms), -0.1)}
    rough, sample = CSRModel(config=config, **arrays), rows(500, seed=2)
    scales = np.zeros(len(rough.scales), np.float32)
    for k in range(1, len(scales)):
        decoded = rough.encode(sample, k=k).to_dense() @ atoms
        scales[k] = np.vdot(sample, decoded) / np.vdot(decoded, decoded)
    return replace(rough, scales=scales)


def fill_shard(
    folder: Path, vectors: Any, *, distance: str = "Cosine", multi: bool = False
) -> qe.EdgeShard:
    folder.mkdir(parents=True)
    several = qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim) if multi else None
    kind = qe.EdgeVectorParams(
        size=vectors.shape[1], distance=getattr(qe.Distance, distance), multivector_config=several
    )
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": kind}))
    points = [
        qe.Point(i, {"dense": [row] if multi else row}, {"n": i})
        for i, row in enumerate(vectors.tolist())
    ]
    if points:
        shard.update(qe.UpdateOperation.upsert_points(points))
    return shard


def fill_server(client: QdrantClient, vectors: Any) -> None:
    params = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("docs", vectors_config={"dense": params})
    points = [
        models.PointStruct(id=i, vector={"dense": row}, payload={"n": i})
        for i, row in enumerate(vectors.tolist())
    ]
    client.upsert("docs", points, wait=True)
