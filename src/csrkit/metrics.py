"""How good codes are, and what they cost: one number per query, latent or code.

Fidelity (`recall_at`: overlap with the exact dense top n) and relevance
(`ndcg_at`, `mrr_at`, `hit_rate_at`: against judgements) are two questions, and
this module never mixes them. Nothing here averages: take ``.mean()``, or
resample the values for an interval.

Ranked lists are ids by falling score, one list per query, and may be ragged:
what is missing counts as a miss, and so does a repeated id. An integer array
(q, n) is a batch of such lists in which -1 means "no hit".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from csrkit.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.vectors import SparseVectors

__all__ = [
    "bytes_per_vector",
    "exact_top",
    "hit_rate_at",
    "latent_loads",
    "mrr_at",
    "ndcg_at",
    "neighbour_accuracy",
    "posting_cost",
    "recall_at",
]

Ranked: TypeAlias = "Sequence[Sequence[Hashable]] | NDArray[np.integer[Any]]"
Relevant: TypeAlias = (
    "Sequence[Hashable | Iterable[Hashable] | Mapping[Hashable, float]] | NDArray[np.integer[Any]]"
)

ENTRY_BYTES = 8  # a uint32 index and a float32 value
_QUERY_ROWS, _DOC_ROWS = 256, 8192  # scores held at a time in exact_top, 16 MB as int64 keys
_DOC_MASK = 0xFFFFFFFF  # the half of a sort key that holds the document's row
_MISS = object()  # in a list of ids: no hit here, though the rank counts

# -- fidelity -----------------------------------------------------------------


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
            truth is empty.

    Examples:
        >>> recall_at([["a", "b"], ["c"]], [["b", "a"], ["a", "c"]], n=2)
        array([1. , 0.5])
    """
    values = []
    for query, (ranking, exact) in enumerate(_paired(found, truth, "truth", n)):
        wanted = set(_ids(exact)[:n]) - {_MISS}
        if not wanted:
            raise ShapeError(f"expected exact hits for every query, got none for query {query}")
        values.append(len(wanted.intersection(ranking)) / len(wanted))
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
    asked, stored = np.asanyarray(queries), np.asanyarray(docs)
    if asked.ndim != 2 or stored.ndim != 2 or asked.shape[1] != stored.shape[1]:
        raise ShapeError(
            f"expected queries (q, dim) and docs (m, dim), got {asked.shape} and {stored.shape}"
        )
    if not 1 <= n <= len(stored):
        raise ShapeError(f"expected n between 1 and {len(stored)} documents, got n={n!r}")
    best = np.empty((len(asked), 0), dtype=np.int64)
    for start in range(0, len(stored), _DOC_ROWS):
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


# -- relevance ----------------------------------------------------------------


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
            negative, or a query has nothing relevant (leave it out).

    Examples:
        >>> ndcg_at([["a", "b"]], [{"a": 1, "b": 3}], n=10).round(3)
        array([0.797])
    """
    discounts = 1 / np.log2(np.arange(2, n + 2)) if n > 0 else np.empty(0)
    values = []
    for ranking, gains in _judged(found, relevant, n):
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
        ShapeError: If the numbers of queries differ, or a row is not in labels.
    """
    own, known = np.asarray(query_labels), np.asarray(labels)
    values = np.zeros(len(own))
    for query, (ranking, label) in enumerate(_paired(found, own, "query_labels", 2)):
        others = [r for r in ranking if r is not _MISS and not (same_rows and r == query)]
        if not others:
            continue
        if not 0 <= others[0] < len(known):
            raise ShapeError(
                f"expected rows in [0, {len(known)}), got {others[0]} at query {query}"
            )
        values[query] = known[others[0]] == label
    return values


# -- cost ---------------------------------------------------------------------


def posting_cost(query_codes: SparseVectors, doc_codes: SparseVectors) -> NDArray[np.float64]:
    """Count the postings that each query visits, per document of the index.

    A query reads the posting list of each of its latents, whole. With ``p(j)``
    the share of codes in which latent j fires, the mean over the queries is::

        posting cost = sum_j p_query(j) * p_doc(j)

    in postings per query and document; times the number of documents it is the
    postings visited per query, which is the work of any exact inverted index.
    It is k_query * k_doc / n_latents where all latents fire equally often, and
    more where some fire in many codes.

    Args:
        query_codes: Codes at the query's k.
        doc_codes: Codes as they are stored; a sample gives an estimate.

    Returns:
        float64 (q,), one value per query, in [0, k_query].

    Raises:
        ShapeError: If the codes are not over the same latents, or there are no
            documents.
    """
    if query_codes.dim != doc_codes.dim:
        raise ShapeError(
            f"expected codes over the same latents, got queries of dim {query_codes.dim} "
            f"and documents of dim {doc_codes.dim}"
        )
    shares = latent_loads(doc_codes)[query_codes.indices]
    running = np.concatenate([[0.0], np.cumsum(shares)])
    return np.asarray(running[query_codes.indptr[1:]] - running[query_codes.indptr[:-1]])


def latent_loads(codes: SparseVectors) -> NDArray[np.float64]:
    """Return the share of codes in which each latent fires.

    Args:
        codes: At least one code.

    Returns:
        float64 (codes.dim,) in [0, 1]; 0 for a dead latent. The sum is the mean
        number of active latents, the maximum the load of the busiest.

    Raises:
        ShapeError: If there are no codes.
    """
    if len(codes) == 0:
        raise ShapeError("expected at least one code, got none")
    return np.asarray(np.bincount(codes.indices, minlength=codes.dim) / len(codes))


def bytes_per_vector(codes: SparseVectors) -> NDArray[np.int64]:
    """Count the bytes of each code: 8 per active latent (uint32 index, float32 value).

    That is the code alone, as it travels. An engine stores it once like this and
    again in its posting lists: Qdrant's took 483 bytes per point on disk at
    k=32 where this says 256 (434 with float16 postings; no payload, no log), so
    never quote k * 8 as the size of an index.

    Args:
        codes: Codes at the k that is stored.

    Returns:
        int64 (n,), bytes of each code.
    """
    return codes.counts * ENTRY_BYTES


# -- lists of ids -------------------------------------------------------------


def _ids(ranking: Any) -> list[Any]:
    """List the ids of one ranking, with `_MISS` in the place of repeats and of -1."""
    if isinstance(ranking, np.ndarray):
        ranking = [_MISS if row < 0 else row for row in ranking.tolist()]
    first: dict[Any, int] = {}
    for place, doc in enumerate(ranking):
        first.setdefault(doc, place)
    return [doc if first[doc] == place else _MISS for place, doc in enumerate(ranking)]


def _paired(found: Ranked, other: Any, name: str, n: int) -> list[tuple[list[Any], Any]]:
    """Pair the first n ids of each query with what is known about it."""
    if n < 1:
        raise ShapeError(f"expected a depth of at least 1, got n={n!r}")
    if len(found) != len(other):
        raise ShapeError(
            f"expected one entry of {name} per query, got {len(found)} rankings "
            f"and {len(other)} entries"
        )
    return [(_ids(ranking[:n]), known) for ranking, known in zip(found, other, strict=True)]


def _judged(
    found: Ranked, relevant: Relevant, n: int
) -> list[tuple[list[Any], Mapping[Any, float]]]:
    pairs = []
    for query, (ranking, judged) in enumerate(_paired(found, relevant, "relevant", n)):
        gains = _gains(judged)
        if min(gains.values(), default=0) < 0 or not any(gains.values()):
            raise ShapeError(
                f"expected gains of at least 0 and one above, got {dict(gains)!r} for query "
                f"{query}: leave out queries with nothing relevant"
            )
        pairs.append((ranking, gains))
    return pairs


def _gains(judged: Any) -> Mapping[Any, float]:
    """Spell one id, several ids or a mapping as a mapping of ids to gains."""
    if isinstance(judged, Mapping):
        return judged
    if isinstance(judged, str) or not isinstance(judged, Iterable):
        return {judged: 1.0}
    return dict.fromkeys((doc for doc in _ids(judged) if doc is not _MISS), 1.0)


def _first_rank(ranking: list[Any], gains: Mapping[Any, float]) -> int:
    """Return the rank of the first relevant id, from 1, or 0 if there is none."""
    return next((r for r, doc in enumerate(ranking, 1) if gains.get(doc, 0.0) > 0), 0)
