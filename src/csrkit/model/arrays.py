"""The arrays of a frozen model: copied, checked, made read-only, and hashed.

What `CSRModel` and the other trained models share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["add_to_digest", "freeze_"]

# Any in this file is a frozen dataclass that holds the arrays as attributes.


def freeze_(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Turn the arrays of a model that is being made into read-only float32 copies.

    Args:
        model: Has an array-like under each name.
        shapes: What each must have, by name.

    Raises:
        ShapeError: If an array has another shape, or is not finite in float32.
    """
    for name, shape in shapes.items():
        with np.errstate(over="ignore"):  # what overflows float32 is refused as Inf
            # a copy: whoever made the arrays may go on changing theirs
            array = np.array(getattr(model, name), dtype=np.float32, order="C")
        if array.shape != shape:
            raise ShapeError(f"expected {name} of shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ShapeError(f"expected finite {name}, got NaN or Inf in it")
        array.flags.writeable = False
        object.__setattr__(model, name, array)


def add_to_digest(digest: _Hash, model: Any, names: Iterable[str]) -> None:
    """Add names and little-endian bytes of a model's arrays to a digest.

    Args:
        digest: Of hashlib.
        model: Has a float32 array under each name.
        names: In the order in which they count.
    """
    for name in names:
        digest.update(name.encode())
        digest.update(getattr(model, name).astype("<f4", copy=False).tobytes())
