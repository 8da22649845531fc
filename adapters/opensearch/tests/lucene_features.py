"""How Lucene keeps and scores features, in numpy: ``FeatureField`` and ``newLinearQuery``.

``FeatureField.tokenStream`` keeps ``floatToIntBits(value) >>> 15`` as a term's frequency, and
``decodeFeatureValue`` gives ``intBitsToFloat(frequency << 15)`` back, so a value loses its last 15
bits; the linear function is weight times value, in float32; a bool adds its clauses' scores.
`test_lucene.py` compares all of it with what Lucene 8.7 itself has scored.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

TINY = float(np.finfo(np.float32).tiny)


def kept(values: ArrayLike) -> NDArray[np.float32]:
    """Return what Lucene keeps of values; ValueError for what it refuses."""
    found = np.atleast_1d(np.asarray(values, np.float32))
    if not (np.isfinite(found) & (found >= TINY)).all():
        raise ValueError(f"featureValue must be a positive normal float, got: {found.min()}")
    return (found.view(np.uint32) >> 15 << 15).view(np.float32)


def score(features: Mapping[str, float], boosts: Mapping[str, float]) -> float:
    """Return the score of a document, 0 if no clause matches; features are as kept."""
    shared = [np.float32(boosts[name]) * features[name] for name in boosts.keys() & features.keys()]
    return float(np.float32(sum(map(float, shared))))
