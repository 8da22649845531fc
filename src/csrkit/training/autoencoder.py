"""`Autoencoder`: the trainable weights of a CSR model, and how they start.

The encoder sees rows of norm 1, less ``pre_bias``. Nothing here knows of losses.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from csrkit.training.sparse_ops import Selection, encode_top, prefix_errors

__all__ = ["Autoencoder"]

KMEANS_ROWS = 8  # rows per latent that the k-means of the start looks at


class Autoencoder(torch.nn.Module):
    """Weights of a TopK autoencoder.

    Attributes:
        encoder: (latents, dim) rows of W_enc.
        decoder: (latents, dim) rows of W_dec, of norm 1; the encoder itself if tied.
        latent_bias: (latents,), b_enc.
        pre_bias: (dim,), b_pre.
    """

    def __init__(
        self,
        rows: Float[Tensor, "sample dim"],
        mean: Float[Tensor, " dim"],
        latents: int,
        *,
        tied: bool,
        rounds: int = 0,
        generator: torch.Generator,
    ) -> None:
        """Start from data: decoder rows are directions in which rows leave the mean.

        Args:
            rows: A sample of training rows of norm 1.
            mean: Their mean over the whole training set. Starting ``pre_bias``
                there is the cheapest cure for latents that are dead from the
                start (methods of arXiv 2406.04093; the CSR code starts at 0).
            latents: Width of the codes.
            tied: Whether encoder and decoder are one parameter.
            rounds: Rounds of spherical k-means that move each direction to the
                middle of the rows nearest to it.
            generator: Source of randomness, on the CPU.
        """
        super().__init__()
        start = _directions(rows, mean, latents, rounds, generator)
        self.encoder = torch.nn.Parameter(start.clone())
        self.decoder = self.encoder if tied else torch.nn.Parameter(start)
        self.latent_bias = torch.nn.Parameter(start.new_zeros(latents))
        self.pre_bias = torch.nn.Parameter(mean.clone())
        self.tied = tied

    @torch.no_grad()
    def fit_scale_(self, rows: Float[Tensor, "sample dim"], k: int) -> None:
        """Scale the encoder so that k latents at once reconstruct best (least squares).

        Data directions overlap, so that k of them add up to several times the
        row: at unit scale the first few hundred steps only shrink the encoder, and
        after as many steps the codes rank worse.

        Args:
            rows: Rows of norm 1.
            k: Latents per row.
        """
        chosen, _ = self.select(rows, torch.zeros_like(self.latent_bias), k)
        y = functional.embedding_bag(
            chosen.indices, self.decoder, per_sample_weights=chosen.values, mode="sum"
        )
        best = float(torch.vdot((rows - self.pre_bias).flatten(), y.flatten()))
        scale = best / max(float(y.square().sum()), 1e-12)
        # a tied matrix is applied twice: once to encode, once to decode
        self.encoder.mul_(scale**0.5 if self.tied else scale)

    def select(
        self,
        x: Float[Tensor, "batch dim"],
        balance: Float[Tensor, " latents"],
        k: int,
        dead: Tensor | None = None,
        k_dead: int = 0,
    ) -> tuple[Selection, Selection]:
        """Select the top latents of each row, after the ReLU.

        Args:
            x: Rows of norm 1.
            balance: Bias of the load balance; gets no gradient.
            k: Latents per row.
            dead: Latents that count as dead.
            k_dead: How many of those to select.

        Returns:
            The selections among all latents and among the dead.
        """
        # pre_bias learns through the decoder alone: what the encoder could tell it,
        # latent_bias learns as well, W (x - b) + c = W x + (c - W b)
        centred = x - self.pre_bias.detach()
        bias = self.latent_bias + balance
        alive, of_dead = encode_top(centred, self.encoder, bias, k, dead, k_dead)
        return (
            Selection(functional.relu(alive.values), alive.indices),
            Selection(functional.relu(of_dead.values), of_dead.indices),
        )

    def errors(
        self, x: Tensor, selection: Selection, ladder: tuple[int, ...]
    ) -> tuple[Float[Tensor, " rungs"], Float[Tensor, "rungs batch dim"]]:
        """Reconstruct rows at every rung: summed squared errors, and residuals."""
        return prefix_errors(x, self.pre_bias, selection, self.decoder, ladder)

    def explain(self, residual: Tensor, selection: Selection, k: int) -> Float[Tensor, ""]:
        """Reconstruct residuals with k latents and no bias: the summed squared error."""
        none = torch.zeros_like(residual[0])
        return prefix_errors(residual, none, selection, self.decoder, (k,))[0][0]

    @torch.no_grad()
    def normalize_(self) -> None:
        """Scale decoder rows back to norm 1; a tied decoder keeps its length."""
        if not self.tied:
            self.decoder.copy_(functional.normalize(self.decoder, dim=1))


def _directions(
    rows: Tensor, mean: Tensor, latents: int, rounds: int, generator: torch.Generator
) -> Tensor:
    """Return unit rows (latents, dim): where sampled rows lie from the mean, jittered.

    The jitter keeps two latents that drew the same row from staying twins.
    """
    pick = torch.randint(len(rows), (latents,), generator=generator).to(rows.device)
    noise = torch.randn(latents, rows.shape[1], generator=generator).to(rows.device)
    away = functional.normalize(rows[pick] - mean, dim=1)
    seen = functional.normalize(rows[: KMEANS_ROWS * latents] - mean, dim=1) if rounds else rows
    for _ in range(rounds):
        away = _middles(seen, away)
    return functional.normalize(away + 0.3 * functional.normalize(noise, dim=1), dim=1)


def _middles(rows: Tensor, centres: Tensor) -> Tensor:
    """Move unit centres to the middle of the rows nearest to them: one round of k-means."""
    blocks = rows.split(2048)  # type: ignore[no-untyped-call]  # torch's own stubs
    nearest = torch.cat([(block @ centres.T).argmax(dim=1) for block in blocks])
    total = torch.zeros_like(centres).index_add_(0, nearest, rows)
    alone = total.square().sum(dim=1, keepdim=True) == 0
    return functional.normalize(torch.where(alone, centres, total), dim=1)
