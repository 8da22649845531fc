"""Recall on a sample, and the range to be expected of the whole collection.

A search of n rows finds more of the exact 10 than the same search of N rows: fewer rows
compete. So recall on the sample is an upper end. The lower end is a search that is thinned
as the sample is, with r = N / n::

    recall@floor(10 / r) among floor(C / r) candidates        1 at least, of each

One row in r of the exact 10, and one in r of the C candidates, are in the sample. It is too
low, because the edges of both blur. Where r exceeds the candidates, one candidate is more
than was thinned, and the lower end is no longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.collection.plans.facts import Expected, Range
from csrkit.model.card import Setting
from csrkit.tuning.intervals import simultaneous_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.model.card import Effort
    from csrkit.tuning.answers import Answers

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

__all__ = ["LIMIT", "Found", "Sought", "expected", "judge", "recalls", "thinned"]

LIMIT = 10
TIE = 1e-6  # cosines of float32 that are nearer than this are equal


class Sought(NamedTuple):
    """A search to be judged.

    Attributes:
        effort: Its name; None for a rival.
        setting: What it does.
    """

    effort: Effort | None
    setting: Setting


class Found(NamedTuple):
    """What a search found on the sample.

    Attributes:
        sought: The search.
        whole: Recall@10 of each query, float64 (q,).
        thinned: Recall of each query with hits and candidates thinned, float64 (q,).
    """

    sought: Sought
    whole: Doubles
    thinned: Doubles


def judge(sought: Sought, answers: Answers, cosines: Floats, ratio: float) -> Found:
    """Judge a search.

    Args:
        sought: The search.
        answers: Its candidates, in the order of the first stage.
        cosines: float32 (q, n), exact.
        ratio: Points of the collection per row searched, at least 1.

    Returns:
        Recalls.
    """
    depth = max(1, int(LIMIT / ratio))
    short = answers.top(thinned(sought.setting, ratio), depth)
    whole = answers.top(sought.setting, LIMIT)
    return Found(sought, recalls(whole, cosines, LIMIT), recalls(short, cosines, depth))


def thinned(setting: Setting, ratio: float) -> Setting:
    """Return a setting with as many candidates as a sample has of them."""
    if setting.candidates is None:
        return setting
    return Setting(setting.k, max(1, int(setting.candidates / ratio)), setting.rescore)


def recalls(hits: NDArray[np.int64], cosines: Floats, depth: int) -> Doubles:
    """Measure recall, where of rows that tie with the last of the exact any will do.

    Args:
        hits: int64 (q, depth), rows; -1 for none.
        cosines: float32 (q, n), exact.
        depth: Hits that there are to find, at most n.

    Returns:
        float64 (q,) in [0, 1].
    """
    n = cosines.shape[1]
    bars = np.partition(cosines, n - depth, axis=1)[:, n - depth, None] - TIE
    near = np.take_along_axis(cosines, np.maximum(hits, 0), axis=1) >= bars
    return np.asarray(np.minimum((near & (hits >= 0)).sum(axis=1) / depth, 1.0), dtype=np.float64)


def expected(results: Sequence[Found], seed: int) -> list[Expected]:
    """Turn recalls per query into ranges that hold together with 95%.

    Args:
        results: All searches of a plan, with the same queries.
        seed: Of the resampling.

    Returns:
        One entry per search.
    """
    both = np.stack([one.whole for one in results] + [one.thinned for one in results])
    intervals = simultaneous_intervals(both, seed=seed)
    upper, lower = intervals[: len(results)], intervals[len(results) :]
    return [
        Expected(
            effort=one.sought.effort,
            k=one.sought.setting.k if one.sought.effort else None,
            candidates=one.sought.setting.candidates,
            rescore=one.sought.setting.rescore,
            sample=round(top.value, 4),
            recall=Range(round(min(low.low, top.low), 4), round(top.high, 4)),
        )
        for one, top, low in zip(results, upper, lower, strict=True)
    ]
