"""Batches for the loop: shuffled, of norm 1, aligned, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from csrkit.sources import Source
from csrkit.training.objective import Batch

__all__ = ["TrainingData", "unit_tensor"]

BLOCK_BYTES = 128 << 20  # of rows read from disk and mixed at a time
_UNIT_ROWS = 4096  # made float64 at a time


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a model is trained on; rows are in the order of ``embeddings``.

    Attributes:
        embeddings: Rows to compress.
        positives: The positive of each row, or None.
        labels: int64 (n,), the class of each row, or None.
        queries: float32 (q, dim) of norm 1, training queries in memory, or None.
        held_out: int64, rising: rows that are never trained on.
    """

    embeddings: Source
    positives: Source | None = None
    labels: NDArray[np.int64] | None = None
    queries: NDArray[np.float32] | None = None
    held_out: NDArray[np.int64] | None = None

    def batches(
        self, size: int, query_rows: int, generator: torch.Generator, device: str
    ) -> Iterator[Batch]:
        """Yield full batches for ever, in a new order on each pass.

        Args:
            size: Rows of a batch, at most the rows that are not held out.
            query_rows: Queries drawn for each batch, if there are any.
            generator: Source of randomness, on the CPU.
            device: Where the batches go.

        Yields:
            Batches of exactly ``size`` rows.
        """
        while True:
            seed = int(torch.randint(2**31, (1,), generator=generator))
            for rows, vectors in self._parts(size, seed):
                x = unit_tensor(vectors)
                yield self._batch(rows, x, query_rows, generator, device)

    def _parts(
        self, size: int, seed: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield ``size`` rows that are not held out at a time, in a random order."""
        source = self.embeddings
        rows_in_memory = BLOCK_BYTES // (4 * source.dim)
        nothing = np.empty(0, np.int64), np.empty((0, source.dim), np.float32)
        rest = nothing  # what did not fill a batch waits for the next block
        for rows, vectors in source.blocks(max(size, rows_in_memory), seed):
            usable = np.arange(len(rows))
            if self.held_out is not None:
                usable = usable[~np.isin(rows, self.held_out)]
            for pick in np.split(usable, np.arange(size - len(rest[0]), len(usable), size)):
                rest = (
                    np.concatenate([rest[0], rows[pick]]),
                    np.concatenate([rest[1], vectors[pick]]),
                )
                if len(rest[0]) == size:
                    yield rest
                    rest = nothing

    def _batch(
        self,
        rows: NDArray[np.int64],
        x: Tensor,
        query_rows: int,
        generator: torch.Generator,
        device: str,
    ) -> Batch:
        positives = labels = queries = None
        if self.positives is not None:
            positives = unit_tensor(self.positives.take(rows)).to(device)
        if self.labels is not None:
            labels = torch.from_numpy(self.labels[rows]).to(device)
        if self.queries is not None:
            pick = torch.randint(len(self.queries), (query_rows,), generator=generator)
            queries = torch.from_numpy(self.queries)[pick].to(device)
        return Batch(x.to(device), positives, labels, queries)

    def sample(self, rows: int, seed: int) -> NDArray[np.float32]:
        """Draw training rows of norm 1 without replacement, in constant memory.

        Args:
            rows: How many, at most; fewer if there are fewer.
            seed: Same seed, same rows.

        Returns:
            float32 (m, dim), in random order: data are often sorted by where they come
            from, and some of the sample is looked at from its start.
        """
        usable = np.arange(self.embeddings.n)
        if self.held_out is not None:
            usable = np.delete(usable, self.held_out)
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(usable, min(rows, len(usable)), replace=False))
        drawn = unit_tensor(self.embeddings.take(chosen)).numpy()  # read in their order
        rng.shuffle(drawn)
        return drawn


def unit_tensor(rows: NDArray[np.float32]) -> Tensor:
    """Return rows scaled to norm 1 as a float32 CPU tensor; rows are finite and not zero."""
    unit = torch.empty(rows.shape, dtype=torch.float32)
    for start in range(0, len(rows), _UNIT_ROWS):
        wide = torch.from_numpy(rows[start : start + _UNIT_ROWS]).to(torch.float64)
        wide /= torch.linalg.vector_norm(wide, dim=1, keepdim=True)  # squares stay in range
        unit[start : start + _UNIT_ROWS] = wide
    return unit
