"""`Encoder`: the protocol of whatever makes codes."""

from __future__ import annotations

from typing import Any, Protocol

from csrkit.vectors.sparse import SparseVectors

__all__ = ["Encoder"]


class Encoder(Protocol):
    """Whatever turns inputs into codes: CSR models, lexical heads, retrievers.

    Metrics, stores and search know nothing more about where codes come from.
    """

    def encode(self, inputs: Any, /, *, k: int | None = None) -> SparseVectors:
        """Encode a batch, keeping at most k entries per row."""
        ...
