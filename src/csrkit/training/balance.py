"""`LoadBalance`: keeps the busiest latents from ruining the posting cost.

Not a loss: a bias per latent, lowered while the latent fires in more documents
than a cap allows and let up again when it does not, after the
auxiliary-loss-free balancing of mixtures of experts (arXiv 2408.15664)::

    ratio_j = max over rungs r of  load_r[j] / (k_r / latents)
    bias_j  <- bias_j - rate * clip(ratio_j / cap - 1, 0, 2)    if over the cap
    bias_j  <- min(0, bias_j + 0.3 rate)                        if well under it

The bias is added to the pre-activations and ends up in ``b_enc``, so the order
of a code's values stays the order of selection and codes stay nested.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["LoadBalance"]

MEMORY = 0.99  # loads are averaged over about 100 batches
RATE = 0.003  # per step, in units of a pre-activation of a unit-norm row
WELL_UNDER = 0.7  # of the cap: a gap, so that a bias does not jitter around it


class LoadBalance:
    """Running loads of every latent at every rung, and the bias that caps them.

    Args:
        ladder: The values of k, rising.
        latents: Width of the codes.
        cap: Most rows a latent may fire in, as a multiple of the mean latent at
            the same k; lower means shorter posting lists, None never moves a bias.
        device: Torch device of the training.

    Attributes:
        loads: float (rungs, latents), share of recent rows in which each
            latent fired, in [0, 1].
        bias: float (latents,), zero or negative.
    """

    def __init__(
        self, ladder: tuple[int, ...], latents: int, cap: float | None, device: str
    ) -> None:
        self.ladder = ladder
        self.cap = cap
        self.bias = torch.zeros(latents, device=device)
        self._sum = torch.zeros(len(ladder), latents, device=device)
        self._weight = 0.0

    @property
    def loads(self) -> Float[Tensor, "rungs latents"]:
        """Running mean of the loads; zero before the first `update_`."""
        return self._sum / max(self._weight, 1e-12)

    def update_(
        self,
        indices: Int[Tensor, "batch k"],
        fired: Float[Tensor, "batch k"],
        pace: float,
    ) -> None:
        """Count one batch and move the bias.

        Args:
            indices: Latents selected in each row, in falling order of value.
            fired: Which of them had a positive value.
            pace: Factor on the rate, in [0, 1]: the learning rate's schedule,
                so that the bias settles when the weights do.
        """
        latents, start = len(self.bias), 0
        share = torch.zeros_like(self.bias)
        self._sum.mul_(MEMORY)
        for rung, stop in enumerate(self.ladder):
            weights = fired[:, start:stop].reshape(-1).to(share.dtype) / len(indices)
            part = indices[:, start:stop].reshape(-1)
            share += torch.bincount(part, weights, minlength=latents)
            self._sum[rung].add_(share, alpha=1 - MEMORY)
            start = stop
        self._weight = MEMORY * self._weight + (1 - MEMORY)
        if self.cap is not None:
            self._move_(self.cap, RATE * pace)

    def _move_(self, cap: float, rate: float) -> None:
        mean = torch.tensor(self.ladder, device=self.bias.device) / len(self.bias)
        over = (self.loads / mean[:, None]).amax(dim=0) / cap
        down = (over - 1).clamp(0, 2)
        up = 0.3 * (over < WELL_UNDER).to(over.dtype)
        self.bias.add_(rate * (up - down)).clamp_(max=0)
