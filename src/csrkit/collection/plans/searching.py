"""Searches of codes on a sample, as the store and `csrkit.Searcher` would do them.

An inverted index is exact, so a product of sparse codes finds what the engine finds, and
candidates of all settings come from one pass per k of the query. The three efforts are
chosen as a card chooses them, the cheapest of enough recall, with the work of a search as
its cost, because a clock on a sample says little of a collection that is larger::

    cost = postings visited in the whole collection + w candidates
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from csrkit.collection.plans.growth import LIMIT, Found, Sought, judge, recalls
from csrkit.metrics import posting_cost
from csrkit.model.card import EFFORT_SHARES, Setting
from csrkit.tuning.answers import Answers
from csrkit.tuning.grid import grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.plans.sampling import Parts
    from csrkit.model import CSRModel
    from csrkit.model.card import Effort, Rescore

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

__all__ = ["EFFORTS", "Tried", "searched", "tried"]

EFFORTS = cast("tuple[Effort, ...]", tuple(EFFORT_SHARES))
_KINDS: tuple[Rescore, ...] = ("codes", "dense")
# A candidate in postings, at some 5 ns each: docs/results/rescore.md has 18 us for one that is
# fetched and rescored by codes, and one vector to multiply is 10 to 20 times less.
_WORK = {"codes": 3000.0, "dense": 200.0}
_BLOCK = 4096  # rows decoded at a time


class Tried(NamedTuple):
    """What every setting finds on the sample, for one k of the stored codes.

    Attributes:
        recalls: Recall@10 of each query, float64 (q,), by setting.
        cost: Work in the whole collection, in postings, by setting.
        answers: The candidates, by k of the query.
    """

    recalls: dict[Setting, Doubles]
    cost: dict[Setting, float]
    answers: dict[int, Answers]

    def choose(self, effort: Effort, rescore: Rescore) -> Setting:
        """Return the cheapest setting of enough recall; see `csrkit.model.Card.effort`."""
        means = {
            one: values.mean()
            for one, values in self.recalls.items()
            if one.rescore in (None, rescore)
        }
        enough = EFFORT_SHARES[effort] * max(means.values())
        reached = [one for one, mean in means.items() if mean >= enough]
        return min(reached, key=lambda one: (self.cost[one], one.k, one.candidates or 0))


def searched(
    model: CSRModel, parts: Parts, k_doc: int, cosines: Floats, points: int, ratio: float
) -> list[Found]:
    """Judge what each effort chooses, rescored by codes, then by dense vectors.

    Args:
        model: The model.
        parts: The sample.
        k_doc: Latents per stored code.
        cosines: float32 (q, n), exact.
        points: Points of the whole collection.
        ratio: Points of the collection per row searched.

    Returns:
        Six results: the three efforts for each of two ways to rescore.
    """
    all_of_it = tried(model, parts, k_doc, cosines, points)
    chosen = [
        Sought(effort, all_of_it.choose(effort, rescore))
        for rescore in _KINDS
        for effort in EFFORTS
    ]
    return [judge(one, all_of_it.answers[one.setting.k], cosines, ratio) for one in chosen]


def tried(model: CSRModel, parts: Parts, k_doc: int, cosines: Floats, points: int) -> Tried:
    """Search the sample at every setting that `csrkit.tune` measures.

    Args:
        model: The model.
        parts: The sample.
        k_doc: Latents per stored code.
        cosines: float32 (q, n), exact.
        points: Points of the whole collection.

    Returns:
        Recalls, costs and candidates.
    """
    settings = grid(model.ladder, LIMIT, len(parts.docs), _KINDS)
    found = Tried({}, {}, {})
    for k, postings, answers in _answers(model, parts, k_doc, settings, cosines):
        found.answers[k] = answers
        for one in (each for each in settings if each.k == k):
            found.recalls[one] = recalls(answers.top(one, LIMIT), cosines, LIMIT)
            work = (one.candidates or 0) * _WORK.get(one.rescore or "", 0.0)
            found.cost[one] = postings * points + work
    return found


def _answers(
    model: CSRModel, parts: Parts, k_doc: int, settings: Sequence[Setting], cosines: Floats
) -> Iterator[tuple[int, float, Answers]]:
    """Yield each k of a query, its postings per query and document, and its candidates."""
    codes = model.encode(parts.docs, k=k_doc)
    estimates = np.empty_like(cosines)
    for start in range(0, len(codes), _BLOCK):
        span = slice(start, start + _BLOCK)
        rest = model.encode_residuals(parts.docs[span], codes[span])
        estimates[:, span] = model.estimate_cosines(parts.queries, codes[span], rest)
    depth = max(one.candidates or LIMIT for one in settings)
    for k in sorted({one.k for one in settings}):
        asked = model.encode_query(parts.queries, k=k)
        scores = np.asarray(asked.dot(codes))
        answers = _ranked(scores, depth, {"codes": estimates, "dense": cosines})
        yield k, float(posting_cost(asked, codes).mean()), answers


def _ranked(scores: Floats, depth: int, by: Mapping[Rescore, Floats]) -> Answers:
    """Return the best of the sparse stage, with their scores in the second."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    first = np.take_along_axis(scores, order, axis=1)
    missed = first == 0  # no latent in common: an inverted index does not find it
    taken: dict[Rescore | None, Doubles] = {None: first.astype(np.float64)}
    taken |= {
        kind: np.take_along_axis(one, order, axis=1).astype(float) for kind, one in by.items()
    }
    for one in taken.values():
        one[missed] = -np.inf
    return Answers(np.where(missed, -1, order), taken)
