"""`TextEncoder`: from texts to codes and vectors, differentiable, one micro-batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

import torch

from csrkit.errors import ConfigError
from csrkit.llm.backbone import Backbone
from csrkit.llm.config import LLMConfig
from csrkit.llm.heads import SparseHead, dense_pool
from csrkit.llm.objective import Codes

__all__ = ["Side", "TextEncoder"]

GROUP = 32  # texts of similar length that are padded together on a CPU

Side: TypeAlias = Literal["query", "document"]


class TextEncoder:
    """A backbone with its heads, and the settings that say how texts go through them.

    Attributes:
        backbone: The language model.
        head: Scale and shift of the sparse head.
        config: Lengths, prefixes, k, and which heads there are.
    """

    def __init__(self, backbone: Backbone, head: SparseHead, config: LLMConfig) -> None:
        """Put the parts together; nothing is copied.

        Args:
            backbone: The language model.
            head: On the same device.
            config: The settings.
        """
        self.backbone = backbone
        self.head = head
        self.config = config

    def tokenize(self, texts: Sequence[str], side: Side) -> list[list[int]]:
        """Split texts into tokens, with the prefix and up to the length of their side.

        Args:
            texts: Any number of texts.
            side: "query" or "document".

        Returns:
            One list of ids per text.
        """
        config = self.config
        prefix = config.query_prefix if side == "query" else config.document_prefix
        length = config.query_length if side == "query" else config.document_length
        return self.backbone.tokenize(
            [prefix + text for text in texts] if prefix else texts, length
        )

    def check_lengths(self) -> None:
        """Refuse texts longer than the model reads, and a prefix that leaves no room for a text.

        Raises:
            ConfigError: If a length or a prefix is too long.
        """
        config = self.config
        context = self.backbone.context
        longest = max(config.query_length, config.document_length)
        if context is not None and longest > context:
            raise ConfigError(
                f"expected query_length and document_length of at most {context} tokens, which "
                f"this model reads, got {config.query_length} and {config.document_length}"
            )
        for side, prefix, length in (
            ("query", config.query_prefix, config.query_length),
            ("document", config.document_prefix, config.document_length),
        ):
            if prefix and len(self.backbone.tokenize([prefix], length)[0]) >= length:
                raise ConfigError(
                    f"expected {side}_prefix to leave room for a text, got one of "
                    f"{side}_length={length} tokens or more: {prefix[:40]!r}"
                )

    def __call__(self, rows: Sequence[Sequence[int]], side: Side) -> Codes:
        """Encode token ids in one go.

        Args:
            rows: Token ids of at least one text; one without any gets zeros.
            side: Which k applies.

        Returns:
            One row per text.
        """
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        # padding costs a CPU as much as text does; a GPU would rather have one large batch
        size = GROUP if self.backbone.device.type == "cpu" else len(rows)
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        parts = [self._encode([rows[row] for row in group], side) for group in groups]
        back = torch.tensor(order).argsort().to(self.backbone.device)
        sparse = [part.sparse for part in parts if part.sparse is not None]
        dense = [part.dense for part in parts if part.dense is not None]
        return Codes(
            torch.cat(sparse)[back] if sparse else None, torch.cat(dense)[back] if dense else None
        )

    def _encode(self, rows: Sequence[Sequence[int]], side: Side) -> Codes:
        """Encode texts of similar length."""
        config = self.config
        tokens = self.backbone.pad(rows)
        with self.arithmetic():
            hidden = self.backbone.hidden(tokens)
            k = config.query_k if side == "query" else config.document_k
            return Codes(
                self.head(self.backbone, hidden, tokens.mask, k) if config.is_sparse else None,
                dense_pool(hidden, tokens.mask, renormalize=config.renormalize)
                if config.is_dense
                else None,
            )

    def arithmetic(self) -> AbstractContextManager[object]:
        """Return the context in which the model computes: autocast, where bfloat16 is asked for."""
        if self.config.dtype == "float32":
            return nullcontext()
        return torch.autocast(self.backbone.device.type, torch.bfloat16)
