"""Batches of triples, each a pure function of the step: what makes a resumed run the same run.

    step -> epoch, place in the epoch's shuffle -> queries -> their drawn negatives

A batch of B queries with n negatives has B (1 + n) documents, those of a query next to each
other and its positive first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from csrkit.errors import ConfigError
from csrkit.llm.data import Triple

__all__ = ["Batch", "Batches"]

MOST_NEGATIVES = 16  # as published


class Batch(NamedTuple):
    """What one step trains on.

    Attributes:
        queries: Texts (queries,).
        documents: Texts (queries * list,), lists one after the other.
        positives: bool (queries, queries * list): the own positive, every copy of it, and what
            other triples of the same query call positive.
        teacher: float (queries, list), or None.
    """

    queries: list[str]
    documents: list[str]
    positives: Bool[Tensor, "queries documents"]
    teacher: Float[Tensor, "queries list"] | None


class Batches:
    """Draws batches from triples.

    Attributes:
        negatives: Hard negatives per query.
    """

    def __init__(
        self, triples: Sequence[Triple], size: int, negatives: int | None, seed: int
    ) -> None:
        """Check that every triple has what a batch needs.

        Args:
            triples: At least one.
            size: Queries per batch, at most as many as triples are used.
            negatives: Per query; None takes as many as every triple has, at most 16.
            seed: Of order and negatives.

        Raises:
            ConfigError: If there are no triples, or one has too few negatives.
        """
        if not triples:
            raise ConfigError("expected triples to train on, got none")
        fewest = min(range(len(triples)), key=lambda row: len(triples[row].negatives))
        at_hand = len(triples[fewest].negatives)
        self.negatives = min(at_hand, MOST_NEGATIVES) if negatives is None else negatives
        if at_hand < self.negatives:
            raise ConfigError(
                f"expected negatives={self.negatives} in every triple, got {at_hand} in triple "
                f"{fewest} ({triples[fewest].query[:40]!r}): set negatives={at_hand}"
            )
        self._triples = triples
        self._size = min(size, len(triples))
        self._seed = seed
        self._answers: dict[str, set[str]] = {}
        for triple in triples:
            self._answers.setdefault(triple.query, set()).add(triple.positive)
        self._scored = all(triple.scores is not None for triple in triples)

    @property
    def size(self) -> int:
        """Queries per batch."""
        return self._size

    def documents(self, most: int) -> list[str]:
        """Return a sample of different documents.

        Args:
            most: How many at most.

        Returns:
            Texts in random order, the same for the same seed.
        """
        order = np.random.default_rng((self._seed, 4)).permutation(len(self._triples))
        found: dict[str, None] = {}
        for row in order:
            found.update(dict.fromkeys(self._triples[row].documents))
            if len(found) >= most:
                break
        return list(found)[:most]

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step.

        Args:
            step: From 0; every pass over the triples has an order of its own.

        Returns:
            The same batch for the same step, always.
        """
        rng = np.random.default_rng((self._seed, 1, step))
        chosen = [self._triples[row] for row in self._rows(step)]
        documents: list[str] = []
        scores: list[list[float]] = []
        for triple in chosen:
            drawn = rng.permutation(len(triple.negatives))[: self.negatives]
            columns = [0, *(1 + drawn)]
            documents += [triple.documents[column] for column in columns]
            if triple.scores is not None:
                scores.append([triple.scores[column] for column in columns])
        copies = [[text in self._answers[one.query] for text in documents] for one in chosen]
        return Batch(
            [triple.query for triple in chosen],
            documents,
            torch.tensor(copies),
            torch.tensor(scores) if self._scored else None,
        )

    def _rows(self, step: int) -> list[int]:
        """Return the triples of a step: the next of an endless row of shuffles."""
        total = len(self._triples)
        rows: list[int] = []
        for place in range(step * self._size, (step + 1) * self._size):
            epoch, within = divmod(place, total)
            rows.append(int(self._order(epoch)[within]))
        return rows

    def _order(self, epoch: int) -> np.ndarray:
        kept: tuple[int, np.ndarray] | None = getattr(self, "_kept", None)
        if kept is None or kept[0] != epoch:
            rng = np.random.default_rng((self._seed, 0, epoch))
            kept = (epoch, rng.permutation(len(self._triples)))
            self._kept = kept
        return kept[1]
