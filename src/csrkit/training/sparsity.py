"""What keeps learned sparse vectors sparse: two regularisers, and the ramp of their weight.

Used by `csrkit.joint` and `csrkit.llm`, whose codes come out of ``log(1 + relu(.))`` with as many
active latents as training leaves. (CSR needs none of it: its TopK counts.)
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["QuadraticRamp", "flops", "l1"]


def l1(codes: Float[Tensor, "batch latents"]) -> Float[Tensor, ""]:
    r"""Mean size of a code.

    .. math:: \frac1B \sum_b \sum_j |z_{bj}|

    Args:
        codes: Dense codes.

    Returns:
        Scalar, mean over the batch. Every active latent is pulled down alike, whether it is
        rare or fires everywhere.

    Relations:
        The regulariser of arXiv 2508.16707 and 2402.17535.

    Examples:
        >>> import torch
        >>> l1(torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
        tensor(2.)
    """
    return codes.abs().sum(dim=1).mean()


def flops(codes: Float[Tensor, "batch latents"]) -> Float[Tensor, ""]:
    r"""Smooth stand-in for the posting cost of a batch (the FLOPS loss).

    .. math:: \sum_j \left( \frac1B \sum_b |z_{bj}| \right)^2

    Args:
        codes: Dense codes.

    Returns:
        Scalar, a sum over latents of squared means over the batch. Latents that fire in many
        codes are pulled down hardest, so the load evens out.

    Relations:
        From arXiv 2004.05665, as SPLADE and arXiv 2502.15526 use it.

    Examples:
        >>> import torch
        >>> flops(torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
        tensor(2.)
    """
    return codes.abs().mean(dim=0).square().sum()


@dataclass(frozen=True)
class QuadraticRamp:
    """Weight of a regulariser that rises with the square of the step, then stays.

    ::

        weight(s) = weight * min(1, s / steps) ** 2

    Early on, a full weight empties the codes before ranking has shaped them.

    Attributes:
        weight: The weight that is reached.
        steps: **Optimiser** steps until it is, at least 1. (The released code of arXiv
            2502.15526 counts micro-batches, and so ends its ramp early.)

    Raises:
        ValueError: If weight is negative or steps is below 1.

    Examples:
        >>> ramp = QuadraticRamp(weight=0.4, steps=10)
        >>> ramp(0), ramp(5), ramp(99)
        (0.0, 0.1, 0.4)
    """

    weight: float
    steps: int

    def __post_init__(self) -> None:
        if not self.weight >= 0 or self.steps < 1:
            raise ValueError(
                "expected a weight of at least 0 and 1 or more steps, "
                f"got QuadraticRamp(weight={self.weight!r}, steps={self.steps!r})"
            )

    def __call__(self, step: int) -> float:
        """Return the weight at a step.

        Args:
            step: Optimiser steps taken so far, from 0.

        Returns:
            A number from 0 to ``weight``.
        """
        return float(self.weight * min(1.0, step / self.steps) ** 2)
