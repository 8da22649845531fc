"""sentence-transformers' CSR on the same embeddings: the published method, as its library ships it.

Its `SparseAutoEncoder` under its `CSRLoss` (beta 0.1, gamma 1: its defaults), without the text
backbone that its trainer would run: the embeddings are there. One model per k, as the paper does
it, each with the steps and the width that the csrkit model had. The pairs of the contrast are each
row with itself. Its codes go into the same store; it offers no rescoring.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.baselines import Footprint, Way
from csrkit.errors import MissingExtra
from csrkit.evaluation.built import Built
from csrkit.evaluation.csr import row_numbers
from csrkit.evaluation.measure import TIMED
from csrkit.evaluation.stored import Rows, Stored, stored
from csrkit.metrics import bytes_per_vector, posting_cost
from csrkit.model import CSRModel
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from csrkit.baselines import Subset
    from csrkit.evaluation.trial import Floats, RowNumbers, Trial
    from csrkit.search import SearchEncoder

__all__ = ["NAME", "library", "published"]

NAME = "sentence-transformers"
BATCH, RATE, EPSILON = 1024, 4e-4, 6.25e-10  # of the paper's training
STEPS = 1000  # where the model does not say how many it had
BLOCK = 512  # rows whose dense codes are held at a time


def library() -> Any:
    """Import the library's sparse encoders.

    Returns:
        The module.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        from sentence_transformers import sparse_encoder
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "bench", f"the baseline {NAME!r}") from error
    return sparse_encoder


@contextmanager
def published(model: SearchEncoder, trial: Trial, k: int, *, seed: int) -> Iterator[Built]:
    """Train the library's model for one k, store its codes, and offer to search them.

    Args:
        model: Gives width and steps.
        trial: Documents and queries.
        k: Latents of documents and queries.
        seed: Of weights and batches.

    Yields:
        One way; its time is without training, as that of csrkit's own codes is.
    """
    steps = (model.config.provenance.steps if isinstance(model, CSRModel) else 0) or STEPS
    encoder = _trained(trial.docs, model.n_latents, k, steps=steps, seed=seed)
    started = time.perf_counter()
    codes = encoder.encode(trial.docs)
    encoded = time.perf_counter() - started
    asked = encoder.encode(trial.queries)
    with stored(Rows(codes, None, trial.buckets), asked[:TIMED]) as index:
        kept = Footprint(
            per_vector=index.code_bytes,
            retained=0.0,
            code=float(bytes_per_vector(codes).mean()),
            shared=4.0 * (model.n_latents * (model.dim + 1) + model.dim),
        )
        memory = None if index.memory is None else index.memory.searched / len(codes)
        way = Way(
            NAME,
            "csr",
            f"k={k}, {steps} steps",
            _Asked(encoder, index, kept),
            k=k,
            posting_cost=float(posting_cost(asked, codes).mean()),
            resident=memory,
        )
        yield Built(encoded + index.seconds, [way])


@dataclass(frozen=True, eq=False)
class _Encoder:
    """The library's trained module."""

    module: Any

    def encode(self, rows: Floats) -> SparseVectors:
        """Return the codes of rows, scaled to norm 1."""
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(rows), BLOCK):
                block = torch.from_numpy(np.ascontiguousarray(rows[start : start + BLOCK]))
                codes = self.module({"sentence_embedding": block})["sentence_embedding"]
                parts.append(SparseVectors.from_dense(codes.numpy()))
        return SparseVectors.concat(parts).normalized()


@dataclass(frozen=True, eq=False)
class _Asked:
    """The library's codes in a store, as an `Index`."""

    encoder: _Encoder
    index: Stored
    footprint: Footprint

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        codes = self.encoder.encode(queries)
        return row_numbers(
            self.index.store.search(codes, limit=n, filter=self.index.filter(among)), n
        )


def _trained(docs: Floats, n_latents: int, k: int, *, steps: int, seed: int) -> _Encoder:
    sparse_encoder = library()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = sparse_encoder.modules.SparseAutoEncoder(
            docs.shape[1], n_latents, k=k, k_aux=min(512, n_latents)
        ).train()
    loss = sparse_encoder.losses.CSRLoss(module, beta=0.1, gamma=1.0)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, eps=EPSILON)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        batch = torch.from_numpy(docs[rng.choice(len(docs), min(BATCH, len(docs)), replace=False)])
        parts = loss([{"sentence_embedding": batch}, {"sentence_embedding": batch}])
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
    return _Encoder(module.eval())
