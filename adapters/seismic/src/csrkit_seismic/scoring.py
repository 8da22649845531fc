"""Exact inner products of codes and a query: of every row, or of a search's candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csrkit.vectors import SparseVectors

__all__ = ["scores", "scores_of"]

_QUICK = 2**13  # latents that are spread out in less time than ten codes are searched for theirs


def scores(codes: SparseVectors, query: SparseVectors) -> NDArray[np.float64]:
    """Score codes exactly.

    Args:
        codes: Any number of rows.
        query: A batch of one row, not empty.

    Returns:
        float64 (n), inner products.
    """
    products = _weights(query, codes.indices)
    products *= codes.values
    row_of = np.arange(len(codes)).repeat(codes.counts)
    return np.bincount(row_of, products, len(codes)).astype(np.float64, copy=False)


def scores_of(
    codes: SparseVectors, query: SparseVectors, rows: Sequence[int]
) -> NDArray[np.float64]:
    """Score some rows exactly, in less time than ``codes[rows]`` takes.

    Args:
        codes: Any number of rows.
        query: A batch of one row, not empty.
        rows: Which of them, none empty.

    Returns:
        float64 (len(rows)), inner products.
    """
    if not rows:
        return np.zeros(0)
    which = np.array(rows, np.int64)
    starts = codes.indptr.take(which)
    counts = codes.indptr.take(which + 1) - starts
    ends = counts.cumsum()
    firsts = ends - counts
    entries = (starts - firsts).repeat(counts)  # take and repeat: half the time of brackets
    entries += np.arange(len(entries))
    products = _weights(query, codes.indices.take(entries))
    products *= codes.values.take(entries)
    return np.add.reduceat(products, firsts)


def _weights(query: SparseVectors, latents: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the weight of each latent in a query, 0 where it has none."""
    asked, values = query.indices, query.values
    if query.dim <= max(_QUICK, len(latents)):
        every = np.zeros(query.dim)
        every.put(asked, values)
        return every.take(latents)
    where = asked.searchsorted(latents)
    where[where == len(asked)] = 0
    weights: NDArray[np.float64] = values[where].astype(np.float64)
    weights[asked[where] != latents] = 0
    return weights
