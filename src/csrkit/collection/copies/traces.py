"""`Trace`: what a collection held when it was read, in 32 kB, to tell whether it was written to.

Each point adds a 64-bit digest of all that it holds to one of 4096 sums, which its id
chooses. The order of reading does not matter. A point that was written, deleted or inserted
in between changes its sum, but for a chance of 1 in 2**64.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.home import PointId

__all__ = ["Trace", "bucket_of"]

_BUCKETS = 4096


def bucket_of(one: PointId) -> int:
    """Return the sum to which a point adds.

    Args:
        one: Its id.

    Returns:
        From 0 to 4095.
    """
    return int.from_bytes(blake2b(str(one).encode(), digest_size=2).digest()) % _BUCKETS


class Trace:
    """Sums of digests; empty at first."""

    def __init__(self) -> None:
        self._sums = np.zeros(_BUCKETS, np.uint64)

    def add(self, ids: Iterable[PointId], digests: NDArray[np.uint64]) -> None:
        """Add points, each of which may be added once.

        Args:
            ids: Their ids.
            digests: uint64 (n,), of all that they hold.
        """
        buckets = np.array([bucket_of(one) for one in ids], np.int64)
        np.add.at(self._sums, buckets, digests)  # overflow wraps around, as it should

    def differs_in(self, other: Trace) -> frozenset[int]:
        """Return the buckets in which two traces differ.

        Args:
            other: Another trace.

        Returns:
            Buckets, none if both saw the same points.
        """
        return frozenset(np.flatnonzero(self._sums != other._sums).tolist())
