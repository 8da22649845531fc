"""What Lucene keeps and scores, by Lucene: `Features.java` printed ``lucene/features.json``.

Repeat it with Debian's liblucene8-java: ``java -cp lucene-core.jar:lucene-analyzers-common.jar
lucene/Features.java``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit_opensearch.rows import rounded

from . import lucene_features

FOUND: dict[str, Any] = json.loads((Path(__file__).parent / "lucene/features.json").read_text())


def test_the_stand_in_keeps_what_lucene_keeps() -> None:
    given, found = np.array(FOUND["singles"], np.float32).T
    np.testing.assert_array_equal(lucene_features.kept(given), found)
    assert (found < given).any()
    for bad in (0.0, -1.0, 1e-39, np.inf, np.nan):
        with pytest.raises(ValueError, match="must be a positive normal float"):
            lucene_features.kept([0.5, bad])


def test_the_stand_in_scores_as_lucene_scores() -> None:
    boosts = dict(zip(map(str, FOUND["asked"]), FOUND["boosts"], strict=True))
    rows = zip(FOUND["indices"], FOUND["values"], FOUND["scores"], strict=True)
    for indices, values, score in rows:
        features = dict(zip(map(str, indices), lucene_features.kept(values), strict=True))
        assert lucene_features.score(features, boosts) == pytest.approx(score, rel=3e-7)
    assert len(set(FOUND["scores"])) > 30


def test_rounded_values_are_near_and_lucene_keeps_them() -> None:
    rng = np.random.default_rng(0)
    given = np.exp(rng.uniform(-87, 88, 20_000)).astype(np.float32)
    near = rounded(given)
    np.testing.assert_array_equal(lucene_features.kept(near), near)
    off = np.abs(near.astype(np.float64) / given - 1)
    assert off.max() <= 2**-9
    cut = np.abs(lucene_features.kept(given).astype(np.float64) / given - 1)
    assert 2**-9 < cut.max() < 2**-8  # what Lucene alone would lose
    assert off.mean() < 0.6 * cut.mean()
    largest = np.finfo(np.float32).max
    assert np.isfinite(rounded(np.array([largest]))).all()
    np.testing.assert_array_equal(
        rounded(np.arange(1, 9, dtype=np.float32) / 8), np.arange(1, 9) / 8
    )
