"""The training objective: which losses a batch gets, and their weighted sum."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from csrkit.training import losses
from csrkit.training.autoencoder import Autoencoder
from csrkit.training.config import FitConfig
from csrkit.training.sparse_ops import Selection, gather_scores

__all__ = ["Batch", "Objective", "StepResult"]


class Batch(NamedTuple):
    """One step's data, all rows of norm 1, on the training device.

    Attributes:
        x: float (batch, dim).
        positives: float (batch, dim), the positive of each row, or None.
        labels: int64 (batch,), the class of each row, or None.
        queries: float (queries, dim), real queries, unaligned, or None.
    """

    x: Tensor
    positives: Tensor | None = None
    labels: Tensor | None = None
    queries: Tensor | None = None


class StepResult(NamedTuple):
    """What a forward pass gives the loop.

    Attributes:
        loss: Scalar with gradients.
        fvu: Reconstruction at the longest rung, detached scalar.
        selection: Latents of every reconstructed row, in falling order.
    """

    loss: Tensor
    fvu: Tensor
    selection: Selection


class Objective:
    """Weighted sum of the losses that a config and the data at hand call for."""

    def __init__(self, config: FitConfig, variance: float, generator: torch.Generator) -> None:
        self.config = config
        self.variance = variance
        self.generator = generator

    def __call__(
        self,
        model: Autoencoder,
        batch: Batch,
        ladder: tuple[int, ...],
        balance: Tensor,
        dead: Tensor,
    ) -> StepResult:
        """Run one forward pass.

        Args:
            model: The weights.
            batch: The data.
            ladder: Prefix lengths of this step: the config's, unless annealed.
            balance: Bias of the load balance, float (latents,).
            dead: Latents that count as dead, int64 (n_dead,).

        Returns:
            Loss, FVU and selection.
        """
        x = batch.x if batch.positives is None else torch.cat([batch.x, batch.positives])
        loss, fvu, selection = self._reconstruct(model, x, ladder, balance, dead)
        loss = loss + self._similarity(model, batch, selection, ladder, balance)
        return StepResult(loss, fvu, selection)

    def _reconstruct(
        self,
        model: Autoencoder,
        x: Tensor,
        ladder: tuple[int, ...],
        balance: Tensor,
        dead: Tensor,
    ) -> StepResult:
        """FVU at every rung; on some of the rows, the 4k term and the auxiliary loss."""
        config = self.config
        k_aux = config.aux_latents or max(1, x.shape[1] // 2)
        k_dead = min(k_aux, len(dead)) if config.aux_weight else 0
        longest = min(4 * ladder[-1], len(balance))
        m = math.ceil(config.auxiliary_share * len(x))
        long, long_dead = model.select(x[:m], balance, longest, dead, k_dead)
        rest, _ = model.select(x[m:], balance, ladder[-1])
        long_errors, long_residuals = model.errors(x[:m], long, (*ladder, longest))
        errors, _ = model.errors(x[m:], rest, ladder)
        fvu = losses.reconstruction_fvu(long_errors[:-1] + errors, len(x), self.variance)
        beyond = losses.reconstruction_fvu(long_errors[-1:], m, self.variance)
        loss = fvu @ _rung_weights(fvu) + config.long_prefix_weight * beyond[0]
        if k_dead:
            residual = -long_residuals[-2]
            explained = model.explain(residual, long_dead, k_dead)
            loss = loss + config.aux_weight * losses.auxiliary_fvu(
                residual, explained, len(dead), k_aux
            )
        return StepResult(loss, fvu[-1].detach(), _stacked(long, rest, ladder[-1]))

    def _similarity(
        self,
        model: Autoencoder,
        batch: Batch,
        selection: Selection,
        ladder: tuple[int, ...],
        balance: Tensor,
    ) -> Tensor:
        """Contrast and distillation at one drawn pair of rungs."""
        config, latents = self.config, len(balance)
        k_query, k_doc = self._sample_pair(ladder)
        n, m = len(batch.x), min(config.similarity_rows, len(batch.x))
        total = batch.x.new_zeros(())
        documents = _codes(selection, slice(0, m), k_doc)
        if config.contrast_weight:
            if batch.positives is None:
                # one k on both sides: with two, recall and nDCG fell and the cost rose
                scores = gather_scores(documents, documents, latents)
            else:  # their rows follow those of the batch
                anchors = _codes(selection, slice(0, m), k_query)
                positives = _codes(selection, slice(n, n + m), k_doc)
                scores = gather_scores(anchors, positives, latents)
            total = total + config.contrast_weight * self._contrast(scores, batch)
        if config.distillation_weight:
            rows = batch.x[:m]
            mask: Tensor | None = torch.eye(m, dtype=torch.bool, device=rows.device)
            codes = _codes(selection, slice(0, m), k_query)
            if batch.queries is not None:
                rows, mask = batch.queries, None
                chosen, _ = model.select(rows, balance, k_query)
                codes = _codes(chosen, slice(None), k_query)
            total = total + config.distillation_weight * losses.similarity_distillation(
                gather_scores(codes, documents, latents),
                rows @ batch.x[:m].T,
                config.distillation_temperature,
                mask,
            )
        return total

    def _contrast(self, scores: Tensor, batch: Batch) -> Tensor:
        """Choose the contrast that the data allow: pairs, labels, or each row by itself."""
        temperature = self.config.contrast_temperature
        if batch.positives is not None:
            return losses.pair_contrast(scores, temperature)
        if batch.labels is not None:
            return losses.label_contrast(scores, batch.labels[: len(scores)], temperature)
        return losses.self_contrast(scores, temperature)

    def _sample_pair(self, ladder: tuple[int, ...]) -> tuple[int, int]:
        """Draw two rungs; the query takes the shorter: only its k can change later."""
        a, b = torch.randint(len(ladder), (2,), generator=self.generator).tolist()
        return ladder[min(a, b)], ladder[max(a, b)]


def _rung_weights(fvu: Tensor) -> Tensor:
    """Half of the weight for the first rung, half of the rest for the next, and so on.

    Equal weights serve the long rungs best, whose errors all latents share, and cost the
    shortest one a point of recall.
    """
    halves = 0.5 ** torch.arange(1, len(fvu) + 1, device=fvu.device, dtype=fvu.dtype)
    halves[-1] = 1 - halves[:-1].sum()
    return halves


def _stacked(first: Selection, second: Selection, k: int) -> Selection:
    """Put two selections of k or more latents below each other."""
    return Selection(
        torch.cat([first.values[:, :k], second.values[:, :k]]),
        torch.cat([first.indices[:, :k], second.indices[:, :k]]),
    )


def _codes(selection: Selection, rows: slice, k: int) -> Selection:
    """Cut a selection to some rows and k latents, normalised to length 1."""
    values = functional.normalize(selection.values[rows, :k], dim=1)
    return Selection(values, selection.indices[rows, :k])
