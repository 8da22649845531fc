"""Exact row-wise top-k of a matrix product, without sorting the product.

numpy has no fast row-wise top-k: ``argpartition`` of (4096, 3072) takes twice
as long as the product itself. An exact way that costs a few percent of it: fold
each row into groups, take the maximum of each group, and let ``t`` be the k-th
largest maximum. At least k entries reach ``t``, so no entry below ``t`` is among
the k largest; the few that reach it are sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["top_of_product"]

GROUP = 16  # measured on (256, 3072): 8 to 32 cost the same within noise


def top_of_product(
    blocks: Iterable[Floats], weight: Floats, bias: Floats, k: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], Floats]]:
    """Yield the k largest positive entries of each row of ``block @ weight.T + bias``.

    Args:
        blocks: float32 (m, dim) blocks of rows.
        weight: float32 (latents, dim).
        bias: float32 (latents,).
        k: Entries per row; rows with fewer positive entries give fewer.

    Yields:
        Per block: entries per row int64 (m,), indices int32 rising within each
        row, values float32. Ties go to the lower index.
    """
    product = np.empty((0, len(weight)), dtype=np.float32)
    for block in blocks:
        if len(product) < len(block):
            product = np.empty((len(block), len(weight)), dtype=np.float32)
        rows = np.matmul(block, weight.T, out=product[: len(block)])
        rows += bias
        codes = _top_of_rows(rows, k)
        yield codes.counts, codes.indices, codes.values


def _top_of_rows(rows: Floats, k: int) -> SparseVectors:
    n, latents = rows.shape
    reached = rows >= np.maximum(_threshold(rows, k), np.finfo(np.float32).tiny)[:, None]
    entries = np.flatnonzero(reached)
    row, index = np.divmod(entries, latents)
    indptr = np.searchsorted(row, np.arange(n + 1))
    values = rows.reshape(-1)[entries]
    return SparseVectors._trusted(indptr, index.astype(np.int32), values, latents).top(k)


def _threshold(rows: Floats, k: int) -> Floats:
    """Return a lower bound on the k-th largest entry of each row, float32 (n,)."""
    n, latents = rows.shape
    groups = latents // GROUP
    if groups >= k:
        # a group is every groups-th latent: its maximum is an elementwise one
        rows = rows[:, : groups * GROUP].reshape(n, GROUP, groups).max(axis=1)
    elif latents <= k:
        return np.full(n, -np.inf, dtype=np.float32)
    nth = rows.shape[1] - k
    result: Floats = np.partition(rows, nth, axis=1)[:, nth]
    return result
