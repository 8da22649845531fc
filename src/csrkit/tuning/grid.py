"""The settings that are measured, and what each costs.

k            the rungs of the model's ladder
candidates   2, 5, 10, 20 and 40 times limit, as far as there are documents
rescore      none, by codes, by dense vectors
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from csrkit.model.card import Setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.model.card import Rescore

    Doubles = NDArray[np.float64]

__all__ = ["fitted_costs", "grid"]

DEPTHS = (2, 5, 10, 20, 40)  # candidates, in units of limit


def grid(
    ladder: Sequence[int], limit: int, n_docs: int, rescores: Sequence[Rescore]
) -> list[Setting]:
    """List the settings to measure.

    Args:
        ladder: The query's k.
        limit: Hits per query.
        n_docs: Documents that can be candidates.
        rescores: The ways to rescore.

    Returns:
        Settings without rescoring first, cheap ones before dear ones.
    """
    depths = sorted({min(limit * depth, n_docs) for depth in DEPTHS})
    sparse = [Setting(k) for k in ladder]
    return sparse + [
        Setting(k, candidates, rescore)
        for rescore in rescores
        for k in ladder
        for candidates in depths
    ]


def fitted_costs(settings: Sequence[Setting], postings: Doubles, ms: Doubles) -> Doubles:
    """Smooth measured times by what an inverted index and a rescoring do.

    ::

        cost = a + b k + c postings + d_r + e_r candidates        a to e >= 0

    with d and e of each way r to rescore, fitted to the measured milliseconds by
    non-negative least squares of the relative error. A measured time moves from
    run to run, and 200 candidates may seem quicker than 100; a cost is never
    smaller where more is done, so what is chosen by it is no accident of the clock.

    Args:
        settings: The settings.
        postings: Postings that a query visits at each, float64 (settings,).
        ms: Measured milliseconds, float64 (settings,), above 0.

    Returns:
        Milliseconds, float64 (settings,).
    """
    from scipy.optimize import nnls

    columns = [np.ones(len(settings)), np.array([s.k for s in settings], dtype=float), postings]
    for rescore in ("codes", "dense"):
        uses = np.array([s.rescore == rescore for s in settings], dtype=float)
        columns += [uses, uses * [s.candidates or 0 for s in settings]]
    work = np.stack(columns, axis=1)
    scale = np.maximum(work.max(axis=0), np.finfo(float).tiny)  # columns of one size: see nnls
    weights, _ = nnls(work / scale / ms[:, None], np.ones(len(settings)))
    return np.asarray(work / scale @ weights)
