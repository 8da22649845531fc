"""The two heads: a code over the vocabulary, and a mean vector.

    sparse   z_v = log(1 + relu( s max_l (h_l . w_v + b_v) - c_v ))     s = dim^-1/4
    dense    e   = mean_l h_l / |h_l|

(arXiv 2502.15526 and its released code; the shift ``c`` is csrkit's, 0 there. A model that scales
or soft-caps its logits does so here, which changes no maximum.) The maximum is
taken over blocks of the sequence, so logits of (batch, length, vocabulary) never exist: not in
the forward pass, and not for the backward one, whose work is that of the active latents alone.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from csrkit.llm.backbone import Backbone

__all__ = ["SparseHead", "dense_pool", "max_logits"]

BLOCK_BYTES = 1 << 27  # of logits at a time; 128 MB are 8 positions of 32 texts, 128k tokens
CALIBRATION_ENTRIES = 1 << 26  # logits kept to find a quantile: 256 MB


def max_logits(
    hidden: Float[Tensor, "batch length dim"],
    mask: Bool[Tensor, "batch length"],
    weight: Float[Tensor, "vocabulary dim"],
    bias: Float[Tensor, " vocabulary"] | None = None,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> Float[Tensor, "batch vocabulary"]:
    """Return the largest logit of each token of the vocabulary over the real positions.

    Args:
        hidden: Last hidden states.
        mask: True at real tokens.
        weight: Rows of the language-model head.
        bias: Its bias, if it has one.
        block_bytes: Most bytes of logits at a time, but for one position at least.

    Returns:
        float32; -inf for a text without a real token. Gradients go to hidden, weight and
        bias, through the first position that has the maximum.
    """
    if not torch.is_grad_enabled():
        return _running_max(hidden, mask, weight, bias, block_bytes)
    best: Tensor = _MaxLogits.apply(  # type: ignore[no-untyped-call]  # torch's own stubs
        hidden, mask, weight, bias, block_bytes
    )
    return best


def _running_max(
    hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, block_bytes: int
) -> Tensor:
    """Take the maximum block by block of the sequence."""
    batch, length, _ = hidden.shape
    step = max(1, block_bytes // (4 * batch * len(weight)))
    best = hidden.new_full((batch, len(weight)), -torch.inf, dtype=torch.float32)
    states = _repeated(hidden, mask)
    for start in range(0, length, step):
        logits = functional.linear(states[:, start : start + step], weight, bias)
        torch.maximum(best, logits.amax(dim=1).float(), out=best)
    return best.masked_fill_(~mask.any(dim=1, keepdim=True), -torch.inf)


def _repeated(hidden: Tensor, mask: Tensor) -> Tensor:
    """Put a real state of the text where there is padding: no maximum changes by that.

    To mask the states costs a vocabulary's share of what it costs to mask their logits.
    """
    if mask.all():
        return hidden
    first = mask.int().argmax(dim=1)
    filler = hidden[torch.arange(len(hidden), device=hidden.device), first]
    return torch.where(mask[..., None], hidden, filler[:, None])


class _MaxLogits(torch.autograd.Function):
    """The maximum, with a gradient for the few latents that get one.

    Where a maximum was is found again in the backward pass, from the states and the rows of
    the active latents alone: to remember it for all latents costs more than all else.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        mask: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        block_bytes: int,
    ) -> Tensor:
        ctx.save_for_backward(hidden, mask, weight)
        ctx.bias = None if bias is None else bias.detach()
        return _running_max(hidden, mask, weight, bias, block_bytes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, mask, weight = ctx.saved_tensors
        unseen = torch.zeros(mask.shape, dtype=weight.dtype, device=mask.device)
        unseen.masked_fill_(~mask, -torch.inf)
        to_hidden = torch.zeros_like(hidden, dtype=torch.float32)
        to_weight = (
            torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[2] else None
        )
        for row, grad in enumerate(grads[0]):
            active = grad.nonzero()[:, 0]
            told = grad[active, None]
            rows, states = weight[active], hidden[row].to(weight.dtype)
            # (active, length); the bias is the same at every position
            where = torch.addmm(unseen[row], rows, states.T).argmax(dim=1)
            to_hidden[row].index_add_(0, where, told * rows.float())
            if to_weight is not None:
                to_weight.index_add_(0, active, told * states[where].float())
        return (
            to_hidden.to(hidden.dtype),
            None,
            None if to_weight is None else to_weight.to(weight.dtype),
            grads[0].sum(dim=0).to(ctx.bias.dtype) if ctx.needs_input_grad[3] else None,
            None,
        )


def dense_pool(
    hidden: Float[Tensor, "batch length dim"],
    mask: Bool[Tensor, "batch length"],
    *,
    renormalize: bool = False,
) -> Float[Tensor, "batch dim"]:
    """Return the mean of the unit vectors of the real tokens.

    Args:
        hidden: Last hidden states.
        mask: True at real tokens.
        renormalize: Scale the mean to norm 1. As published it is left shorter, and the
            shorter the more its tokens disagree.

    Returns:
        float32, of norm at most 1; zero for a text without a real token.
    """
    unit = functional.normalize(hidden.float(), dim=-1)
    kept = mask[..., None].to(unit.dtype)
    mean = (unit * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1)
    return functional.normalize(mean, dim=-1) if renormalize else mean


class SparseHead(torch.nn.Module):
    """What the language-model head of a backbone needs to make codes.

    Attributes:
        shift: float32 (vocabulary,), subtracted from the scaled logits.
        scale: Factor on the logits.
    """

    def __init__(self, vocabulary: int, dim: int) -> None:
        """Start with the published scale and no shift.

        Args:
            vocabulary: Rows of the language-model head.
            dim: Width of the hidden states.
        """
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(vocabulary))
        self.scale = float(dim) ** -0.25

    def forward(
        self,
        backbone: Backbone,
        hidden: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"],
        k: int | None = None,
    ) -> Float[Tensor, "batch vocabulary"]:
        """Make dense codes.

        Args:
            backbone: Whose language-model head is used.
            hidden: Last hidden states.
            mask: True at real tokens.
            k: Keep the k largest of each row; None keeps all that are active.

        Returns:
            float32, zero or positive.
        """
        logits = backbone.finish(max_logits(hidden, mask, backbone.weight, backbone.bias))
        codes = torch.log1p(functional.relu(self.scale * logits - self.shift))
        if k is None or k >= codes.shape[1]:
            return codes
        kept, latents = codes.topk(k, dim=1)
        return torch.zeros_like(codes).scatter(1, latents, kept)

    @torch.no_grad()
    def calibrate_(self, logits: Float[Tensor, "texts vocabulary"], target: int) -> None:
        """Set the shift so that texts have ``target`` active latents on average.

        Without it nearly the whole vocabulary is active before training, scores are far
        too large for a softmax, and the FLOPS loss is all there is. Each token is compared
        with its own mean, since a logit that is high everywhere tells nothing; what exceeds
        it by more than one threshold for all tokens is active.

        Args:
            logits: Of `max_logits`, over a sample of documents.
            target: Active latents per document, from 1 to the vocabulary.
        """
        scaled = self.scale * logits.float()
        mean = scaled.mean(dim=0)
        above = (scaled - mean).flatten()
        place = min(above.numel() - 1, target * len(logits))
        # torch.kthvalue counts from the smallest
        threshold = above.kthvalue(above.numel() - place).values
        self.shift.copy_(mean + threshold)
