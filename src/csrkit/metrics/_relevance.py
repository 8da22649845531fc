"""Relevance: rankings against judgements and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError
from csrkit.metrics._lists import (
    MISS,
    Ranked,
    Relevant,
    ids_of,
    paired,
    refuse_other_ids,
)
from csrkit.tensors import as_array, is_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["hit_rate_at", "mrr_at", "ndcg_at", "neighbour_accuracy"]

_MOST = np.finfo(np.float64).max


def ndcg_at(found: Ranked, relevant: Relevant, n: int) -> NDArray[np.float64]:
    """Measure ranking quality against graded judgements (nDCG@n).

    ::

        DCG@n  = sum_{r=1..n} gain(found[r]) / log2(r + 1)
        nDCG@n = DCG@n / DCG@n of the best ranking possible

    The gain is the judgement itself (linear, as in trec_eval and scikit-learn),
    and the best ranking is that of all judged documents, found or not.

    Args:
        found: Ranked ids, one list per query.
        relevant: For each query its one relevant id, its relevant ids, or a
            mapping of ids to gains of at least 0.
        n: Depth, at least 1.

    Returns:
        float64 (q,) in [0, 1], one value per query.

    Raises:
        ShapeError: If n is below 1, the numbers of queries differ, a gain is
            negative or not finite, a query has nothing relevant (leave it out), or no id
            can match: texts on one side, numbers on the other.

    Examples:
        >>> ndcg_at([["a", "b"]], [{"a": 1, "b": 3}], n=10).round(3)
        array([0.797])
    """
    values = []
    judged = _judged(found, relevant, n)
    longest = max((max(len(ranking), len(gains)) for ranking, gains in judged), default=0)
    discounts = 1 / np.log2(np.arange(2, longest + 2))
    for ranking, gains in judged:
        got = np.array([gains.get(doc, 0.0) for doc in ranking])
        ideal = np.sort(list(gains.values()))[::-1][:n]
        values.append((got @ discounts[: len(got)]) / (ideal @ discounts[: len(ideal)]))
    return np.array(values, dtype=np.float64)


def mrr_at(found: Ranked, relevant: Relevant, n: int) -> NDArray[np.float64]:
    """Measure the reciprocal rank of the first relevant hit (MRR@n is its mean).

    Args:
        found: Ranked ids, one list per query.
        relevant: As in `ndcg_at`; a gain above 0 is relevant.
        n: Depth, at least 1.

    Returns:
        float64 (q,): 1 / rank, or 0 if none of the first n is relevant.

    Raises:
        ShapeError: As in `ndcg_at`.

    Examples:
        >>> mrr_at([["a", "b"], ["a"]], ["b", "b"], n=10)
        array([0.5, 0. ])
    """
    ranks = (_first_rank(ranking, gains) for ranking, gains in _judged(found, relevant, n))
    return np.array([1 / rank if rank else 0.0 for rank in ranks], dtype=np.float64)


def hit_rate_at(found: Ranked, relevant: Relevant, n: int) -> NDArray[np.float64]:
    """Tell whether any relevant document is among the first n (hit rate@n is the mean).

    Args:
        found: Ranked ids, one list per query.
        relevant: As in `ndcg_at`; a gain above 0 is relevant.
        n: Depth, at least 1.

    Returns:
        float64 (q,), each 0 or 1.

    Raises:
        ShapeError: As in `ndcg_at`.
    """
    ranks = (_first_rank(ranking, gains) for ranking, gains in _judged(found, relevant, n))
    return np.array([float(rank > 0) for rank in ranks], dtype=np.float64)


def neighbour_accuracy(
    found: Ranked, query_labels: ArrayLike, labels: ArrayLike, *, same_rows: bool = False
) -> NDArray[np.float64]:
    """Tell whether the nearest neighbour has the query's label (1-NN accuracy).

    Args:
        found: Ranked rows of the labelled collection, one list per query; with
            same_rows ask for two hits or more.
        query_labels: (q,), the true label of each query.
        labels: (m,), the label of each row of the collection.
        same_rows: True if query i is row i of the collection: it is then not
            its own neighbour (leave-one-out).

    Returns:
        float64 (q,), each 0 or 1; 0 where there is no neighbour.

    Raises:
        ShapeError: If the numbers of queries differ, a row is not in labels, or only
            one of the two kinds of labels is texts.
    """
    own, known = as_array(query_labels, "query_labels"), as_array(labels, "labels")
    if own.ndim != 1 or known.ndim != 1 or (own.dtype.kind in "US") != (known.dtype.kind in "US"):
        raise ShapeError(
            "expected query_labels and labels of one kind in one dimension, got "
            f"{own.dtype} of shape {own.shape} and {known.dtype} of shape {known.shape}"
        )
    values = np.zeros(len(own))
    for query, (ranking, label) in enumerate(paired(found, own, "query_labels", 2)):
        others = [r for r in ranking if r is not MISS and not (same_rows and r == query)]
        if not others:
            continue
        if not is_whole(others[0]) or not 0 <= others[0] < len(known):
            raise ShapeError(
                f"expected rows in [0, {len(known)}), got {others[0]!r} at query {query}"
            )
        values[query] = known[others[0]] == label
    return values


def _judged(
    found: Ranked, relevant: Relevant, n: int
) -> list[tuple[list[Any], Mapping[Any, float]]]:
    pairs = []
    for query, (ranking, judged) in enumerate(paired(found, relevant, "relevant", n)):
        gains = _gains(judged)
        if not all(map(_is_gain, gains.values())) or not any(gains.values()):
            raise ShapeError(
                f"expected gains of at least 0 and one above, got {dict(gains)!r} for query "
                f"{query}: leave out queries with nothing relevant"
            )
        pairs.append((ranking, gains))
    if not any(doc in gains for ranking, gains in pairs for doc in ranking):
        refuse_other_ids(pairs, "relevant")
    return pairs


def _is_gain(gain: Any) -> bool:
    return isinstance(gain, int | float | np.integer | np.floating) and bool(0 <= gain <= _MOST)


def _gains(judged: Any) -> Mapping[Any, float]:
    """Spell one id, several ids or a mapping as a mapping of ids to gains."""
    if isinstance(judged, Mapping):
        return judged
    if judged is None:
        return {}
    if not isinstance(judged, np.ndarray) and hasattr(judged, "__array__"):
        judged = np.atleast_1d(as_array(judged, "relevant"))
    if isinstance(judged, str) or not isinstance(judged, Iterable):
        return {judged: 1.0}
    return dict.fromkeys((doc for doc in ids_of(judged) if doc is not MISS), 1.0)


def _first_rank(ranking: list[Any], gains: Mapping[Any, float]) -> int:
    """Return the rank of the first relevant id, from 1, or 0 if there is none."""
    return next((r for r, doc in enumerate(ranking, 1) if gains.get(doc, 0.0) > 0), 0)
