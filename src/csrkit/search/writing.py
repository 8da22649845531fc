"""Writing: how documents go into a store, and what a store has already.

    codes and residual bits    where the store keeps bits, or is new and can
    refitted codes             without bits, to be rescored by codes: `CSRModel.refit`
    codes                      otherwise

The first upsert decides, and later ones follow it, whatever their Searcher rescores by. For
that a store that notes the codec of its codes (`CodecStore`) notes refitted ones under a name
of their own: they are other codes than those of `CSRModel.encode`, with other promises.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from csrkit.errors import ConfigError, StoreError
from csrkit.model import CSRModel
from csrkit.stores.base import CodecStore, ResidualStore

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from csrkit.model.card import Rescore
    from csrkit.model.encoder import SearchEncoder
    from csrkit.stores.base import Ids, Payload, Store
    from csrkit.vectors import SparseVectors

__all__ = ["REFITTED", "Writer"]

REFITTED = "refit-"  # before the fingerprint, where messages show it


class Writer:
    """Encodes documents for one store.

    Args:
        model: The model.
        store: Any store.
        k_doc: Latents per code.
        rescore: How candidates will be rescored.
        residuals: Whether a new store gets residual bits; None for what the rescoring needs,
            and what the card was measured with.

    Raises:
        ConfigError: If bits are asked for of a store that cannot keep any, or the store has
            bits and the model makes none.
        StoreError: If the store is known to hold the codes of another model.
    """

    def __init__(
        self,
        model: SearchEncoder,
        store: Store,
        *,
        k_doc: int,
        rescore: Rescore | None,
        residuals: bool | None,
    ) -> None:
        self._model = model
        self._store = store
        self._k_doc = k_doc
        self._codec = model if isinstance(model, CSRModel) else None
        self._keeps = store if isinstance(store, ResidualStore) else None
        if self._codec is None and (residuals or self.has_bits):
            got = "residuals=True" if residuals else "a store that holds residual bits"
            raise ConfigError(
                f"expected a CSRModel, whose codes decode, for {got}, got a {type(model).__name__}"
            )
        if residuals and self._keeps is None:
            raise ConfigError(
                f"expected a store that keeps residuals for residuals=True, got a "
                f"{type(store).__name__}: leave it out, and codes are rescored without"
            )
        if residuals is None:
            residuals = rescore == "codes" and (model.card is None or model.card.residuals)
        self._adds_bits = residuals and self._keeps is not None
        self._refits = rescore == "codes" and not self._adds_bits and not self.has_bits
        self._notes = store if isinstance(store, CodecStore) else None
        if self._notes is not None and not (self._refits and _is_new(self._notes)):
            self._refits = _bound(self._notes, model.fingerprint, refits=False)

    @property
    def residual_bytes(self) -> int:
        """Bytes of residual bits that the store keeps with each code."""
        return 0 if self._keeps is None else self._keeps.residual_bytes

    @property
    def has_bits(self) -> bool:
        """Whether the store keeps residual bits."""
        return self.residual_bytes > 0

    @property
    def gives_bits(self) -> bool:
        """Whether codes that are stored next get residual bits."""
        return self.has_bits or (self._adds_bits and not self.refits and _is_new(self._store))

    @property
    def refits(self) -> bool:
        """Whether the store's codes are refitted, or will be; as far as it can tell."""
        if self._notes is None:
            return self._refits
        if self._notes.codec is None:  # somebody else may have filled it, with plain codes
            return self._refits and _is_new(self._notes)
        return self._notes.codec.startswith(REFITTED)

    def upsert(
        self,
        ids: Ids,
        embeddings: ArrayLike,
        payloads: Sequence[Payload | None] | None,
        *,
        device: str | None = None,
    ) -> SparseVectors:
        """Encode and store; see `csrkit.search.Searcher.upsert`.

        Args:
            ids: One per embedding.
            embeddings: Numbers of shape (n, dim).
            payloads: One per id, or None.
            device: Where to encode: see `csrkit.CSRModel.encode`.

        Returns:
            The codes that were stored.
        """
        place = {} if device is None else {"device": device}  # encoders of texts take none
        codes = self._model.encode(embeddings, k=self._k_doc, **place)
        if self._codec is not None and self._keeps is not None and self.gives_bits:
            residuals = self._codec.encode_residuals(embeddings, codes)
            self._keeps.upsert(ids, codes, payloads, residuals=residuals)
            return codes
        if self.refits and self._notes is not None:
            self._refits = _bound(self._notes, self._model.fingerprint, refits=True)
        if self._codec is not None and self.refits:
            codes = self._codec.refit(embeddings, codes)
        self._store.upsert(ids, codes, payloads)
        return codes


def _is_new(store: Store) -> bool:
    """Tell whether nothing was ever stored: one that was emptied has its widths fixed."""
    try:
        store.fetch([])
    except StoreError:
        return True
    return False


def _bound(store: CodecStore, fingerprint: str, *, refits: bool) -> bool:
    """Bind a store to refitted or plain codes, as wanted or as it was bound; True if refitted."""
    names = {True: REFITTED + fingerprint, False: fingerprint}
    for refitted in (refits, not refits):
        with suppress(StoreError):
            store.bind(names[refitted])
            return refitted
    store.bind(fingerprint)  # fails again, and says why
    return False
