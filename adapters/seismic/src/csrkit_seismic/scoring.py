"""`Scorer`: exact inner products of codes and a query, of many rows or of a search's candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csrkit.vectors import SparseVectors

__all__ = ["Scorer"]

_QUICK = 2**13  # latents that are spread out in less time than ten codes are searched for theirs


class Scorer:
    """Codes, made ready to be scored."""

    def __init__(self, codes: SparseVectors) -> None:
        self._codes = codes
        counts = codes.counts
        k = int(counts[0]) if len(counts) else 0
        is_even = k > 0 and bool((counts == k).all())  # as TopK mostly leaves them: a matrix
        self._matrix = codes.indices.reshape(-1, k) if is_even else None
        self._values = codes.values.reshape(-1, k) if is_even else codes.values

    def since(self, query: SparseVectors, first: int) -> NDArray[np.float64]:
        """Score the rows from one on.

        Args:
            query: A batch of one row, not empty.
            first: The row.

        Returns:
            float64 (n - first), inner products.
        """
        codes = self._codes[first:]
        products = _weights(query, codes.indices)
        products *= codes.values
        row_of = np.arange(len(codes)).repeat(codes.counts)
        return np.bincount(row_of, products, len(codes)).astype(np.float64, copy=False)

    def some(self, query: SparseVectors, rows: Sequence[int]) -> NDArray[np.float64]:
        """Score some rows, in less time than selecting them takes.

        Args:
            query: A batch of one row, not empty.
            rows: Which of them, none empty.

        Returns:
            float64 (len(rows)), inner products.
        """
        if not rows:
            return np.zeros(0)
        which = np.array(rows, np.int64)
        if self._matrix is not None:
            products = _weights(query, self._matrix.take(which, 0))
            products *= self._values.take(which, 0)
            sums: NDArray[np.float64] = products.sum(1)
            return sums
        indptr = self._codes.indptr
        starts = indptr.take(which)
        counts = indptr.take(which + 1) - starts
        ends = counts.cumsum()
        firsts = ends - counts
        entries = (starts - firsts).repeat(counts)  # take and repeat: half the time of brackets
        entries += np.arange(len(entries))
        products = _weights(query, self._codes.indices.take(entries))
        products *= self._values.take(entries)
        return np.add.reduceat(products, firsts)


def _weights(query: SparseVectors, latents: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the weight of each latent in a query, 0 where it has none."""
    asked, values = query.indices, query.values
    if query.dim <= max(_QUICK, latents.size):
        every = np.zeros(query.dim)
        every.put(asked, values)
        return every.take(latents)
    where = asked.searchsorted(latents)
    where[where == len(asked)] = 0
    weights: NDArray[np.float64] = values[where].astype(np.float64)
    weights[asked[where] != latents] = 0
    return weights
