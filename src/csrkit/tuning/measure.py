"""Measure settings on a trial: recall per query, time, work, short results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from csrkit.errors import MissingExtra
from csrkit.metrics import posting_cost
from csrkit.tuning.answers import Answers, answers
from csrkit.tuning.calibration import calibrate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tqdm import tqdm

    from csrkit.model import CSRModel
    from csrkit.model.card import Calibration, Setting
    from csrkit.tuning.trial import Trial

    Doubles = NDArray[np.float64]

__all__ = ["TIMED", "Measurements", "measure"]

TIMED = 30  # queries timed one by one
PAIRS_DEPTH = 10  # hits per query that calibrate scores, in units of limit
CODES = 20_000  # stored codes that the posting cost is of


class Measurements(NamedTuple):
    """What was measured, by setting.

    Attributes:
        recalls: Recall at limit on each query, float64 (settings, q).
        short: Share of queries with fewer hits than limit, float64 (settings,).
        posting_cost: Postings visited per query and document, float64 (settings,).
        ms: Milliseconds of one query alone, float64 (queries timed, settings).
        calibrations: Maps from the scores of each k, without rescoring and by codes.
    """

    recalls: Doubles
    short: Doubles
    posting_cost: Doubles
    ms: Doubles
    calibrations: tuple[Calibration, ...]


def measure(
    model: CSRModel, trial: Trial, settings: Sequence[Setting], limit: int, bar: tqdm[None]
) -> Measurements:
    """Run every setting on every query, then time them by turns.

    Args:
        model: Encodes the queries.
        trial: Index, queries and exact answers.
        settings: What to measure.
        limit: Hits per query.
        bar: Moves by one for each k, and for each query timed.

    Returns:
        The measurements.

    Raises:
        MissingExtra: If threadpoolctl is not installed.
    """
    most = max([limit, *(setting.candidates or 0 for setting in settings)])
    rescores = sorted({setting.rescore for setting in settings if setting.rescore is not None})
    ids: dict[Setting, NDArray[np.int64]] = {}
    maps = []
    for k in sorted({setting.k for setting in settings}):
        found = answers(trial, k, most, rescores)
        ids |= {one: found.top(one, limit) for one in settings if one.k == k}
        maps += _calibrations(trial, k, found, PAIRS_DEPTH * limit)
        bar.update()
    return Measurements(
        recalls=trial.recalls(np.stack([ids[one] for one in settings])),
        short=np.array([(ids[one] < 0).any(axis=1).mean() for one in settings]),
        posting_cost=_posting_costs(model, trial, settings),
        ms=_timed(trial, settings, limit, bar),
        calibrations=tuple(maps),
    )


def _calibrations(trial: Trial, k: int, found: Answers, depth: int) -> list[Calibration]:
    kinds: list[Literal["codes"] | None] = [None, "codes"]
    maps = [
        calibrate(k, kind, trial.pairs(found.ids[:, :depth], found.scores[kind][:, :depth]))
        for kind in kinds
    ]
    return [one for one in maps if one is not None]


def _posting_costs(model: CSRModel, trial: Trial, settings: Sequence[Setting]) -> Doubles:
    """Return the posting cost of each setting, over a sample of the stored codes."""
    kept = trial.split.kept
    sample = kept[:: max(1, len(kept) // CODES)]
    stored = trial.searchers[None].store.fetch(sample)
    of_k = {
        k: float(posting_cost(model.encode_query(trial.split.queries, k=k), stored).mean())
        for k in {setting.k for setting in settings}
    }
    return np.array([of_k[setting.k] for setting in settings])


def _timed(trial: Trial, settings: Sequence[Setting], limit: int, bar: tqdm[None]) -> Doubles:
    """Time settings by turns, so that a busy machine slows all of them alike."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingExtra("threadpoolctl", "train", "csrkit.tune") from error
    times = []
    with threadpool_limits(limits=1):
        for query in trial.split.queries[:1]:  # pays for memory and indexes
            _turn(trial, settings, limit, query)
        for query in trial.split.queries[:TIMED]:
            times.append(_turn(trial, settings, limit, query))
            bar.update()
    return 1000 * np.array(times)


def _turn(
    trial: Trial, settings: Sequence[Setting], limit: int, query: NDArray[np.float32]
) -> list[float]:
    """Return the seconds of one query at each setting."""
    seconds = []
    for setting in settings:
        started = time.perf_counter()
        trial.run(query, setting, limit)
        seconds.append(time.perf_counter() - started)
    return seconds
