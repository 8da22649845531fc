"""Residual bits: one bit per dimension of what a code does not explain.

For a row ``x`` of norm 1, its decoded code ``x_hat`` and a fixed rotation ``R``::

    r     = R (x - x_hat)
    signs = sign(r)                            one bit per dimension
    scale = |r|^2 / |r|_1                      one number per row
    <q, x> ~ <q, x_hat> + scale <R q, signs>

The scale makes the estimate of ``<q, x - x_hat>`` unbiased over random rotations
(RaBitQ, arXiv 2405.12497, section 3.2). R is no matrix but a fast transform: random
signs, then a DCT, both twice, ``O(dim log dim)`` for any dim and nothing to store.

A row is ``ceil(dim / 8) + 2`` bytes: the bits, dimension 0 in the highest bit of the
first byte, 1 for ``r >= 0``, unused bits 0; then the scale, a little-endian float16.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError
from csrkit.model.rows import BLOCK_ROWS, as_rows, unit_blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.model.codec import CSRModel
    from csrkit.vectors import SparseVectors

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]

__all__ = ["encode", "estimate", "row_bytes"]

SCALE_BYTES = 2
LARGEST_SCALE = float(np.finfo(np.float16).max)


def row_bytes(dim: int) -> int:
    """Return the bytes of one row: a bit per dimension and the scale."""
    return -(-dim // 8) + SCALE_BYTES


def encode(model: CSRModel, embeddings: ArrayLike, codes: SparseVectors) -> Bytes:
    """Pack what codes leave unexplained; see `CSRModel.encode_residuals`.

    Args:
        model: The model.
        embeddings: Numbers of shape (n, dim).
        codes: Their codes.

    Returns:
        uint8 (n, row_bytes(dim)).

    Raises:
        ShapeError: As `CSRModel.encode_residuals`.
    """
    rows = as_rows(embeddings, model.dim)
    if len(rows) != len(codes):
        raise ShapeError(
            f"expected one code per embedding, got {len(rows)} embeddings and {len(codes)} codes"
        )
    packed = np.empty((len(rows), row_bytes(model.dim)), dtype=np.uint8)
    for number, block in enumerate(unit_blocks(rows)):
        part = slice(number * BLOCK_ROWS, number * BLOCK_ROWS + len(block))
        packed[part] = pack(block - model.decode(codes[part]))
    return packed


def estimate(
    model: CSRModel, queries: ArrayLike, codes: SparseVectors, residuals: Bytes | None
) -> Floats:
    """Estimate dense cosines; see `CSRModel.estimate_cosines`.

    Args:
        model: The model.
        queries: Numbers of shape (q, dim).
        codes: n codes.
        residuals: Their rows of bytes, or None.

    Returns:
        float32 (q, n).

    Raises:
        ShapeError: As `CSRModel.estimate_cosines`.
    """
    blocks = unit_blocks(as_rows(queries, model.dim))
    unit = np.concatenate([np.empty((0, model.dim), dtype=np.float32), *blocks])
    decoded = model.decode(codes)
    products: Floats = unit @ decoded.T
    if residuals is None:
        norms: Floats = np.sqrt(np.einsum("ij,ij->i", decoded, decoded))
        np.divide(products, norms, out=products, where=norms > 0)  # without a norm they are 0
        return products
    return products + project(unit, _checked(residuals, len(codes), model.dim))


@cache
def _flips(dim: int) -> Floats:
    """Return the random signs of both rounds, float32 (2, dim).

    They come from a hash and not from a random generator: whoever reads bits that
    were written years ago needs the same ones.
    """
    stream = hashlib.shake_256(f"csrkit residual {dim}".encode()).digest(-(-2 * dim // 8))
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=2 * dim)
    flips: Floats = bits.reshape(2, dim).astype(np.float32) * 2 - 1
    flips.flags.writeable = False
    return flips


def rotate(rows: Floats) -> Floats:
    """Apply the rotation R to each row.

    Args:
        rows: float32 (n, dim).

    Returns:
        float32 (n, dim); lengths and inner products are kept.
    """
    from scipy.fft import dct

    first, second = _flips(rows.shape[1])
    once = dct(rows * first, norm="ortho", axis=1)
    twice: Floats = dct(once * second, norm="ortho", axis=1)
    return twice


def pack(residuals: Floats) -> Bytes:
    """Turn what codes leave unexplained into rows of bytes.

    Args:
        residuals: float32 (n, dim), ``x - x_hat``.

    Returns:
        uint8 (n, row_bytes(dim)), laid out as the module says.
    """
    rotated = rotate(residuals)
    squares = np.einsum("ij,ij->i", rotated, rotated, dtype=np.float64)
    total = np.abs(rotated).sum(axis=1, dtype=np.float64)
    scale = np.divide(squares, total, out=np.zeros_like(total), where=total > 0)
    small = np.minimum(scale, LARGEST_SCALE).astype("<f2")
    bits = np.packbits(rotated >= 0, axis=1)
    return np.concatenate([bits, small[:, None].view(np.uint8)], axis=1)


def project(queries: Floats, residuals: Bytes) -> Floats:
    """Estimate the inner product of each query with what each row's code left unexplained.

    Args:
        queries: float32 (q, dim).
        residuals: uint8 (n, row_bytes(dim)), as `pack` made them.

    Returns:
        float32 (q, n).
    """
    dim = queries.shape[1]
    rotated = rotate(queries)
    bits = np.unpackbits(residuals[:, :-SCALE_BYTES], axis=1, count=dim).astype(np.float32)
    scale = residuals[:, -SCALE_BYTES:].copy().view("<f2")[:, 0].astype(np.float32)
    # signs are 2 * bits - 1, and all dimensions share the 1
    signed: Floats = 2 * (rotated @ bits.T) - rotated.sum(axis=1, keepdims=True)
    product: Floats = signed * scale
    return product


def _checked(residuals: Any, n: int, dim: int) -> Bytes:
    """Refuse what is not one row of residual bytes per code."""
    rows = np.asarray(residuals)
    expected = (n, row_bytes(dim))
    if rows.dtype != np.uint8 or rows.shape != expected:
        raise ShapeError(
            f"expected residuals as uint8 of shape {expected}, one row per code as "
            f"encode_residuals made them, got {rows.dtype} of shape {rows.shape}"
        )
    return rows
