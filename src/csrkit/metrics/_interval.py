"""Intervals: how far a mean over these queries may be from that over all like them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.tensors import as_array, is_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Interval", "bootstrap_interval"]

_DRAWS = 1 << 22  # row numbers held at a time, 32 MB


class Interval(NamedTuple):
    """A mean and the range that it may have.

    Attributes:
        low: Lower end.
        value: The mean itself.
        high: Upper end.
    """

    low: float
    value: float
    high: float


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Estimate the interval of a mean by resampling the queries (percentile bootstrap).

    It answers how much the mean would move with other queries drawn like these.
    It knows nothing of values that never occurred: values that are all equal
    give an interval of width 0.

    Args:
        values: Numbers (q,), one per query, finite.
        level: Probability that the interval is to cover, in (0, 1).
        resamples: Means to draw, at least 1. More give steadier ends.
        seed: Of the draws; the same values and seed give the same interval.

    Returns:
        The ends and the mean, low <= value <= high.

    Raises:
        ShapeError: If there are no values, or they are not finite in one dimension.
        ConfigError: If level, resamples or seed is out of range.

    Examples:
        >>> bootstrap_interval([0.0, 1.0, 1.0, 1.0])
        Interval(low=0.25, value=0.75, high=1.0)
    """
    per_query = as_array(values, "values")
    if per_query.dtype.kind not in "biuf":
        raise ShapeError(f"expected values as numbers, one per query, got {per_query.dtype}")
    per_query = per_query.astype(np.float64, copy=False)
    if per_query.ndim != 1 or not per_query.size or not np.isfinite(per_query).all():
        raise ShapeError(
            f"expected finite values, one per query, got {per_query.size} of shape "
            f"{per_query.shape}, {int((~np.isfinite(per_query)).sum())} of them not finite"
        )
    is_share = isinstance(level, float | np.floating) and 0 < level < 1
    if not is_share or not is_whole(resamples) or resamples < 1:
        raise ConfigError(
            "expected a level between 0 and 1 and at least 1 resample, "
            f"got level={level!r}, resamples={resamples!r}"
        )
    if not is_whole(seed) or seed < 0:
        raise ConfigError(f"expected a seed of at least 0, got seed={seed!r}")
    rng, n = np.random.default_rng(seed), len(per_query)
    means = np.empty(resamples)
    for start in range(0, resamples, block := max(1, _DRAWS // n)):
        part = means[start : start + block]
        part[:] = per_query[rng.integers(n, size=(len(part), n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = float(per_query.mean())
    return Interval(min(float(low), mean), mean, max(float(high), mean))
