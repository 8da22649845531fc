"""Models that need no training: rows of the data as their latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from csrkit import CSRModel
from csrkit.model import ModelConfig, Provenance, scale_count

DATA = Path(__file__).parents[2] / "examples" / "data"
Clustered = Callable[..., np.ndarray]
LandmarkModel = Callable[..., CSRModel]


def _landmark_model(
    docs: np.ndarray, n_latents: int = 256, ladder: tuple[int, ...] = (4, 8, 16), seed: int = 0
) -> CSRModel:
    """Return a model whose latents are centred rows of the data, with fitted decoding scales."""
    rng = np.random.default_rng(seed)
    unit = docs / np.linalg.norm(docs, axis=1, keepdims=True)
    mean = unit.mean(axis=0)
    latents = unit[rng.choice(len(unit), n_latents, replace=False)] - mean
    latents /= np.linalg.norm(latents, axis=1, keepdims=True)
    config = ModelConfig(
        dim=docs.shape[1],
        n_latents=n_latents,
        ladder=ladder,
        provenance=Provenance(csrkit="0.0.0", rows=len(docs), steps=0),
    )

    def with_scales(scales: np.ndarray) -> CSRModel:
        return CSRModel(
            config=config,
            encoder=latents,
            latent_bias=np.zeros(n_latents),
            pre_bias=mean,
            decoder=latents,
            scales=scales,
            loads=np.zeros((len(ladder), n_latents)),
        )

    model = with_scales(np.ones(scale_count(config)))
    sample = unit[:256]
    found = []
    for k in ladder:
        decoded = model.decode(model.encode(sample, k=k)) - mean
        found.append((decoded * (sample - mean)).sum() / (decoded * decoded).sum())
    return with_scales(np.interp(np.arange(scale_count(config)), ladder, found))


def _clustered(n: int, dim: int = 32, spread: float = 0.7, seed: int = 0) -> np.ndarray:
    """Return rows around 60 centres, not of norm 1, float32 (n, dim)."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(60, dim))
    rows = centres[rng.integers(60, size=n)] + spread * rng.normal(size=(n, dim))
    return (rows * rng.uniform(0.5, 2, size=(n, 1))).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def _few_queries_are_timed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csrkit.tuning.measure.TIMED", 5)
        yield


@pytest.fixture(scope="session")
def landmark_model() -> LandmarkModel:
    return _landmark_model


@pytest.fixture(scope="session")
def clustered() -> Clustered:
    return _clustered


@pytest.fixture(scope="session")
def wordnet() -> tuple[np.ndarray, np.ndarray]:
    """The shipped embeddings: 3000 documents and 1500 real queries."""
    docs, queries = (
        (np.load(DATA / f"{name}.npy") * np.load(DATA / f"{name}.scale.npy")[:, None])
        for name in ("docs", "queries")
    )
    return docs[::5].astype(np.float32), queries.astype(np.float32)
