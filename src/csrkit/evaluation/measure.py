"""One way to search becomes one row: bytes, times, fidelity, relevance, filters."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.errors import MissingExtra
from csrkit.evaluation.trial import DEEP, LIMIT
from csrkit.metrics import (
    Interval,
    bootstrap_interval,
    mrr_at,
    ndcg_at,
    neighbour_accuracy,
)
from csrkit.report import Filtered, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.baselines import Subset, Way
    from csrkit.evaluation.trial import Trial

__all__ = ["TIMED", "measured", "one_thread"]

TIMED = 200  # queries timed one by one: p95 is then the tenth slowest
FILTERED = 100  # the same under each filter
_WARM = 5  # asked before, not timed


class _Times(NamedTuple):
    """Milliseconds of single queries, and what they found, int64 (q, 10)."""

    ms: NDArray[np.float64]
    found: NDArray[np.int64]


def measured(way: Way, trial: Trial, *, build_seconds: float, seed: int) -> Row:
    """Measure one way to search.

    Args:
        way: What to ask.
        trial: Documents and queries.
        build_seconds: What it took to build.
        seed: Of the intervals.

    Returns:
        The row.
    """

    def interval(values: NDArray[np.float64]) -> Interval:
        return bootstrap_interval(values, seed=seed)

    found = trial.search(way.index, trial.truth.shape[1])
    top = trial.search(way.index, LIMIT) if way.deeper_is_better else found[:, :LIMIT]
    recalls = trial.recalls(top, LIMIT)
    single = _timed(way, trial, None)
    kept = way.index.footprint
    ndcg = _relevance(ndcg_at, top, trial)
    mrr = _relevance(mrr_at, top, trial)
    return Row(
        name=way.name,
        family=way.family,
        setting=way.setting,
        k=way.k,
        bytes_per_vector=kept.per_vector,
        retained_bytes=kept.retained,
        resident_bytes=way.resident,
        build_seconds=build_seconds,
        ms_p50=float(np.median(single.ms)),
        ms_p95=float(np.quantile(single.ms, 0.95)),
        recall10=interval(recalls),
        recall100=interval(trial.recalls(found, DEEP)),
        worst=_worst(recalls),
        ndcg10=None if ndcg is None else interval(ndcg),
        mrr10=None if mrr is None else interval(mrr),
        accuracy=_accuracy(top, trial),
        filtered=tuple(_filtered(way, trial, subset) for subset in trial.subsets),
        posting_cost=way.posting_cost,
        code_bytes=kept.code,
        shared_bytes=kept.shared,
    )


def _relevance(
    metric: Callable[[NDArray[np.int64], list[Mapping[int, float]], int], NDArray[np.float64]],
    top: NDArray[np.int64],
    trial: Trial,
) -> NDArray[np.float64] | None:
    if trial.judged is None:
        return None
    return metric(top[trial.judged.rows], trial.judged.gains, LIMIT)


def _accuracy(top: NDArray[np.int64], trial: Trial) -> float | None:
    if trial.labels is None or trial.query_labels is None:
        return None
    return float(neighbour_accuracy(top, trial.query_labels, trial.labels).mean())


def _worst(recalls: NDArray[np.float64]) -> float:
    """Return the mean of the lowest twentieth."""
    return float(np.sort(recalls)[: max(1, round(len(recalls) / 20))].mean())


def _filtered(way: Way, trial: Trial, subset: Subset) -> Filtered:
    """Search within a subset, query by query: what was timed is what recall is of."""
    single = _timed(way, trial, subset)
    recall = float(trial.recalls(single.found, LIMIT, among=subset).mean())
    return Filtered(subset.share, recall, float(np.median(single.ms)))


def _timed(way: Way, trial: Trial, subset: Subset | None) -> _Times:
    """Ask the first queries one at a time, on one thread."""
    q = min(FILTERED if subset else TIMED, len(trial.queries))
    ms, found = np.empty(q), np.empty((q, LIMIT), dtype=np.int64)
    with one_thread():
        for row in range(_WARM):
            trial.search(way.index, LIMIT, among=subset, first=row, last=row + 1)
        for row in range(q):
            started = time.perf_counter()
            found[row] = trial.search(way.index, LIMIT, among=subset, first=row, last=row + 1)[0]
            ms[row] = 1000 * (time.perf_counter() - started)
    return _Times(ms, found)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP to one thread, and the garbage collector still.

    Yields:
        Nothing.

    Raises:
        MissingExtra: If threadpoolctl is not installed.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingExtra("threadpoolctl", "report", "csrkit.evaluate") from error
    collecting = gc.isenabled()
    with threadpool_limits(limits=1):
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()
