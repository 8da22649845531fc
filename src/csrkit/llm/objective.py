"""What a step minimises: a ranking loss for each head, and the FLOPS loss on codes.

    scores   s = Q D^T / tau
    cl       InfoNCE over all documents of the batch          kd     MarginMSE on each list
    kd_kl    KL on each list                                  cl_kd  (cl + kd_kl) / 2
    total    sum over heads of the loss + lambda_q F(Q) + lambda_d F(D)

Sources: arXiv 2502.15526, its released losses, and for F arXiv 2004.05665.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from csrkit.llm.config import LLMConfig, Loss
from csrkit.training.ranking import info_nce, list_kl, margin_mse
from csrkit.training.sparsity import QuadraticRamp, flops

__all__ = ["Codes", "Objective", "Parts", "ranking_loss"]


class Codes(NamedTuple):
    """What the heads make of a batch of texts; None for a head that is not trained.

    Attributes:
        sparse: float32 (batch, vocabulary).
        dense: float32 (batch, dim).
    """

    sparse: Tensor | None
    dense: Tensor | None

    def map(self, other: Codes | None = None) -> list[tuple[Tensor, Tensor | None]]:
        """Pair the parts that there are with those of other codes."""
        theirs = (None, None) if other is None else other
        return [(own, one) for own, one in zip(self, theirs, strict=True) if own is not None]


class Parts(NamedTuple):
    """A loss and what it is made of, scalars.

    Attributes:
        total: What is minimised; with a gradient.
        ranking: Sum of the ranking losses of the heads.
        query_flops: FLOPS loss of the queries before its weight; 0 without codes.
        document_flops: The same of the documents.
    """

    total: Tensor
    ranking: Tensor
    query_flops: Tensor
    document_flops: Tensor


def ranking_loss(
    loss: Loss,
    scores: Float[Tensor, "queries documents"],
    positives: Bool[Tensor, "queries documents"],
    teacher: Float[Tensor, "queries list"] | None,
    kl_temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Return one of the four ranking losses.

    Args:
        loss: Which.
        scores: Of all queries with all documents, divided by the temperature.
        positives: True at each query's positive, at copies of it in other lists, and at other
            positives of the same query.
        teacher: Scores of each query's own list, positive first, in the same units.
        kl_temperature: Divides both sides of the KL divergence.

    Returns:
        Scalar, mean over the queries.
    """
    if loss == "cl":
        return info_nce(scores, positives)
    assert teacher is not None  # checked before training
    queries, length = teacher.shape
    lists = scores.view(queries, -1, length)
    own = lists[torch.arange(queries), torch.arange(queries)]  # (queries, list)
    if loss == "kd":
        return margin_mse(own, teacher)
    divergence = list_kl(own / kl_temperature, teacher / kl_temperature)
    return divergence if loss == "kd_kl" else (info_nce(scores, positives) + divergence) / 2


class Objective:
    """The loss of a run at each of its steps."""

    def __init__(self, config: LLMConfig) -> None:
        """Prepare the schedules.

        Args:
            config: With its loss resolved.
        """
        self._config = config
        ramp = max(1, round(config.flops_ramp * config.steps))
        self._query_weight = QuadraticRamp(config.query_flops, ramp)
        self._document_weight = QuadraticRamp(config.document_flops, ramp)

    def heat(self, step: int) -> float:
        """Return the factor on the temperatures: from ``hot_start`` down to 1.

        Args:
            step: Optimiser steps taken.

        Returns:
            A number of at least 1.
        """
        cooling = self._config.temperature_warmup * self._config.steps
        left = max(0.0, 1 - step / cooling) if cooling else 0.0
        return float(self._config.hot_start**left)

    def __call__(
        self,
        queries: Codes,
        documents: Codes,
        positives: Bool[Tensor, "queries documents"],
        teacher: Float[Tensor, "queries list"] | None,
        step: int,
    ) -> Parts:
        """Compute the loss of a whole batch.

        Args:
            queries: Of all queries.
            documents: Of all documents, list by list.
            positives: As in `ranking_loss`.
            teacher: As they come; scaled here.
            step: Optimiser steps taken.

        Returns:
            The loss and its parts.
        """
        config, heat = self._config, self.heat(step)
        assert config.loss is not None  # resolved by the caller
        target = None if teacher is None else config.teacher_scale * teacher
        zero = positives.new_zeros((), dtype=torch.float32)
        ranking, of_queries, of_documents = zero, zero, zero
        heads = (
            (queries.sparse, documents.sparse, config.sparse_temperature),
            (queries.dense, documents.dense, config.dense_temperature),
        )
        for asked, stored, temperature in heads:
            if asked is None or stored is None:
                continue
            scores = asked @ stored.T / (temperature * heat)
            ranking = ranking + ranking_loss(
                config.loss, scores, positives, target, config.kl_temperature
            )
        if queries.sparse is not None and documents.sparse is not None:
            of_queries, of_documents = flops(queries.sparse), flops(documents.sparse)
        total = ranking + self._query_weight(step) * of_queries
        total = total + self._document_weight(step) * of_documents
        return Parts(total, ranking.detach(), of_queries.detach(), of_documents.detach())
