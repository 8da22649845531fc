"""Ranked lists of ids: ragged, padded with -1, repeats counted once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from csrkit.errors import ShapeError
from csrkit.tensors import as_array, is_whole

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
        rows = ranking.dtype.kind == "i"
        ranking = [MISS if rows and doc < 0 else doc for doc in ranking.tolist()]
    first: dict[Any, int] = {}
    try:
        for place, doc in enumerate(ranking):
            first.setdefault(doc, place)
    except TypeError as error:
        raise ShapeError(f"expected a list of ids for each query, got {ranking!r}") from error
    if any(hasattr(doc, "payload") for doc in [*first][:1]):
        raise ShapeError(
            "expected lists of ids, got hits: pass [[hit.id for hit in hits] for hits in results]"
        )
    return [doc if first[doc] == place else MISS for place, doc in enumerate(ranking)]


def paired(found: Ranked, other: Any, name: str, n: int) -> list[tuple[list[Any], Any]]:
    """Pair the first n ids of each query with what is known about it."""
    if not is_whole(n) or n < 1:
        raise ShapeError(f"expected a depth of at least 1, got n={n!r}")
    rankings, known = _per_query(found, "found"), _per_query(other, name)
    if len(rankings) != len(known):
        raise ShapeError(
            f"expected one entry of {name} per query, got {len(rankings)} rankings "
            f"and {len(known)} entries"
        )
    return [
        (ids_of(_ranking(ranking, query)[:n]), entry)
        for query, (ranking, entry) in enumerate(zip(rankings, known, strict=True))
    ]


def _per_query(values: Any, name: str) -> Any:
    """Return a sequence with an entry per query; refuse what would be read as something else."""
    if isinstance(values, Sequence | np.ndarray) and not _is_text(values):
        return values
    if isinstance(values, Iterable) and hasattr(values, "__array__"):  # a tensor, a data frame
        return as_array(values, name)
    raise ShapeError(
        f"expected {name} as a list with one entry per query, in their order, "
        f"got {type(values).__name__}"
    )


def _ranking(ranking: Any, query: int) -> Any:
    if not isinstance(ranking, list | tuple | np.ndarray) and hasattr(ranking, "__array__"):
        ranking = as_array(ranking, "found")
    is_array = isinstance(ranking, np.ndarray)
    if ranking.ndim == 1 if is_array else isinstance(ranking, Sequence) and not _is_text(ranking):
        return ranking
    raise ShapeError(
        f"expected found as one list of ids per query, got {ranking!r} for query {query}"
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str | bytes)


def refuse_other_ids(pairs: Iterable[tuple[Iterable[Any], Iterable[Any]]], name: str) -> None:
    """Refuse texts on one side and none on the other, where nothing found was known.

    Args:
        pairs: Ids that were found and those that are known, for each query.
        name: What is known.

    Raises:
        ShapeError: If no id of the one side can be one of the other.
    """
    pairs = list(pairs)
    ours = [doc for found, _ in pairs for doc in found if doc is not MISS]
    theirs = [doc for _, known in pairs for doc in known if doc is not MISS]
    if len({isinstance(doc, str) for doc in ours + theirs}) == 2 and not (
        {isinstance(doc, str) for doc in ours} & {isinstance(doc, str) for doc in theirs}
    ):
        raise ShapeError(
            f"expected ids of one kind, got {ours[0]!r} in found and {theirs[0]!r} in {name}: "
            "they never match"
        )
