"""Intervals for many settings at once, so that one may be chosen by them.

Whoever takes the cheapest of 40 settings whose lower bound reaches 0.9 takes, too
often, one whose queries happened to be easy: 40 intervals of 95% do not all hold
with 95% (the winner's curse). Here they do. With weights ``w ~ Dirichlet(1, ..., 1)``
over the q queries and one query more, shared by all settings s::

    low*_s  = sum_i w_i recall_si                   the query more had recall 0
    high*_s = sum_i w_i recall_si + w_{q+1}         the query more had recall 1
    P(all s: recall_s in [quantile_b(low*_s), quantile_{1-b}(high*_s)]) = level, by choice of b

The Bayesian bootstrap (Rubin 1981) with balanced levels (Beran 1988, "Balanced
simultaneous confidence sets"): b is the same for every setting. The query more is
what Gaffke (2005) adds for means of bounded values. Without it a recall of 1.0 on
every query would get an interval of width 0, and promise what nobody has seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from csrkit.metrics import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

__all__ = ["simultaneous_intervals"]

_DRAWS = 1 << 22  # weights held at a time, 32 MB


def simultaneous_intervals(
    recalls: Doubles, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> list[Interval]:
    """Estimate intervals of mean recall that hold for all settings together.

    Args:
        recalls: Recall of each setting on each query, float64 (settings, q) in
            [0, 1]; the queries are the same for all settings.
        level: Probability that every interval covers the mean over all queries
            like these, in (0, 1).
        resamples: Draws of weights; b is no finer than 1 / resamples.
        seed: Of the draws.

    Returns:
        One interval per setting, around the plain mean.
    """
    low, high = _draws(recalls, resamples, np.random.default_rng(seed))
    low_ranks = low.argsort(axis=1).argsort(axis=1)
    high_ranks = resamples - 1 - high.argsort(axis=1).argsort(axis=1)
    rarest = np.minimum(low_ranks, high_ranks).min(axis=0)  # of each draw, in any setting
    rank = int(np.quantile(rarest, 1 - level, method="lower"))
    lows = np.partition(low, rank, axis=1)[:, rank]
    highs = np.partition(high, resamples - 1 - rank, axis=1)[:, resamples - 1 - rank]
    means = recalls.mean(axis=1)
    return [
        Interval(min(a, mean), mean, max(b, mean))
        for a, mean, b in zip(lows.tolist(), means.tolist(), highs.tolist(), strict=True)
    ]


def _draws(recalls: Doubles, resamples: int, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Return weighted means with one query more, of recall 0 and 1; (settings, resamples)."""
    settings, q = recalls.shape
    low = np.empty((settings, resamples))
    more = np.empty(resamples)
    for start in range(0, resamples, block := max(1, _DRAWS // (q + 1))):
        weights = rng.standard_exponential((min(block, resamples - start), q + 1))
        weights /= weights.sum(axis=1, keepdims=True)
        span = slice(start, start + len(weights))
        low[:, span] = recalls @ weights[:, :q].T
        more[span] = weights[:, q]
    return low, np.minimum(low + more, 1.0)
