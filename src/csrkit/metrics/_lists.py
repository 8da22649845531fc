"""Ranked lists of ids: ragged, padded with -1, repeats counted once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from csrkit.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ranked: TypeAlias = "Sequence[Sequence[Hashable]] | NDArray[np.integer[Any]]"
Relevant: TypeAlias = (
    "Sequence[Hashable | Iterable[Hashable] | Mapping[Hashable, float]] | NDArray[np.integer[Any]]"
)

MISS = object()  # in a list of ids: no hit here, though the rank counts


def ids_of(ranking: Any) -> list[Any]:
    """List the ids of one ranking, with `MISS` in the place of repeats and of -1."""
    if isinstance(ranking, np.ndarray):
        ranking = [MISS if row < 0 else row for row in ranking.tolist()]
    first: dict[Any, int] = {}
    for place, doc in enumerate(ranking):
        first.setdefault(doc, place)
    return [doc if first[doc] == place else MISS for place, doc in enumerate(ranking)]


def paired(found: Ranked, other: Any, name: str, n: int) -> list[tuple[list[Any], Any]]:
    """Pair the first n ids of each query with what is known about it."""
    if n < 1:
        raise ShapeError(f"expected a depth of at least 1, got n={n!r}")
    if len(found) != len(other):
        raise ShapeError(
            f"expected one entry of {name} per query, got {len(found)} rankings "
            f"and {len(other)} entries"
        )
    return [(ids_of(ranking[:n]), known) for ranking, known in zip(found, other, strict=True)]
