"""What the demo measures: a store at several k against exact dense search.

Three things are kept apart: fidelity (recall@10: overlap with the exact dense
top 10), relevance (nDCG@10, against judgements) and work (posting cost,
milliseconds).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    dense = Row(
        k=None,
        recall=1.0,
        ndcg=_mean(ndcg_at(truth, data.relevant, LIMIT)),
        posting_cost=None,
        vector_bytes=4.0 * data.docs.shape[1],
        ms=_median_ms(lambda query: _dense(query, data.docs), data.queries[:TIMED]),
    )
    return [dense, *(_at(k, data, model, stored, store, truth) for k in ladder)]


def _at(
    k: int,
    data: DemoData,
    model: CSRModel,
    stored: SparseVectors,
    store: Store,
    truth: NDArray[np.int64],
) -> Row:
    codes = model.encode(data.queries, k=k)
    found = [[hit.id for hit in hits] for hits in store.search(codes, limit=LIMIT)]
    return Row(
        k=k,
        recall=_mean(recall_at(found, truth, LIMIT)),
        ndcg=_mean(ndcg_at(found, data.relevant, LIMIT)),
        posting_cost=_mean(posting_cost(codes, stored)),
        vector_bytes=_mean(bytes_per_vector(stored)),
        ms=_median_ms(lambda code: store.search(code, limit=LIMIT), list(codes[:TIMED])),
    )


def _mean(values: NDArray[Any]) -> float:
    return round(float(values.mean()), 4)


def _dense(query: NDArray[np.float32], docs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Search exactly for one query, as fast as numpy does."""
    scores = docs @ query
    best = np.argpartition(scores, -LIMIT)[-LIMIT:]
    return best[np.argsort(-scores[best])]


def _median_ms(search: Callable[[Any], object], queries: Sequence[Any] | NDArray[Any]) -> float:
    times = []
    for query in queries:
        started = time.perf_counter()
        search(query)
        times.append(time.perf_counter() - started)
    return round(1000 * float(np.median(times)), 4)
