from __future__ import annotations

import numpy as np
from qdrant_client.models import ScoredPoint

from csrkit.stores import Hit
from csrkit.stores._points import _shared, residual_rows, stacked
from csrkit.vectors import SparseVectors


def test_rows_are_sorted_and_may_be_empty() -> None:
    latents, weights = [[7, 2, 4], [], [1, 0]], [[0.5, 0.25, 1], [], [2, 4]]
    expected = SparseVectors([0, 3, 3, 5], [2, 4, 7, 0, 1], [0.25, 1, 0.5, 4, 2], 8)  # type: ignore[arg-type]
    assert stacked(latents, weights, 8) == expected
    assert stacked([], [], 8) == expected[:0]


def test_points_of_score_zero_are_no_hits() -> None:
    points = [
        ScoredPoint(id=1, version=0, score=0.5, payload={"csrkit_id": "a", "x": 1}),
        ScoredPoint(id=2, version=0, score=0.0, payload={"x": 2}),
        ScoredPoint(id=3, version=0, score=-0.5, payload=None),
    ]
    assert _shared(points) == [Hit("a", 0.5, {"x": 1}), Hit(3, -0.5, None)]


def test_residuals_are_stacked_as_bytes() -> None:
    rows = residual_rows([[0.0, 255.0, 7.0], [1, 2, 3]], 3)
    assert rows.dtype == np.uint8
    assert rows.tolist() == [[0, 255, 7], [1, 2, 3]]
    assert residual_rows([], 3).shape == (0, 3)
