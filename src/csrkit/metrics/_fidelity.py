"""Fidelity: the exact dense ranking, and how much of it was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError
from csrkit.metrics._lists import MISS, Ranked, ids_of, paired, refuse_other_ids
from csrkit.tensors import as_numbers, is_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["exact_top", "recall_at"]

_QUERY_ROWS, _DOC_ROWS = 256, 8192  # scores held at a time in exact_top, 16 MB as int64 keys
_DOC_MASK = 0xFFFFFFFF  # the half of a sort key that holds the document's row


def recall_at(found: Ranked, truth: Ranked, n: int) -> NDArray[np.float64]:
    """Measure the overlap with the exact dense top n (recall@n, a fidelity).

    ::

        recall@n = |found[:n] & truth[:n]| / |truth[:n]|

    Args:
        found: Ranked ids, one list per query.
        truth: Ids of the exact dense search, as `exact_top` gives them.
        n: Depth, at least 1.

    Returns:
        float64 (q,) in [0, 1], one value per query.

    Raises:
        ShapeError: If n is below 1, the numbers of queries differ, or a list of
            truth is empty, or none can match: texts on one side, numbers on the other.

    Examples:
        >>> recall_at([["a", "b"], ["c"]], [["b", "a"], ["a", "c"]], n=2)
        array([1. , 0.5])
    """
    values = []
    pairs = [(ranking, ids_of(exact)[:n]) for ranking, exact in paired(found, truth, "truth", n)]
    for query, (ranking, exact) in enumerate(pairs):
        wanted = set(exact) - {MISS}
        if not wanted:
            raise ShapeError(f"expected exact hits for every query, got none for query {query}")
        values.append(len(wanted.intersection(ranking)) / len(wanted))
    if not any(values):
        refuse_other_ids(pairs, "truth")
    return np.array(values, dtype=np.float64)


def exact_top(queries: ArrayLike, docs: ArrayLike, n: int) -> NDArray[np.int64]:
    """Find the n documents with the largest inner product, exactly.

    Give rows of norm 1 for the cosine. Work space is constant, so docs may be a
    memory map. Equal float32 scores go to the lower row.

    Args:
        queries: Numbers (q, dim).
        docs: Numbers (m, dim), finite.
        n: Documents per query, in [1, m].

    Returns:
        int64 (q, n), rows of docs by falling score.

    Raises:
        ShapeError: If the shapes do not fit, n is out of range, or a score is
            not finite.

    Examples:
        >>> exact_top([[1.0, 0.0]], [[0.0, 1.0], [0.8, 0.6], [0.8, -0.6]], n=2)
        array([[1, 2]])
    """
    asked, stored = as_numbers(queries, "queries"), as_numbers(docs, "docs")
    if asked.ndim != 2 or stored.ndim != 2 or asked.shape[1] != stored.shape[1]:
        raise ShapeError(
            f"expected queries (q, dim) and docs (m, dim), got {asked.shape} and {stored.shape}"
        )
    if not is_whole(n) or not 1 <= n <= len(stored):
        raise ShapeError(f"expected n between 1 and {len(stored)} documents, got n={n!r}")
    best = np.empty((len(asked), 0), dtype=np.int64)
    for start in range(0, len(stored), _DOC_ROWS):
        with np.errstate(over="ignore"):
            block = np.asarray(stored[start : start + _DOC_ROWS], dtype=np.float32)
        best = np.concatenate(
            [
                _best_keys(asked[q : q + _QUERY_ROWS], block, start, best[q : q + _QUERY_ROWS], n)
                for q in range(0, max(1, len(asked)), _QUERY_ROWS)
            ]
        )
    falling = np.sort(best, axis=1)[:, ::-1]
    rows: NDArray[np.int64] = _DOC_MASK - (falling & _DOC_MASK)
    return rows


def _best_keys(
    queries: NDArray[Any],
    block: NDArray[np.float32],
    start: int,
    best: NDArray[np.int64],
    n: int,
) -> NDArray[np.int64]:
    """Merge the best keys so far with those of a block of documents, unsorted."""
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
        scores = np.asarray(queries, dtype=np.float32) @ block.T
    if not np.isfinite(scores).all():
        query, doc = np.argwhere(~np.isfinite(scores))[0]
        raise ShapeError(f"expected finite scores, got {scores[query, doc]} for row {start + doc}")
    keys = np.concatenate([best, _keys(scores, start)], axis=1)
    if keys.shape[1] <= n:
        return keys
    return np.partition(keys, keys.shape[1] - n, axis=1)[:, -n:]


def _keys(scores: NDArray[np.float32], start: int) -> NDArray[np.int64]:
    """Pack score and row into integers that sort by score, then by falling row.

    The bits of a float32 sort like integers once those of negative numbers are
    flipped; the low half holds the complement of the row. No two keys are equal.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    rows = np.arange(start, start + scores.shape[1], dtype=np.int64)
    keys: NDArray[np.int64] = (ordered << 32) | (_DOC_MASK - rows)
    return keys
