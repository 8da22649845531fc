"""What a quantised copy of the same vectors would give: int8 or one bit per dimension.

The copy is scanned whole, 100 candidates are ranked again by the originals, as Qdrant does
with rescoring. Bytes are computed; the originals stay on disk, so the disk does not shrink.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np

from csrkit.baselines import methods
from csrkit.collection.plans.growth import Found, Sought, judge
from csrkit.model.card import Setting
from csrkit.tuning.answers import Answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.plans.sampling import Parts

__all__ = ["CANDIDATES", "copy_bytes", "rivals_found"]

CANDIDATES = 100  # as `csrkit.evaluate` takes for its baselines
NAMES: tuple[Literal["int8", "binary"], ...] = ("int8", "binary")


def copy_bytes(name: Literal["int8", "binary"], dim: int) -> int:
    """Return the bytes per point of the quantised copy."""
    return dim if name == "int8" else -(-dim // 8)


def rivals_found(
    parts: Parts, cosines: NDArray[np.float32], ratio: float, seed: int
) -> Iterator[tuple[Literal["int8", "binary"], Found]]:
    """Search quantised copies of the sample.

    Args:
        parts: The sample.
        cosines: float32 (q, n), exact.
        ratio: Points of the collection per row searched.
        seed: Of what a method draws.

    Yields:
        Name and results of each rival; nothing if faiss is not installed.
    """
    if find_spec("faiss") is None:
        return
    depth = min(CANDIDATES, len(parts.docs))
    sought = Sought(None, Setting(1, CANDIDATES, "dense"))
    for name in NAMES:
        (method,) = methods(name, parts.docs.shape[1])
        (way,) = method.build(parts.docs, seed=seed)
        ids = way.index.search(parts.queries, depth)
        scores = np.take_along_axis(cosines, np.maximum(ids, 0), axis=1).astype(np.float64)
        yield name, judge(sought, Answers(ids, {"dense": scores}), cosines, ratio)
