"""Rows in and codes out: what both paths of `CSRModel.encode` share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError
from csrkit.tensors import as_numbers
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]

__all__ = ["as_rows", "check_width", "join_codes", "refuse_rows", "unit_blocks", "unit_rows"]

BLOCK_ROWS = 256  # pre-activations of 256 rows by 8192 latents fill 8 MB: they stay in cache


def as_rows(embeddings: ArrayLike, dim: int) -> NDArray[Any]:
    """Check shape and dtype of embeddings; their contents are checked in blocks.

    Args:
        embeddings: Anything numpy turns into numbers of shape (n, dim), or a tensor.
        dim: Width the model was fitted on.

    Returns:
        The array, in its own floating-point or integer type; a view of a CPU tensor.

    Raises:
        ShapeError: If it is not numeric or not of shape (n, dim).
    """
    array = as_numbers(embeddings, "embeddings")
    if array.ndim != 2 or array.shape[1] != dim:
        hint = "; for one vector pass x[None]" if array.shape == (dim,) else ""
        raise ShapeError(
            f"expected embeddings of shape (n, {dim}), got {array.shape}: "
            f"this model was fitted on {dim} dimensions{hint}"
        )
    return array


def check_width(codes: SparseVectors, n_latents: int) -> None:
    """Refuse codes of another model, as far as their width tells.

    Args:
        codes: What the caller gave.
        n_latents: Width of the model's codes.

    Raises:
        ShapeError: If theirs is another, or it is something else.
    """
    if not isinstance(codes, SparseVectors):
        raise ShapeError(f"expected codes, SparseVectors, got {type(codes).__name__}")
    if codes.dim != n_latents:
        raise ShapeError(
            f"expected codes of width {n_latents}, got {codes.dim}: they come from another model"
        )


def unit_blocks(array: NDArray[Any]) -> Iterator[Floats]:
    """Yield blocks of rows as float32 of norm 1.

    Args:
        array: Numbers of shape (n, dim).

    Yields:
        float32 (m, dim), m at most `BLOCK_ROWS`.

    Raises:
        ShapeError: If a row is zero or not finite; the message names it.
    """
    for start in range(0, len(array), BLOCK_ROWS):
        block = array[start : start + BLOCK_ROWS]
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = np.ascontiguousarray(block, dtype=np.float32)
            norms = np.sqrt(np.einsum("ij,ij->i", narrow, narrow))
        if not (np.isfinite(norms).all() and norms.min() > 1e-15):
            narrow, norms = _unit_of_extreme(block, start)
        yield narrow / norms[:, None]


def unit_rows(array: NDArray[Any], out: Floats | None = None) -> Floats:
    """Scale rows of any length to norm 1, also where float32 cannot square them.

    Args:
        array: Numbers of shape (n, dim).
        out: float32 (n, dim) to write to, perhaps the array itself; by default a new one.

    Returns:
        float32 (n, dim).

    Raises:
        ShapeError: If a row is zero or not finite; the message names it.
    """  # noqa: DOC502  # raised by `unit_blocks`
    unit = np.empty(array.shape, dtype=np.float32) if out is None else out
    done = 0
    for block in unit_blocks(array):
        unit[done : done + len(block)] = block
        done += len(block)
    return unit


def _unit_of_extreme(block: NDArray[Any], start: int) -> tuple[Floats, Floats]:
    """Return unit rows, and their norms of 1, where squares may leave the range of float32."""
    wide = block.astype(np.float64)
    peak = np.abs(wide).max(axis=1, initial=0)  # and squares of float64 that of float64
    refuse_rows(~np.isfinite(peak), peak == 0, start)
    wide /= peak[:, None]
    wide /= np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return wide.astype(np.float32), np.ones(len(wide), dtype=np.float32)


def refuse_rows(broken: NDArray[np.bool_], zero: NDArray[np.bool_], start: int) -> None:
    """Raise if any row of a block cannot be scaled to norm 1.

    Args:
        broken: Which rows hold NaN or Inf, bool (m,).
        zero: Which rows are all zeros, bool (m,).
        start: Number of the block's first row.

    Raises:
        ShapeError: If any is; the message names the first.
    """
    bad = broken | zero
    if bad.any():
        row = int(np.argmax(bad))
        what = "NaN or Inf in it" if broken[row] else "all zeros"
        raise ShapeError(f"expected finite, non-zero embeddings, got row {start + row} with {what}")


def join_codes(
    blocks: Iterator[tuple[NDArray[np.int64], NDArray[np.int32], Floats]], n_latents: int
) -> SparseVectors:
    """Join blocks of (counts, indices, values) and normalise every row.

    Args:
        blocks: Entries per row, and all entries with rising indices per row.
        n_latents: Width of the codes.

    Returns:
        One batch of codes of norm 1.

    Raises:
        ShapeError: If a value is not finite.
    """
    parts = list(blocks)
    if not parts:
        return SparseVectors.from_dense(np.zeros((0, n_latents)))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([part[0] for part in parts]))])
    indices = np.concatenate([part[1] for part in parts])
    values = np.concatenate([part[2] for part in parts])
    if not np.isfinite(values).all():  # nothing else of an invalid code can come out of a product
        raise ShapeError("expected finite codes, got NaN or Inf: the model's weights are too large")
    return SparseVectors._trusted(indptr, indices, values, n_latents).normalized()
