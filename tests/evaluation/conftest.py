"""A model of random weights, clustered embeddings, queries with judgements and labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from csrkit.model import CSRModel
from csrkit.model.config import ModelConfig, Provenance

DIM, LATENTS, N, Q, CLASSES = 24, 192, 600, 60, 6


@pytest.fixture(autouse=True)
def few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time few queries: no test depends on the numbers."""
    monkeypatch.setattr("csrkit.evaluation.measure.TIMED", 4)
    monkeypatch.setattr("csrkit.evaluation.measure.FILTERED", 12)
    monkeypatch.setattr("csrkit.evaluation.measure._WARM", 1)


@pytest.fixture
def unweighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no process to measure memory in, where memory is not the subject."""
    monkeypatch.setattr("csrkit.evaluation.stored.resident", lambda folder, queries: None)


class Data(NamedTuple):
    """Embeddings of any length, and what is known about them."""

    docs: np.ndarray
    labels: np.ndarray
    queries: np.ndarray
    query_labels: np.ndarray
    qrels: list[dict[int, float] | None]


@pytest.fixture(scope="session")
def model() -> CSRModel:
    """A frame of random directions: its codes keep some of the neighbours."""
    rng = np.random.default_rng(0)
    config = ModelConfig(
        dim=DIM,
        n_latents=LATENTS,
        ladder=(4, 16),
        provenance=Provenance(csrkit="0", rows=N, steps=1),
    )
    frame = rng.normal(size=(LATENTS, DIM))
    frame /= np.linalg.norm(frame, axis=1, keepdims=True)
    return CSRModel(
        config=config,
        encoder=frame.astype(np.float32),
        decoder=frame.astype(np.float32),
        latent_bias=np.zeros(LATENTS, np.float32),
        pre_bias=np.zeros(DIM, np.float32),
        scales=np.ones(4 * 16 + 1, np.float32),
        loads=np.zeros((2, LATENTS), np.float32),
    )


@pytest.fixture(scope="session")
def data() -> Data:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(CLASSES, DIM))
    labels, query_labels = rng.integers(0, CLASSES, N), rng.integers(0, CLASSES, Q)
    docs = 0.7 * centres[labels] + rng.normal(size=(N, DIM))
    queries = 0.7 * centres[query_labels] + rng.normal(size=(Q, DIM))
    qrels: list[dict[int, float] | None] = [
        {int(row): float(rng.integers(1, 4)) for row in rng.choice(N, 5, replace=False)}
        for _ in range(Q)
    ]
    near = np.argsort(-(queries @ docs.T), axis=1)[:, :3]
    for query, rows in enumerate(near):
        qrels[query] = {**(qrels[query] or {}), int(rows[query % 3]): 2.0}
    qrels[7] = None
    return Data(
        (docs * rng.uniform(0.5, 2, (N, 1))).astype(np.float32),
        labels,
        queries.astype(np.float32),
        query_labels,
        qrels,
    )
