"""Dense vectors, codes and residuals as the server sends them, stacked to arrays.

A ``vector`` is its width (int16), 0 (int16) and its numbers (float32), all big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csrkit.collection.home import CodeVector
from csrkit.vectors import SparseVectors
from csrkit_pgvector.rows import unpacked

__all__ = ["code_rows", "dense_rows"]

_HEADER = 4  # bytes before the numbers


def dense_rows(bodies: Sequence[bytes | None], dim: int) -> NDArray[np.float32]:
    """Stack dense vectors as the server sends them.

    Args:
        bodies: One vector each, as bytes; None where a row has none.
        dim: Width.

    Returns:
        float32 (n, dim), a row of NaN for one that is missing or of another width.
    """
    size = _HEADER + 4 * dim
    blank = bytes(_HEADER) + np.full(dim, np.nan, ">f4").tobytes()
    whole = [one if one is not None and len(one) == size else blank for one in bodies]
    parts = b"".join([one[_HEADER:] for one in whole])
    return np.frombuffer(parts, ">f4").astype(np.float32).reshape(len(bodies), dim)


def code_rows(
    bodies: Sequence[bytes | None], rests: Sequence[bytes | None], codes: CodeVector
) -> tuple[SparseVectors, NDArray[np.bool_], NDArray[np.uint8] | None]:
    """Stack codes and residuals.

    Args:
        bodies: One code each, as bytes; None where a row has none.
        rests: One residual each; None where a row has none.
        codes: What they are.

    Returns:
        One code per row, bool (n,) whether it has one with its residual, and uint8
        (n, residual_bytes), or None if none are kept.
    """
    width = codes.residual_bytes
    is_whole = [
        body is not None and (not width or rest is not None)
        for body, rest in zip(bodies, rests, strict=True)
    ]
    empty = bytes(12)
    stacked = unpacked([body or empty for body in bodies], codes.n_latents)
    if not width:
        return stacked, np.array(is_whole, bool), None
    flat = b"".join([rest if rest is not None else bytes(width) for rest in rests])
    residuals = np.frombuffer(flat, np.uint8).reshape(len(rests), width)
    return stacked, np.array(is_whole, bool), residuals
