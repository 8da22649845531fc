"""Residual bits: what a code does not explain, quantised along the data's own directions.

With ``r = x - x_hat`` for a row ``x`` of norm 1 and its decoded code ``x_hat``, a basis of
orthogonal directions ``v_i`` and ``bits_i`` bits for direction i::

    y_i = <v_i, r> / (rho sigma_i)             rho: how long this r is, against the others
    z_i = sigma_i (level + 1/2) step           level = floor(y_i / step), of 2^bits_i levels
    e   = c sum_i z_i v_i                      c: least squares, so that e is nearest to r
    cos(q, x) ~ cos(q, x_hat + e)

The directions are the principal ones of the data the model was fitted on. Each next bit
goes where it removes most of the error in scores, ``sigma_i^2 D(bits_i)``, weighted by the
root of the data's own variance there, which queries are taken to share: few directions get
several bits, most get none (reverse water-filling: Cover and Thomas, section 10.3.3). A
model without directions has the coordinate axes, one bit for each.

A row is ``ceil(sum(bits) / 8) + 4`` bytes: the levels, direction by direction and each from
its highest bit, packed from the highest bit of the first byte; unused bits 0; then ``c / n``
and ``1 / n``, with ``n = |x_hat + e|``, as little-endian float16.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.errors import ShapeError
from csrkit.model.rows import BLOCK_ROWS, as_rows, check_width, unit_blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.model.codec import CSRModel
    from csrkit.vectors import SparseVectors

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]

__all__ = ["STEPS", "encode", "estimate", "find_directions", "row_bytes"]

# Uniform quantisers of a normal variable with variance 1, for 0, 1, ... 8 bits: the step, and
# the variance that is left. Max (1960), "Quantizing for minimum distortion", table II; beyond
# 5 bits by the same minimisation.
STEPS = (0.0, 1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.05687, 0.03076)
LEFT = (1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001040, 0.0003043, 0.00008769)

SCALE_BYTES = 4
LARGEST = float(np.finfo(np.float16).max)


class _Frame(NamedTuple):
    """The basis of a model, and what each bit of a row stands for.

    Attributes:
        basis: float32 (m, dim), ``sigma_i v_i``.
        step: float32 (m,), of each direction's quantiser.
        half: float32 (m,), half the number of its levels.
        direction: int64 (bits,), the direction of each bit.
        plane: int64 (bits,), its place: the bit counts ``2^plane`` levels.
    """

    basis: Floats
    step: Floats
    half: Floats
    direction: NDArray[np.int64]
    plane: NDArray[np.int64]


def row_bytes(model: CSRModel) -> int:
    """Return the bytes of one row: all bits, and two scales."""
    bits = sum(depth * many for depth, many in enumerate(_counts(model), start=1))
    return -(-bits // 8) + SCALE_BYTES


def find_directions(
    model: CSRModel, rows: Floats, codes: SparseVectors, bits: int
) -> tuple[Floats, tuple[int, ...]]:
    """Choose directions and share out bits among them.

    Args:
        model: The model, with its decoding scales.
        rows: float32 (n, dim) of norm 1, a sample of what will be encoded.
        codes: Of the first of these rows, at the longest rung.
        bits: Bits per row.

    Returns:
        The basis float32 (m, dim), ``sigma_i v_i``, and how many of its directions,
        in their order, get 1, 2, ... bits.
    """
    spread, directions = np.linalg.eigh(_covariance(rows))
    left = np.zeros(model.dim)
    for k in model.ladder:
        unexplained = rows[: len(codes)] - model.decode(codes.top(k))
        left += np.square(unexplained @ directions.astype(np.float32)).mean(axis=0)
    left /= len(model.ladder)
    given = _share_out(left * np.sqrt(np.maximum(spread, 0)), bits)
    order = np.argsort(given, kind="stable")[np.count_nonzero(given == 0) :]
    basis = (directions * np.sqrt(left)).T[order].astype(np.float32)
    return basis, tuple(np.bincount(given)[1:].tolist())


def _covariance(rows: Floats) -> NDArray[np.float64]:
    """Return the covariance of the columns, float64 (dim, dim)."""
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), BLOCK_ROWS):
        centred = rows[start : start + BLOCK_ROWS] - mean
        total += centred.T @ centred
    return total / len(rows)


def _share_out(weights: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """Give each bit to the direction where it helps most, int64 (dim,)."""
    removed = -np.diff(LEFT)  # falls, so that the bits of one direction come in their order
    gains = np.outer(weights, removed).reshape(-1)
    best = np.argsort(-gains, kind="stable")[:bits]
    best = best[gains[best] > 1e-9 * gains.max(initial=0)]
    return np.bincount(best // len(removed), minlength=len(weights))


# -- encode ---------------------------------------------------------------------------


def encode(model: CSRModel, embeddings: ArrayLike, codes: SparseVectors) -> Bytes:
    """Quantise what codes leave unexplained; see `CSRModel.encode_residuals`.

    Args:
        model: The model.
        embeddings: Numbers of shape (n, dim).
        codes: Their codes.

    Returns:
        uint8 (n, row_bytes(model)).

    Raises:
        ShapeError: As `CSRModel.encode_residuals`.
    """
    rows = as_rows(embeddings, model.dim)
    check_width(codes, model.n_latents)
    if len(rows) != len(codes):
        raise ShapeError(
            f"expected one code per embedding, got {len(rows)} embeddings and {len(codes)} codes"
        )
    frame = _frame(model)
    packed = np.empty((len(rows), row_bytes(model)), dtype=np.uint8)
    for number, block in enumerate(unit_blocks(rows)):
        part = slice(number * BLOCK_ROWS, number * BLOCK_ROWS + len(block))
        packed[part] = _pack(block, model.decode(codes[part]), frame)
    return packed


def _pack(rows: Floats, decoded: Floats, frame: _Frame) -> Bytes:
    """Turn rows and their decoded codes, both (n, dim), into rows of bytes."""
    left = rows - decoded
    levels = _levels(left, frame)
    raised = ((levels + (0.5 - frame.half)) * frame.step) @ frame.basis
    c = _divided(np.einsum("ij,ij->i", left, raised), np.einsum("ij,ij->i", raised, raised))
    near = decoded + c[:, None] * raised
    inverse = _divided(np.ones_like(c), np.sqrt(np.einsum("ij,ij->i", near, near)))
    scales = np.stack([np.minimum(c * inverse, LARGEST), np.minimum(inverse, LARGEST)], axis=1)
    whole = levels.astype(np.uint8)[:, frame.direction] >> frame.plane.astype(np.uint8)
    bits = np.packbits(whole & 1, axis=1)
    return np.concatenate([bits, scales.astype("<f2").view(np.uint8)], axis=1)


def _levels(left: Floats, frame: _Frame) -> Floats:
    """Return the level of each row along each direction, float32 (n, m) of whole numbers."""
    along = left @ frame.basis.T  # sigma_i <v_i, r>
    power = np.einsum("ij,ij->i", frame.basis, frame.basis)
    rho = np.sqrt(_divided(_divided(along**2, power).sum(axis=1), power.sum()))
    width = rho[:, None] * power * frame.step
    return np.clip(np.floor(_divided(along, width)) + frame.half, 0, 2 * frame.half - 1)


def _divided(above: Any, below: Any) -> Floats:
    """Divide, where 0 / 0 is 0."""
    result: Floats = np.divide(above, below, out=np.zeros_like(above), where=np.not_equal(below, 0))
    return result


# -- estimate -------------------------------------------------------------------------


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
    if residuals is None:
        decoded = model.decode(codes)
        return _divided(unit @ decoded.T, np.sqrt(np.einsum("ij,ij->i", decoded, decoded)))
    packed = _checked(residuals, len(codes), row_bytes(model))
    scales = packed[:, -SCALE_BYTES:].copy().view("<f2").astype(np.float32)
    explained = _products(model, unit, codes)
    unexplained = _raised(unit, packed[:, :-SCALE_BYTES], _frame(model))
    return explained * scales[:, 1] + unexplained * scales[:, 0]


def _products(model: CSRModel, unit: Floats, codes: SparseVectors) -> Floats:
    """Return the product of each query with each decoded code, float32 (q, n)."""
    check_width(codes, model.n_latents)
    if len(unit) * model.n_latents > 2 * codes.nnz:
        return unit @ model.decode(codes).T
    # few queries: a product with every latent is cheaper than decoding
    counts, n = codes.counts, len(codes)
    row = np.repeat(np.arange(n), counts)
    products = unit @ model.decoder.T  # (q, n_latents)
    sums = [np.bincount(row, codes.values * own[codes.indices], n) for own in products]  # (q, n)
    scale = model.scales[np.minimum(counts, len(model.scales) - 1)]
    scale = _divided(scale, codes.norms().astype(np.float32))
    explained: Floats = np.array(sums, np.float32).reshape(len(unit), n) * scale
    return explained + (unit @ model.pre_bias)[:, None]


def _raised(unit: Floats, packed: Bytes, frame: _Frame) -> Floats:
    """Return ``<q, sum_i z_i v_i>``, float32 (q, n); it is linear in the bits."""
    weights = ((unit @ frame.basis.T) * frame.step)[:, frame.direction]
    weights *= np.exp2(frame.plane.astype(np.float32))
    bits = np.unpackbits(packed, axis=1, count=len(frame.plane)).astype(np.float32)
    # level + 1/2 - half is sum_planes 2^plane (bit - 1/2)
    product: Floats = weights @ bits.T - weights.sum(axis=1, keepdims=True) / 2
    return product


def _checked(residuals: Any, n: int, width: int) -> Bytes:
    """Refuse what is not one row of residual bytes per code."""
    rows = np.asarray(residuals)
    if rows.dtype != np.uint8 or rows.shape != (n, width):
        raise ShapeError(
            f"expected residuals as uint8 of shape {(n, width)}, one row per code as "
            f"encode_residuals made them, got {rows.dtype} of shape {rows.shape}"
        )
    return rows


# -- the frame ------------------------------------------------------------------------


def _counts(model: CSRModel) -> tuple[int, ...]:
    return model.config.residual_bits or (model.dim,)


def _frame(model: CSRModel) -> _Frame:
    basis = _axes(model.dim) if model.residual_basis is None else model.residual_basis
    return _Frame(basis, *_planes(_counts(model)))


@cache
def _axes(dim: int) -> Floats:
    return np.eye(dim, dtype=np.float32)


@cache
def _planes(
    counts: tuple[int, ...],
) -> tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return step, half, direction and plane of a `_Frame`."""
    depths = np.repeat(np.arange(1, len(counts) + 1), counts)
    direction = np.repeat(np.arange(len(depths)), depths)
    plane = np.concatenate([np.arange(depth)[::-1] for depth in depths])
    step = np.array(STEPS, dtype=np.float32)[depths]
    return step, np.exp2(depths - 1).astype(np.float32), direction, plane
