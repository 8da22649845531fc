"""Uniform draws of ids: by a seed where listing ids is cheap, by the engine where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csrkit.collection.homes._points import drawn

if TYPE_CHECKING:
    from csrkit.collection.home import Home, PointId

__all__ = ["draw"]

_LISTED = 1_000_000  # ids that are listed for a draw: some seconds on a server


def draw(
    home: Home, n: int, vector: str, *, count: int, seed: int, filter: Any = None
) -> list[PointId]:
    """Draw ids uniformly, in the engine's order where the draw is ours.

    Args:
        home: The collection.
        n: Ids wanted.
        vector: Name of the dense vector, which the points have if the engine draws.
        count: Points of the collection. Up to a million the seed decides; beyond, an engine
            that draws for itself may take no seed.
        seed: Seed of the draw.
        filter: The vendor's filter; with one the seed decides always.

    Returns:
        At most n ids.
    """
    if filter is None and count > _LISTED:
        return home.sample(n, vector, seed=seed).ids
    return drawn(home.ids(filter=filter), n, seed)
