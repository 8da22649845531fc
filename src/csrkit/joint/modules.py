"""The trainable parts: an adapter per tower, and the one lexical head that both share.

    h = normalise(adapter_m(x))                     dense side, (batch, dim)
    u = LayerNorm(W_p h + c)                        (batch, width)
    z = log(1 + relu(u E^T + b))                    sparse side, (batch, latents)

E starts as a clone of word embeddings and is trained, so a latent keeps the name of its word.
Source: arXiv 2508.16707, `RetrievalProjModel` of its released code; ``b`` is D2S's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from csrkit.joint.start import Affine

__all__ = ["Adapter", "Encoded", "LexicalHead", "Projection", "Residual", "Standard"]


class Encoded(NamedTuple):
    """Both sides of a batch.

    Attributes:
        dense: float (batch, dim) of norm 1.
        sparse: float (batch, latents), not negative, as a dense tensor.
    """

    dense: Tensor
    sparse: Tensor


class Standard(NamedTuple):
    """A shift and one scale that bring inputs to unit variance, so that one rate fits all.

    Attributes:
        mean: float (width,).
        scale: Root mean square of the centred entries; above 0.
    """

    mean: Tensor
    scale: float


class Projection(torch.nn.Module):
    """``W ((x - mean) / scale) + b``, started from an affine map of x.

    Args:
        start: The map to start from.
        standard: Shift and scale of the inputs; they change the path of training, not the map
            that it starts from.
    """

    def __init__(self, start: Affine, standard: Standard | None = None) -> None:
        super().__init__()
        weight, bias = torch.tensor(start.weight), torch.tensor(start.bias)
        mean = torch.zeros(weight.shape[1]) if standard is None else standard.mean
        self.scale = 1.0 if standard is None else standard.scale
        self.mean: Tensor
        self.register_buffer("mean", mean.clone())
        self.weight = torch.nn.Parameter(weight * self.scale)
        self.bias = torch.nn.Parameter(bias + weight @ mean)

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dim"]:
        """Project rows."""
        return functional.linear((x - self.mean) / self.scale, self.weight, self.bias)

    @torch.no_grad()
    def affine(self) -> Affine:
        """Return the map of x that it has become."""
        weight = self.weight / self.scale
        bias = self.bias - weight @ self.mean
        return Affine(weight.cpu().numpy(), bias.cpu().numpy())


class Residual(torch.nn.Module):
    """``x + B A x`` of low rank; B starts at zero, so that it starts as no change.

    Args:
        width: Of inputs and outputs.
        rank: Of the change.
        generator: Of A's start.
    """

    def __init__(self, width: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        start = torch.randn(rank, width, generator=generator) / width**0.5
        self.down = torch.nn.Parameter(start)
        self.up = torch.nn.Parameter(torch.zeros(width, rank))

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Change rows by what was learned."""
        return x + functional.linear(functional.linear(x, self.down), self.up)

    @torch.no_grad()
    def affine(self) -> Affine:
        """Return the map of x that it has become."""
        weight = torch.eye(len(self.up), device=self.up.device) + self.up @ self.down
        return Affine(weight.cpu().numpy(), torch.zeros(len(weight)).numpy())


Adapter = Projection | Residual


class LexicalHead(torch.nn.Module):
    """From dense vectors to codes over the words of E; shared by both towers.

    Args:
        dim: Width of the dense side.
        embeddings: Start of E, float (latents, width); cloned.
        biased: Whether latents have a bias.
        generator: Of the start of W_p, uniform as in ``torch.nn.Linear``.

    Attributes:
        weight: (width, dim), W_p.
        bias: (width,), c.
        norm: The LayerNorm.
        embeddings: (latents, width), E.
        latent_bias: (latents,), b; stays zero unless ``biased``.
    """

    def __init__(
        self, dim: int, embeddings: Tensor, *, biased: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        latents, width = embeddings.shape
        bound = dim**-0.5
        uniform = torch.rand(width, dim + 1, generator=generator) * 2 * bound - bound
        self.weight = torch.nn.Parameter(uniform[:, :dim].clone())
        self.bias = torch.nn.Parameter(uniform[:, dim].clone())
        self.norm = torch.nn.LayerNorm(width)
        self.embeddings = torch.nn.Parameter(embeddings.clone())
        self.latent_bias = torch.nn.Parameter(torch.zeros(latents), requires_grad=biased)

    def logits(self, dense: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch latents"]:
        """Return ``u E^T + b``: what is positive becomes active."""
        u = self.norm(functional.linear(dense, self.weight, self.bias))
        return functional.linear(u, self.embeddings, self.latent_bias)

    def forward(self, dense: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch latents"]:
        """Return codes as a dense tensor."""
        return torch.log1p(functional.relu(self.logits(dense)))

    @torch.no_grad()
    def start_at_(self, start: Affine) -> None:
        """Start W_p and c at a map.

        Args:
            start: From rows of norm 1 to the space of E.
        """
        self.weight.copy_(torch.from_numpy(start.weight))
        self.bias.copy_(torch.from_numpy(start.bias))

    @torch.no_grad()
    def fit_scale_(self, dense: Float[Tensor, "batch dim"], std: float) -> None:
        """Scale E such that the logits of rows have a standard deviation.

        Args:
            dense: Rows of norm 1.
            std: The one wanted.
        """
        self.embeddings.mul_(std / self.logits(dense).std().clamp_min(1e-12))
