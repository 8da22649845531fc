"""`ExpansionControl`: which latents a text's code may fire at a step of training.

Probabilistic Expansion Control (arXiv 2402.17535): a code is first held to the words of its
caption, so that latents keep the meaning of their words, and then let go::

    P(expansion at step s) = min(1, s / (ramp * steps))

The released code of arXiv 2508.16707 has the switch but never moves the probability, so that
captions are never expanded in training; here it moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from csrkit.joint.config import JointConfig

if TYPE_CHECKING:
    from csrkit.vectors import SparseVectors

__all__ = ["ExpansionControl"]


class ExpansionControl:
    """Draws, step by step, which texts are held to the words of their captions.

    Args:
        config: Its ``expansion`` and ``expansion_ramp``.
        captions: The words of every text, without special tokens; None never holds any.
        steps: Steps of the whole training.
        generator: Source of randomness, on the CPU.
    """

    def __init__(
        self,
        config: JointConfig,
        captions: SparseVectors | None,
        steps: int,
        generator: torch.Generator,
    ) -> None:
        self._captions = None if config.expansion == "free" else captions
        self._per_text = config.expansion == "sample"
        self._rise = config.expansion_ramp * steps
        self._generator = generator

    def probability(self, step: int) -> float:
        """Return the probability of expansion at a step, counted from 0."""
        return min(1.0, step / self._rise)

    def mask(self, texts: Tensor, step: int) -> Bool[Tensor, "batch latents"] | None:
        """Draw for one batch.

        Args:
            texts: int64 (batch,), rows of the captions.
            step: Step of the training, from 0.

        Returns:
            True where a latent may fire, on the CPU; None if all may.
        """
        if self._captions is None:
            return None
        draws = len(texts) if self._per_text else 1
        free = torch.rand(draws, generator=self._generator) < self.probability(step)
        if bool(free.all()):
            return None
        words = torch.from_numpy(self._captions[texts.numpy()].to_dense()) > 0
        return words | free[:, None]
