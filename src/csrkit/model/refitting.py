"""Refitted codes: the same latents, with the values that decode best.

::

    values = argmin_{v >= 0} |x - b_pre - v W_dec[latents]|^2

by coordinate descent (non-negative least squares), started from the code's own values.
The encoder gives each latent its value without knowing which others fire; where their
decoder rows overlap, the sum overshoots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from csrkit.errors import ShapeError
from csrkit.model.rows import as_rows, check_width, unit_blocks
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.model.codec import CSRModel

    Floats = NDArray[np.float32]

__all__ = ["refit"]

SWEEPS = 8  # recall was the same after 3 sweeps and after 50
BLOCK_NUMBERS = 1 << 22  # of gathered decoder rows held at a time, 16 MB


def refit(model: CSRModel, embeddings: ArrayLike, codes: SparseVectors) -> SparseVectors:
    """Refit the values of codes; see `CSRModel.refit`.

    Args:
        model: The model.
        embeddings: Numbers of shape (n, dim).
        codes: Their codes.

    Returns:
        n codes.

    Raises:
        ShapeError: As `CSRModel.refit`.
    """
    rows = as_rows(embeddings, model.dim)
    check_width(codes, model.n_latents)
    if len(rows) != len(codes):
        raise ShapeError(
            f"expected one code per embedding, got {len(rows)} embeddings and {len(codes)} codes"
        )
    scaled = model._scaled(codes).data  # where decoding starts from
    longest = int(codes.counts.max(initial=1))
    most = max(1, BLOCK_NUMBERS // (longest * model.dim))
    values = np.empty_like(scaled)
    done = 0
    for block in unit_blocks(rows):
        for start in range(0, len(block), most):
            part = block[start : start + most] - model.pre_bias
            own = codes[done : done + len(part)]
            span = slice(codes.indptr[done], codes.indptr[done + len(part)])
            values[span] = _solved(part, own, scaled[span], model.decoder)
            done += len(part)
    return _positive(codes, values)


def _solved(rows: Floats, codes: SparseVectors, values: Floats, decoder: Floats) -> Floats:
    """Return the values that explain rows (m, dim) best, one per entry of their codes."""
    longest = codes.counts.max(initial=0)
    filled: NDArray[np.bool_] = np.arange(longest) < codes.counts[:, None]  # (m, k)
    latents = np.zeros(filled.shape, dtype=np.int32)
    latents[filled] = codes.indices
    v = np.zeros(filled.shape, dtype=np.float32)
    v[filled] = values
    atoms = decoder[latents] * filled[:, :, None]  # (m, k, dim)
    gram = atoms @ atoms.transpose(0, 2, 1)  # (m, k, k)
    wanted = (atoms @ rows[:, :, None])[:, :, 0]  # (m, k)
    power = np.einsum("mkk->mk", gram)
    for _ in range(SWEEPS):
        for j in range(longest):
            slope = wanted[:, j] - np.einsum("mk,mk->m", gram[:, j], v)
            change = np.divide(slope, power[:, j], out=np.zeros_like(slope), where=power[:, j] > 0)
            v[:, j] = np.maximum(v[:, j] + change, 0)
    return v[filled]


def _positive(codes: SparseVectors, values: Floats) -> SparseVectors:
    """Put values in the place of those of codes, without zeros; a row of zeros stays as it was."""
    row = np.repeat(np.arange(len(codes)), codes.counts)
    nothing = np.bincount(row, values, minlength=len(codes)) == 0
    values = np.where(nothing[row], codes.values, values)
    kept = values > np.finfo(np.float32).tiny
    indptr = np.concatenate([[0], np.cumsum(kept)])[codes.indptr]
    whole = SparseVectors(indptr, codes.indices[kept], values[kept], codes.dim)
    return whole.normalized()
