"""What the demo measures: a search at several settings against exact dense search.

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
from csrkit.model.card import Setting
from csrkit.search.dial import CANDIDATES
from csrkit.stores.base import ResidualStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.cli.demodata import DemoData
    from csrkit.search import Searcher
    from csrkit.vectors import SparseVectors

__all__ = ["Row", "measured"]

LIMIT = 10
TIMED = 200  # queries timed one by one: the median is then good to a few percent


@dataclass(frozen=True)
class Row:
    """One line of the demo's table.

    Attributes:
        k: Latents per query; None for exact search over the dense vectors.
        candidates: Documents that were rescored by their codes; None without rescoring.
        recall: Mean recall@10 against exact dense search, in [0, 1].
        ndcg: Mean nDCG@10 against the judgements, in [0, 1].
        posting_cost: Postings visited per query and document; None for dense.
        vector_bytes: Bytes that are read of one stored vector, raw: 8 per latent, and the
            residual bits with rescoring; 4 per dimension.
        ms: Median time of one search, one query at a time with its encoding, in milliseconds.
    """

    k: int | None
    candidates: int | None
    recall: float
    ndcg: float
    posting_cost: float | None
    vector_bytes: float
    ms: float


def measured(
    data: DemoData, searcher: Searcher, stored: SparseVectors, ladder: Sequence[int]
) -> list[Row]:
    """Measure exact dense search, then each k without and with rescoring by codes.

    Args:
        data: Documents under their row numbers, and judged queries.
        searcher: Searches the store that holds them; it rescores by codes.
        stored: Codes in the store, by row number.
        ladder: The k to measure.

    Returns:
        The dense row, one per k, and one per k with rescoring.
    """
    truth = exact_top(data.queries, data.docs, LIMIT)
    settings = [Setting(k) for k in ladder] + [Setting(k, CANDIDATES, "codes") for k in ladder]
    searches = [
        [partial(searcher.run, query, setting, limit=LIMIT) for query in data.queries[:TIMED]]
        for setting in settings
    ]
    exact = [partial(_dense, query, data.docs) for query in data.queries[:TIMED]]
    dense_ms, *sparse_ms = _median_ms([exact, *searches])
    dense_ndcg = _mean(ndcg_at(truth, data.relevant, LIMIT))
    rows = [Row(None, None, 1.0, dense_ndcg, None, 4.0 * data.docs.shape[1], dense_ms)]
    for setting, ms in zip(settings, sparse_ms, strict=True):
        hits = searcher.run(data.queries, setting, limit=LIMIT)
        found = [[hit.id for hit in one] for one in hits]
        codes = searcher.model.encode_query(data.queries, k=setting.k)
        rows.append(
            Row(
                k=setting.k,
                candidates=setting.candidates,
                recall=_mean(recall_at(found, truth, LIMIT)),
                ndcg=_mean(ndcg_at(found, data.relevant, LIMIT)),
                posting_cost=_mean(posting_cost(codes, stored)),
                vector_bytes=_mean(bytes_per_vector(stored)) + _bits(searcher, setting),
                ms=ms,
            )
        )
    return rows


def _bits(searcher: Searcher, setting: Setting) -> int:
    """Return the bytes of residual bits that a search reads of each candidate."""
    store = searcher.store
    if setting.rescore is None or not isinstance(store, ResidualStore):
        return 0
    return store.residual_bytes


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
