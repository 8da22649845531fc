"""What both faces of Qdrant give back, as csrkit's types.

The embedded engine and the client spell a point alike (``id``, ``score``,
``payload``, ``vector`` with ``indices`` and ``values``) in classes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from csrkit.stores._ids import hit_id, hit_payload
from csrkit.stores.base import Hit
from csrkit.vectors import SparseVectors

__all__ = ["gathered", "hits"]


def hits(points: Sequence[Any]) -> list[Hit]:
    """Return the hits of one query.

    Args:
        points: Scored points by falling score.

    Returns:
        The same without those of score 0: with a filter the engine scores
        documents one by one and gives them, without a filter it does not.
    """
    return [
        Hit(hit_id(point.id, point.payload), float(point.score), hit_payload(point.payload))
        for point in points
        if point.score
    ]


def gathered(rows: Sequence[Any], dim: int) -> SparseVectors:
    """Stack sparse vectors, sorting each row: the engine promises no order of latents.

    Args:
        rows: Objects with ``indices`` and ``values``.
        dim: Width of the codes.

    Returns:
        One row per vector.
    """
    counts = [len(row.indices) for row in rows]
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    indices = np.fromiter((j for row in rows for j in row.indices), np.int64, indptr[-1])
    values = np.fromiter((v for row in rows for v in row.values), np.float32, indptr[-1])
    order = np.lexsort((indices, np.repeat(np.arange(len(counts)), counts)))
    return SparseVectors(indptr, indices[order], values[order], dim)  # type: ignore[arg-type]  # the constructor converts and checks
