"""What the demo measures: a store at several k against exact dense search.

Three things are kept apart: fidelity (recall@10: overlap with the exact dense
top 10), relevance (nDCG@10, against judgements) and work (posting cost,
milliseconds).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.metrics import bytes_per_vector, exact_top, ndcg_at, posting_cost, recall_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.cli.demodata import DemoData
    from csrkit.model import CSRModel
    from csrkit.stores import Store
    from csrkit.vectors import SparseVectors

__all__ = ["Row", "measured"]

LIMIT = 10
TIMED = 200  # queries timed one by one: the median is then good to a few percent


@dataclass(frozen=True)
class Row:
    """One line of the demo's table.

    Attributes:
        k: Latents per query; None for exact search over the dense vectors.
        recall: Mean recall@10 against exact dense search, in [0, 1].
        ndcg: Mean nDCG@10 against the judgements, in [0, 1].
        posting_cost: Postings visited per query and document; None for dense.
        vector_bytes: Bytes of one stored vector, raw: 8 per latent, 4 per dimension.
        ms: Median time of one search, one query at a time, in milliseconds.
    """

    k: int | None
    recall: float
    ndcg: float
    posting_cost: float | None
    vector_bytes: float
    ms: float


def measured(
    data: DemoData, model: CSRModel, stored: SparseVectors, store: Store, ladder: Sequence[int]
) -> list[Row]:
    """Measure exact dense search, then the store at each k.

    Args:
        data: Documents under their row numbers, and judged queries.
        model: Encodes the queries.
        stored: Codes in the store, by row number.
        store: Holds them.
        ladder: The k to measure.

    Returns:
        The dense row, and one per k.
    """
    truth = exact_top(data.queries, data.docs, LIMIT)
    asked = [model.encode(data.queries, k=k) for k in ladder]
    searches = [
        [partial(store.search, code, limit=LIMIT) for code in codes[:TIMED]] for codes in asked
    ]
    exact = [partial(_dense, query, data.docs) for query in data.queries[:TIMED]]
    dense_ms, *sparse_ms = _median_ms([exact, *searches])
    dense_ndcg = _mean(ndcg_at(truth, data.relevant, LIMIT))
    rows = [Row(None, 1.0, dense_ndcg, None, 4.0 * data.docs.shape[1], dense_ms)]
    for k, codes, ms in zip(ladder, asked, sparse_ms, strict=True):
        found = [[hit.id for hit in hits] for hits in store.search(codes, limit=LIMIT)]
        rows.append(
            Row(
                k=k,
                recall=_mean(recall_at(found, truth, LIMIT)),
                ndcg=_mean(ndcg_at(found, data.relevant, LIMIT)),
                posting_cost=_mean(posting_cost(codes, stored)),
                vector_bytes=_mean(bytes_per_vector(stored)),
                ms=ms,
            )
        )
    return rows


def _mean(values: NDArray[Any]) -> float:
    return round(float(values.mean()), 4)


def _dense(query: NDArray[np.float32], docs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Search exactly for one query, as fast as numpy does."""
    scores = docs @ query
    best = np.argpartition(scores, -LIMIT)[-LIMIT:]
    return best[np.argsort(-scores[best])]


def _median_ms(ways: Sequence[Sequence[Callable[[], object]]]) -> list[float]:
    """Time ways to search by turns, so that a busy machine slows all of them alike."""
    times: list[list[float]] = [[] for _ in ways]
    for turn in zip(*ways, strict=True):
        for way, search in enumerate(turn):
            started = time.perf_counter()
            search()
            times[way].append(time.perf_counter() - started)
    return [round(1000 * float(np.median(taken)), 4) for taken in times]
