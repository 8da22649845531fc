"""Masked next-token prediction: what teaches a causal model to use both directions.

A fifth of the tokens is to be predicted: of these 80% are masked, 10% replaced by a random
token, 10% left as they are. Token i is predicted from the state **before** it, as the model
learned to::

    L = mean over chosen (b, i) of  -log softmax(W h_{b, i-1})[token_{b, i}]

Source: llm2vec (arXiv 2404.05961) as arXiv 2502.15526 uses it, with a fifth of the tokens and
a blank as the mask. Texts are taken one by one here, not cut from one long concatenation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.nn import functional

from csrkit.errors import ConfigError
from csrkit.llm.backbone import Backbone, Tokens
from csrkit.llm.config import LLMConfig
from csrkit.llm.encoding import TextEncoder
from csrkit.llm.twopass import sum_gradients, world

__all__ = ["Masked", "MaskedTexts", "mask_id", "mask_tokens", "mntp_loss"]

MASKED, REPLACED = 0.8, 0.1  # shares of what is to be predicted; the rest is left


class Masked(NamedTuple):
    """A batch with tokens hidden.

    Attributes:
        tokens: What the model sees.
        chosen: bool (batch, length), True where a token is to be predicted.
        targets: int64 (batch, length), the tokens as they were.
    """

    tokens: Tokens
    chosen: Bool[Tensor, "batch length"]
    targets: Int[Tensor, "batch length"]

    def parts(self, size: int | None) -> Iterator[Masked]:
        """Yield the batch in parts of some texts.

        Args:
            size: Texts per part; None yields it whole.

        Yields:
            Parts, in order.
        """
        tokens, step = self.tokens, size or max(1, len(self.chosen))
        for at in (slice(start, start + step) for start in range(0, len(self.chosen), step)):
            seen = Tokens(tokens.ids[at], tokens.mask[at])
            yield Masked(seen, self.chosen[at], self.targets[at])


def mask_id(backbone: Backbone, mask_token: str) -> int:
    """Find the token that stands for a hidden one.

    Args:
        backbone: Whose tokenizer is asked; its own mask token wins.
        mask_token: What to use if there is none: a blank such as "_".

    Returns:
        Its id.

    Raises:
        ConfigError: If the blank is not one token.
    """
    own = backbone.tokenizer.mask_token_id
    if own is not None:
        return int(own)
    found = backbone.tokenizer(mask_token, add_special_tokens=False)["input_ids"]
    if len(found) != 1 or found[0] == backbone.tokenizer.unk_token_id:
        raise ConfigError(
            f"expected one token that can hide others, got mask_token={mask_token!r}, which this "
            f"tokenizer splits into {backbone.tokenizer.convert_ids_to_tokens(found)}: set "
            "LLMConfig(mask_token=...) to a token of its own"
        )
    return int(found[0])


def mask_tokens(
    ids: NDArray[np.int64],
    maskable: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    share: float,
    mask: int,
    vocabulary: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Hide tokens of a batch.

    Args:
        ids: int64 (batch, length).
        maskable: bool (batch, length), False at padding and special tokens. The first token
            of a text never is: there is no state before it.
        rng: Source of randomness.
        share: Of the maskable tokens, in (0, 1).
        mask: Id that hides a token.
        vocabulary: Random replacements are drawn below this.

    Returns:
        The ids that the model sees, and where tokens are to be predicted; at least one
        place if any is maskable.
    """
    possible = maskable.copy()
    possible[:, 0] = False
    chosen = possible & (rng.random(ids.shape) < share)
    if not chosen.any() and possible.any():
        places = np.argwhere(possible)
        chosen[tuple(places[rng.integers(len(places))])] = True
    kind = rng.random(ids.shape)
    seen = np.where(chosen & (kind < MASKED), mask, ids)
    other = chosen & (kind >= MASKED) & (kind < MASKED + REPLACED)
    return np.where(other, rng.integers(vocabulary, size=ids.shape), seen), chosen


def mntp_loss(
    backbone: Backbone, hidden: Float[Tensor, "batch length dim"], masked: Masked
) -> Float[Tensor, ""]:
    """Sum of the cross-entropies of the tokens to be predicted.

    The head is applied to the states before them alone: a fifth of the logits.

    Args:
        backbone: Whose head is used.
        hidden: Last hidden states of the masked batch.
        masked: The batch.

    Returns:
        Scalar, a **sum**; divide by the number of chosen tokens.
    """
    rows, places = masked.chosen.nonzero(as_tuple=True)
    before = hidden[rows, places - 1]  # (chosen, dim)
    products = functional.linear(before, backbone.weight, backbone.bias).float()
    logits = backbone.finish(products)
    return functional.cross_entropy(logits, masked.targets[rows, places], reduction="sum")


class MaskedTexts:
    """Batches of masked texts, each a pure function of the step, and their loss."""

    def __init__(self, encoder: TextEncoder, texts: Sequence[str], config: LLMConfig) -> None:
        """Look up the mask.

        Args:
            encoder: What is trained.
            texts: Any passages; those without two tokens are of no use.
            config: Batch size, lengths, share, and the mask.

        Raises:
            ConfigError: If there are no texts, or no token can be the mask.
        """
        if not texts:
            raise ConfigError("expected texts to adapt the model on, got none")
        self._encoder = encoder
        self._texts = texts
        self._config = config
        self._mask = mask_id(encoder.backbone, config.mask_token)
        self._special = np.array(encoder.backbone.tokenizer.all_special_ids, dtype=np.int64)

    def backward(self, step: int) -> float:
        """Add the gradient of a batch to the parameters' ``grad``.

        Args:
            step: From 0.

        Returns:
            Mean cross-entropy of the chosen tokens of all processes, in nats.
        """
        masked = self.batch(step)
        count = max(1.0, _everywhere(masked.chosen.sum()))
        lost = torch.zeros((), device=masked.chosen.device)
        for part in masked.parts(self._config.micro_batch):
            with self._encoder.arithmetic():
                hidden = self._encoder.backbone.hidden(part.tokens)
                loss = mntp_loss(self._encoder.backbone, hidden, part)
            (loss / count).backward()  # type: ignore[no-untyped-call]  # torch's own stubs
            lost += loss.detach()
        if world().size > 1:
            sum_gradients(self._encoder)
        return _everywhere(lost) / count

    def batch(self, step: int) -> Masked:
        """Return this process's part of the batch of a step, of which all draw the whole."""
        config, where = self._config, world()
        rng = np.random.default_rng((config.seed, 2, step))
        rows = rng.integers(len(self._texts), size=config.batch_size)
        texts = [self._texts[row] for row in rows]
        ids = [row or [self._mask] for row in self._encoder.tokenize(texts, "document")]
        backbone = self._encoder.backbone
        tokens = backbone.pad(ids)
        real = tokens.mask.cpu().numpy()
        before = tokens.ids.cpu().numpy()
        seen, chosen = mask_tokens(
            before,
            real & ~np.isin(before, self._special),
            rng,
            share=config.mntp_share,
            mask=self._mask,
            vocabulary=len(backbone.tokenizer),
        )
        device, own = backbone.device, slice(where.rank, None, where.size)
        return Masked(
            Tokens(torch.from_numpy(seen).to(device)[own], tokens.mask[own]),
            torch.from_numpy(chosen).to(device)[own],
            tokens.ids[own],
        )


def _everywhere(value: Tensor) -> float:
    """Add up a number of every process."""
    if world().size > 1:
        distributed.all_reduce(value)
    return float(value)
