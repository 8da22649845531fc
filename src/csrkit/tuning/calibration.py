"""From scores to cosines: isotonic regression, kept as a few knots.

    minimise  sum_i (f(score_i) - cosine_i)^2    over all f that never fall

over pairs of a query and one of its hits: f(score) is then the mean dense cosine
of hits with that score. Half of the queries fit the map, the other half measure
its error. The map is of hits, not of random pairs: hits are what a threshold is
put to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from csrkit.model.card import Calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

__all__ = ["Pairs", "calibrate"]

KNOTS = 16  # by score, and as many by the number of pairs
LEAST_PAIRS = 100  # fewer say nothing about a map
DECIMALS = 6


class Pairs(NamedTuple):
    """Queries with their hits, one entry per hit.

    Attributes:
        query: Row of the query, int64 (pairs,).
        score: Score of the hit, float64 (pairs,).
        cosine: Dense cosine of query and hit, float64 (pairs,).
    """

    query: NDArray[np.int64]
    score: Doubles
    cosine: Doubles


def calibrate(k: int, rescore: Literal["codes"] | None, pairs: Pairs) -> Calibration | None:
    """Fit the map of one kind of score, and measure its error.

    Args:
        k: Latents of the query codes.
        rescore: What the scores are of.
        pairs: The hits of at least two queries.

    Returns:
        The map; None where hits are too few for one.
    """
    fits = pairs.query % 2 == 0
    if min(fits.sum(), (~fits).sum()) < LEAST_PAIRS:
        return None
    scores, cosines = _knots(pairs.score[fits], pairs.cosine[fits])
    errors = np.abs(np.interp(pairs.score[~fits], scores, cosines) - pairs.cosine[~fits])
    return Calibration(
        k=k,
        rescore=rescore,
        scores=tuple(scores.tolist()),
        cosines=tuple(cosines.tolist()),
        pairs=len(errors),
        mean_error=round(float(errors.mean()), DECIMALS),
        p95_error=round(float(np.quantile(errors, 0.95)), DECIMALS),
    )


def _knots(scores: Doubles, cosines: Doubles) -> tuple[Doubles, Doubles]:
    """Fit, and read the fit at even steps of the score and of its rank."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=-1, y_max=1, out_of_bounds="clip").fit(scores, cosines)
    # one pair alone at either end is no map: the ends are flat beyond 1 in 500
    ranks = np.quantile(scores, np.linspace(0.002, 0.998, KNOTS))
    steps = np.linspace(ranks[0], ranks[-1], KNOTS)
    at = np.unique(np.round(np.concatenate([ranks, steps]), DECIMALS))
    values = np.clip(np.round(fitted.predict(at), DECIMALS), -1, 1)
    return at, np.maximum.accumulate(values)
