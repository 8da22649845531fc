"""One training step as the code released with arXiv 2503.01776 takes it, faults and all.

The yardstick of `fit.py`, written from the formulas of the paper (equations 2 to 7) and from what
the released trainer for images and text classification computes. Not for use: it is slow, and what
it gets wrong it gets wrong on purpose. Per step, on the same batch x of shape (batch, dim)::

    forward(k), forward(4k), and with the contrast forward(k) once more; each of them
        pre   = (x - b_pre) W^T + b_enc                       a dense product
        z     = ReLU(TopK_k(pre)), written out dense          (batch, latents)
        calls since each latent fired: + 1, back to 1 where it fired
        pre   = 0 where a latent is alive                     in place
        z_aux = ReLU(TopK_512(pre)), written out dense
        x_hat, x_aux = z W + b_pre, z_aux W + b_pre           two dense decodes, used or not

    loss = MSE(x, x_hat_k) + MSE(x, x_hat_4k) / 8 + aux / 32 + contrast / 10
    aux      = MSE(x_aux, e) / MSE(mean of e, e), e = x - x_hat_k + b_pre without gradient, NaN -> 0
    contrast = SimCLR over the 2 batch rows of both forward(k), cosines / 0.2, dense (2B, 2B)

MSE is the mean over rows and dimensions. The two views of the contrast are bit-identical, so it
equals ``log(1 + 2 e^-5 sum_j e^(5 cos_ij))``: repulsion only. A latent is dead after 30 *forward
calls*, which is 10 steps (15 without the contrast), and firing at 4k counts as alive.

Left out because it takes no time or helps us: the backbone that the trainer hands to Adam, the
data loader that fetches row by row, and ``loss.item()``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.2
LONG_WEIGHT, AUX_WEIGHT, CONTRAST_WEIGHT = 0.125, 1 / 32, 0.1


class Pass(NamedTuple):
    """One forward: the dense code (batch, latents) and both decodes (batch, dim)."""

    code: Tensor
    decoded: Tensor
    decoded_aux: Tensor


class Losses(NamedTuple):
    """The parts, unweighted, and their weighted sum; contrast is 0 when switched off."""

    k: Tensor
    long: Tensor
    aux: Tensor
    contrast: Tensor
    total: Tensor


class PublishedAutoencoder(torch.nn.Module):
    """Tied TopK autoencoder: torch's default start of the weights, biases at 0."""

    def __init__(self, dim: int, latents: int, k_aux: int = 512, dead_calls: int = 30) -> None:
        super().__init__()
        self.encoder = torch.nn.Linear(dim, latents, bias=False)
        self.latent_bias = torch.nn.Parameter(torch.zeros(latents))
        self.pre_bias = torch.nn.Parameter(torch.zeros(dim))
        self.k_aux, self.dead_calls = k_aux, dead_calls
        self.calls_since_fired: Tensor
        self.register_buffer("calls_since_fired", torch.zeros(latents, dtype=torch.int64))

    def forward(self, x: Tensor, k: int) -> Pass:
        pre = functional.linear(x - self.pre_bias, self.encoder.weight, self.latent_bias)
        top = torch.topk(pre, k, dim=1)
        self._count_(top.indices, top.values)
        code = self._dense(pre, top.indices, top.values)
        pre.data.mul_(self.calls_since_fired > self.dead_calls)
        top_aux = torch.topk(pre, self.k_aux, dim=1)
        code_aux = self._dense(pre, top_aux.indices, top_aux.values)
        return Pass(code, self._decode(code), self._decode(code_aux))

    @torch.no_grad()
    def _count_(self, indices: Tensor, values: Tensor) -> None:
        fired = torch.zeros_like(self.calls_since_fired)
        fired.scatter_add_(0, indices.reshape(-1), (values > 1e-5).long().reshape(-1))
        self.calls_since_fired.mul_(fired == 0).add_(1)

    @staticmethod
    def _dense(like: Tensor, indices: Tensor, values: Tensor) -> Tensor:
        return functional.relu(torch.zeros_like(like).scatter_(1, indices, values))

    def _decode(self, code: Tensor) -> Tensor:
        return functional.linear(code, self.encoder.weight.t()) + self.pre_bias


def contrast(first: Tensor, second: Tensor) -> Tensor:
    """SimCLR over two dense views (batch, latents) of the same rows, with (2B, 2B) masks."""
    z = functional.normalize(torch.cat([first, second]), dim=1)
    row = torch.arange(len(first), device=z.device).repeat(2)
    similar = torch.exp(z @ z.T / TEMPERATURE)
    same = row[:, None] == row[None, :]
    positive = (similar * same.clone().fill_diagonal_(False)).sum(dim=1)
    negative = (similar * ~same).sum(dim=1)
    return -torch.log(positive / (positive + negative)).mean()


def losses(model: PublishedAutoencoder, x: Tensor, k: int, *, with_contrast: bool) -> Losses:
    """Run the two or three forwards and compute every part of the published loss."""
    at_k, at_4k = model(x, k), model(x, 4 * k)
    residual = x - at_k.decoded.detach() + model.pre_bias.detach()
    spread = functional.mse_loss(residual.mean(dim=0).expand_as(residual), residual)
    part_k = functional.mse_loss(x, at_k.decoded)
    part_long = functional.mse_loss(x, at_4k.decoded)
    aux = (functional.mse_loss(at_k.decoded_aux, residual) / spread).nan_to_num(0)
    repulsion = contrast(at_k.code, model(x, k).code) if with_contrast else x.new_zeros(())
    total = part_k + LONG_WEIGHT * part_long + AUX_WEIGHT * aux + CONTRAST_WEIGHT * repulsion
    return Losses(part_k, part_long, aux, repulsion, total)


class PublishedTrainer:
    """Model and optimiser of the released trainer: Adam at 4e-4, eps 6.25e-10, no clipping."""

    def __init__(self, model: PublishedAutoencoder, k: int, *, with_contrast: bool) -> None:
        self.model, self.k, self.with_contrast = model, k, with_contrast
        self.optimizer = torch.optim.Adam(model.parameters(), lr=4e-4, eps=6.25e-10)

    def step_(self, x: Tensor) -> Losses:
        """Take one training step on rows (batch, dim); the parts come back detached."""
        parts = losses(self.model, x, self.k, with_contrast=self.with_contrast)
        self.optimizer.zero_grad()
        parts.total.backward()
        self.optimizer.step()
        return Losses(*(part.detach() for part in parts))
