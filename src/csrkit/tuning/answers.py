"""What a search finds at one k, for any number of candidates at once.

The candidates of a setting are the first hits of the sparse stage, and a
candidate's score is its own: 20 candidates are the first 20 of 400, with the
scores that they have among the 400. So one search per k and way to rescore, at
the most candidates, answers for all settings with fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.model.card import Setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.model.card import Rescore
    from csrkit.stores.base import Hit
    from csrkit.tuning.trial import Trial

    Doubles = NDArray[np.float64]

__all__ = ["Answers", "answers"]


class Answers(NamedTuple):
    """The candidates of every query, in the order of the sparse stage.

    Attributes:
        ids: int64 (q, candidates); -1 where there are fewer.
        scores: float64 (q, candidates) by the way to rescore, None for the sparse
            scores; -inf where there are fewer.
    """

    ids: NDArray[np.int64]
    scores: dict[Rescore | None, Doubles]

    def top(self, setting: Setting, limit: int) -> NDArray[np.int64]:
        """Return the hits at a setting, int64 (q, at most limit), -1 for none."""
        within = self.ids.shape[1] if setting.candidates is None else max(limit, setting.candidates)
        scores = self.scores[setting.rescore][:, :within]
        order = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        return np.take_along_axis(self.ids, order, axis=1)


def answers(trial: Trial, k: int, candidates: int, rescores: Sequence[Rescore]) -> Answers:
    """Search with every query at one k.

    Args:
        trial: What is searched.
        k: Latents of the query code.
        candidates: Most candidates of any setting.
        rescores: The ways to rescore them.

    Returns:
        The candidates with their scores.
    """
    sparse = trial.run(trial.split.queries, Setting(k), candidates)
    ids = np.full((len(sparse), candidates), -1, dtype=np.int64)
    for row, hits in zip(ids, sparse, strict=True):
        row[: len(hits)] = [hit.id for hit in hits]
    scores: dict[Rescore | None, Doubles] = {None: _aligned(ids, sparse)}
    for rescore in rescores:
        setting = Setting(k, candidates, rescore)
        scores[rescore] = _aligned(ids, trial.run(trial.split.queries, setting, candidates))
    return Answers(ids, scores)


def _aligned(ids: NDArray[np.int64], found: Sequence[Sequence[Hit]]) -> Doubles:
    """Put the scores of hits in the places of their ids."""
    scores = np.full(ids.shape, -np.inf)
    for row, own, hits in zip(scores, ids, found, strict=True):
        by_id = {hit.id: hit.score for hit in hits}
        row[:] = [by_id.get(one, -np.inf) for one in own.tolist()]
    return scores
