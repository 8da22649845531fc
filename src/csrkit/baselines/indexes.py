"""Indexes over faiss: one search for all kinds, filters included, and bytes as it writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.baselines.base import ID_BYTES, Footprint, Index, engine

if TYPE_CHECKING:
    from csrkit.baselines.base import Floats, RowNumbers, Subset

__all__ = ["FaissIndex", "Rescored", "added"]


@dataclass(frozen=True, eq=False)
class FaissIndex:
    """A faiss index with its documents added.

    Attributes:
        faiss_index: The index; a transform may stand before it.
        footprint: See `Index`.
        ef: Candidates that a graph keeps while it walks; None for what is no graph.
    """

    faiss_index: Any
    footprint: Footprint
    ef: int | None = None

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        """See `Index.search`.

        Args:
            queries: float32 (q, dim).
            n: Documents per query.
            among: Search only these.

        Returns:
            int64 (q, n).
        """
        selector = None
        if among is not None:
            bits = np.packbits(among.mask, bitorder="little")
            selector = engine().IDSelectorBitmap(bits)
        parameters = self._parameters(self.faiss_index, selector)
        rows: RowNumbers = self.faiss_index.search(queries, n, params=parameters)[1]
        return rows

    def _parameters(self, index: Any, selector: Any) -> Any:
        """Spell the filter and ef for this kind of index."""
        faiss = engine()
        if isinstance(index, faiss.IndexPreTransform):
            inner = self._parameters(faiss.downcast_index(index.index), selector)
            return faiss.SearchParametersPreTransform(index_params=inner) if inner else None
        if self.ef is not None:
            return faiss.SearchParametersHNSW(efSearch=self.ef, sel=selector)
        if selector is None:
            return None
        if isinstance(index, faiss.IndexRaBitQ):
            return faiss.RaBitQSearchParameters(sel=selector)
        return faiss.SearchParameters(sel=selector)


@dataclass(frozen=True, eq=False)
class Rescored:
    """A first stage whose candidates are ranked again by the original vectors.

    Attributes:
        first: Finds candidates.
        originals: float32 (n, dim), what is kept for it.
        candidates: How many the first stage passes on, at least.
    """

    first: Index
    originals: Floats
    candidates: int

    @property
    def footprint(self) -> Footprint:
        """That of the first stage, and the originals."""
        first, kept = self.first.footprint, 4.0 * self.originals.shape[1]
        return first._replace(per_vector=first.per_vector + kept, retained=first.retained + kept)

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        """See `Index.search`.

        Args:
            queries: float32 (q, dim).
            n: Documents per query.
            among: Search only these.

        Returns:
            int64 (q, n).
        """
        found = self.first.search(queries, max(n, self.candidates), among=among)
        best = [self._ranked(*pair, n) for pair in zip(queries, found, strict=True)]
        return np.array(best, dtype=np.int64).reshape(len(queries), n)

    def _ranked(self, query: Floats, found: RowNumbers, n: int) -> RowNumbers:
        scores = np.where(found < 0, -np.inf, self.originals[found] @ query)
        return found[np.argsort(-scores, kind="stable")[:n]]


def added(index: Any, docs: Floats) -> Footprint:
    """Train a faiss index, add documents, and weigh what they added to its file.

    Args:
        index: Empty.
        docs: float32 (n, dim).

    Returns:
        What it keeps: its own serialised form, and an id per vector.
    """
    if not index.is_trained:
        index.train(docs)
    shared = _file_bytes(index)
    index.add(docs)
    stored = (_file_bytes(index) - shared) / len(docs)
    faiss = engine()
    graph = isinstance(index, faiss.IndexHNSW)
    code = faiss.downcast_index(index.storage).code_size if graph else stored
    return Footprint(stored + ID_BYTES, 0.0, float(code), float(shared))


def _file_bytes(index: Any) -> int:
    """Count the bytes that the index would take in a file, without making it."""
    sizes: list[int] = []
    faiss = engine()
    faiss.write_index(index, faiss.PyCallbackIOWriter(lambda part: sizes.append(len(part))))
    return sum(sizes)
