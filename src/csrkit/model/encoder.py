"""What a `csrkit.Searcher` asks of a model: less than a `csrkit.CSRModel` has.

::

    Encoder          codes                                              csrkit.vectors
    SearchEncoder    codes of both sides, a ladder of k, maybe a card    what is searched with
    HeadEncoder      the same, over vectors, and its size                what is evaluated as well

Codes of a `CSRModel` decode; those of others do not, and are rescored by dense vectors or not
at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from csrkit.errors import ConfigError
from csrkit.vectors import Encoder, SparseVectors

if TYPE_CHECKING:
    from csrkit.model.card import Card

__all__ = ["HeadEncoder", "SearchEncoder", "check_encoder"]


class SearchEncoder(Encoder, Protocol):
    """An encoder of documents and queries: a CSR model, a joint side, a language model."""

    @property
    def dim(self) -> int:
        """Width of the vectors it takes, or of those that texts are rescored with."""
        ...

    @property
    def n_latents(self) -> int:
        """Width of the codes."""
        ...

    @property
    def ladder(self) -> tuple[int, ...]:
        """Values of k for the efforts of a search, rising; the last is for documents."""
        ...

    @property
    def card(self) -> Card | None:
        """What `csrkit.tune` measured, or None."""
        ...

    @property
    def fingerprint(self) -> str:
        """Name of the model for stores: codes of two names never share one."""
        ...

    def encode_query(self, queries: Any, /, *, k: int | None = None) -> SparseVectors:
        """Encode queries, keeping at most k entries per row."""
        ...


class HeadEncoder(SearchEncoder, Protocol):
    """An encoder of vectors whose codes decode to nothing, such as `csrkit.joint.Side`."""

    @property
    def nbytes(self) -> int:
        """Bytes of what must be loaded to encode."""
        ...


def check_encoder(model: Any) -> None:
    """Refuse what cannot be a `SearchEncoder`: a path, an array, a store.

    Args:
        model: What the caller gave.

    Raises:
        ConfigError: If it does not encode queries.
    """
    if isinstance(model, type) or not hasattr(model, "encode_query"):
        got = model.__name__ if isinstance(model, type) else type(model).__name__
        raise ConfigError(f"expected a model, as csrkit.fit and csrkit.load give it, got {got}")
