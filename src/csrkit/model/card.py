"""The card: what `csrkit.tune` measured of a model, and what follows for a search.

A card holds one row per `Setting` (the query's k, the candidates, how they are
rescored): recall with an interval, what a query costs, how many come back short;
and maps from scores to cosines. `Card.cheapest` and `Card.effort` choose from
the rows, by rules and nothing else. It is written to ``card.json`` beside the
weights, and is no part of the model's fingerprint: the codes do not depend on it.

A card speaks of the data it was measured on: other documents, many more of them,
a filter or another kind of query have another recall. `Card.queries` says
whether queries were given or documents stood in for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from csrkit.errors import ConfigError
from csrkit.metrics import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Calibration", "Card", "Effort", "Measured", "Rescore", "Setting"]

CARD_FORMAT = 1
EFFORT_SHARES = {"fast": 0.85, "balanced": 0.95, "accurate": 0.99}

Rescore: TypeAlias = Literal["codes", "dense"]
Effort: TypeAlias = Literal["fast", "balanced", "accurate"]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_Cost: TypeAlias = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Setting:
    """How much work a search does.

    Attributes:
        k: Latents of the query code, at least 1.
        candidates: Hits of the sparse stage that are rescored, at least 1; None
            without rescoring.
        rescore: "codes" for the cosine with the decoded codes, "dense" for that
            with the dense vectors, None to keep the sparse scores.

    Raises:
        ConfigError: If k or candidates is below 1, or one of candidates and
            rescore is given without the other.
    """

    k: int
    candidates: int | None = None
    rescore: Rescore | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.k < 1 or (self.candidates is not None and self.candidates < 1):
            raise ConfigError(f"expected k and candidates of at least 1, got {self}")
        if (self.candidates is None) != (self.rescore is None):
            raise ConfigError(f"expected candidates with rescore and none without, got {self}")

    def __str__(self) -> str:
        if self.rescore is None:
            return f"k={self.k}"
        return f"k={self.k}, candidates={self.candidates}, rescore={self.rescore!r}"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measured(_Frozen):
    """One row of a card: a setting and what it did on the card's queries."""

    setting: Setting
    recall: Interval = Field(
        description="mean recall@limit, with an interval that covers at once with those of all rows"
    )
    worst: _Share = Field(description="mean recall of the worst 5% of queries")
    posting_cost: _Cost = Field(description="postings visited per query and document")
    ms: _Cost = Field(description="median time of one query alone, BLAS on one thread")
    cost: _Cost = Field(
        description="the ms that a query should take, by a model of all rows: see csrkit.tuning"
    )
    short: _Share = Field(description="share of queries with fewer hits than limit")

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, value, high = self.recall
        if not 0 <= low <= value <= high <= 1:
            raise ValueError(f"expected 0 <= low <= value <= high <= 1, got {self.recall}")
        return self


class Calibration(_Frozen):
    """A rising map from the scores of one kind of search to the dense cosine.

    Straight lines between knots, flat outside of them.
    """

    k: int = Field(ge=1, description="latents of the query code")
    rescore: Literal["codes"] | None = Field(description="which scores: see Setting")
    scores: tuple[float, ...] = Field(min_length=1, max_length=1000, description="knots, rising")
    cosines: tuple[float, ...] = Field(description="value at each knot, never falling")
    pairs: int = Field(ge=1, description="held-out pairs that the errors are of")
    mean_error: _Cost = Field(description="mean absolute error in cosine, on the held-out pairs")
    p95_error: _Cost = Field(description="absolute error that 95% of these pairs stay below")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.scores) != len(self.cosines):
            raise ValueError(f"expected {len(self.scores)} cosines, got {len(self.cosines)}")
        if not all(a < b for a, b in pairwise(self.scores)):
            raise ValueError("expected scores that rise")
        inside = self.cosines[0] >= -1 and self.cosines[-1] <= 1
        if not inside or not all(a <= b for a, b in pairwise(self.cosines)):
            raise ValueError("expected cosines that never fall, from -1 to 1")
        return self

    def apply(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return the cosine that each score stands for, in the shape of scores."""
        return np.asarray(np.interp(np.asarray(scores), self.scores, self.cosines))


class Card(_Frozen):
    """What was measured of one model, on which data, and how; see `csrkit.tune`."""

    format: int = Field(default=CARD_FORMAT, ge=1)
    csrkit: str = Field(description="version that measured it")
    fingerprint: str = Field(pattern="^[0-9a-f]{64}$", description="of the model")
    k_doc: int = Field(ge=1, description="latents of the stored codes")
    residuals: bool = Field(description="whether rescoring by codes had residual bits")
    refitted: bool = Field(
        default=False, description="whether the stored codes were refitted: see CSRModel.refit"
    )
    n_docs: int = Field(ge=1, description="documents searched")
    n_queries: int = Field(ge=1, description="queries measured with")
    queries: Literal["given", "documents"] = Field(
        description="whether queries were given, or held-out documents stood in for them"
    )
    limit: int = Field(ge=1, description="hits per query that recall is of")
    store: str = Field(description="type of the store that was searched")
    seed: int = Field(ge=0, description="of the choice of queries and of the intervals")
    measured: tuple[Measured, ...] = Field(min_length=1, max_length=10_000)
    calibrations: tuple[Calibration, ...] = Field(default=(), max_length=2000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        settings = [row.setting for row in self.measured]
        kinds = [(one.k, one.rescore) for one in self.calibrations]
        if len({*settings}) < len(settings) or len({*kinds}) < len(kinds):
            raise ValueError("expected each setting and each kind of score once")
        if self.residuals and self.refitted:
            raise ValueError("expected refitted codes without residual bits, got both")
        return self

    def summary(self) -> str:
        """Say in one line what was measured, on what, and the range of recall."""
        values = sorted(row.recall.value for row in self.measured)
        asked = "queries" if self.queries == "given" else "documents as queries"
        return (
            f"{len(values)} measured with {self.n_queries} {asked} over {self.n_docs} documents "
            f"at k={self.k_doc}: recall@{self.limit} {values[0]:.3f} to {values[-1]:.3f}"
        )

    # -- choosing a setting -----------------------------------------------------

    def find(self, setting: Setting) -> Measured | None:
        """Return the row of a setting, or None if it was not measured."""
        return next((row for row in self.measured if row.setting == setting), None)

    def cheapest(
        self, recall: float, *, rescore: Rescore | Literal["any"] | None = "any"
    ) -> Measured:
        """Choose the cheapest setting whose lower bound reaches a recall.

        The intervals cover all rows at once, so the promise holds although the
        setting was chosen by the same measurements.

        Args:
            recall: Recall to reach, in (0, 1].
            rescore: The kind of rescoring that is at hand: settings with it and
                settings without rescoring are considered. "any" considers all.

        Returns:
            The row of lowest cost; equal costs go to the smaller k, then to
            fewer candidates.

        Raises:
            ConfigError: If no setting reaches it; the message names the best.
        """
        number = isinstance(recall, int | float | np.integer | np.floating)
        if not number or isinstance(recall, bool) or not 0 < recall <= 1:
            raise ConfigError(f"expected a recall above 0 and at most 1, got recall={recall!r}")
        rows = self._rows(rescore)
        reached = [row for row in rows if row.recall.low >= recall]
        if not reached:
            best = max(rows, key=lambda row: row.recall.low)
            low, value, high = best.recall
            raise ConfigError(
                f"no measured setting promises recall={recall}: the best is {best.setting} with "
                f"{value:.3f} ({low:.3f} to {high:.3f}); ask for at most {_floor(low)}, "
                "or tune with a longer k_doc, more queries or dense rescoring"
            )
        return min(reached, key=_by_cost)

    def effort(
        self, effort: Effort, *, rescore: Rescore | Literal["any"] | None = "any"
    ) -> Measured:
        """Choose a setting by name.

        It is the cheapest whose mean recall is at least a share of the best
        mean recall measured: 0.85 for "fast", 0.95 for "balanced", 0.99 for
        "accurate". So none of the three is dearer, or worse, than the next.

        Args:
            effort: "fast", "balanced" or "accurate".
            rescore: The kind of rescoring that is at hand, as in `cheapest`.

        Returns:
            The row of lowest cost.

        Raises:
            ConfigError: If the name is another, or nothing was measured without
                rescoring and none is at hand.
        """
        if not isinstance(effort, str) or effort not in EFFORT_SHARES:
            raise ConfigError(
                f"expected effort to be one of {', '.join(EFFORT_SHARES)}, got {effort!r}"
            )
        rows = self._rows(rescore)
        enough = EFFORT_SHARES[effort] * max(row.recall.value for row in rows)
        return min((row for row in rows if row.recall.value >= enough), key=_by_cost)

    def frontier(self, *, rescore: Rescore | Literal["any"] | None = "any") -> list[Measured]:
        """List the settings worth having: those whose recall no cheaper one reaches.

        Args:
            rescore: The kind of rescoring that is at hand, as in `cheapest`.

        Returns:
            Their rows, cheapest first.

        Raises:
            ConfigError: If nothing was measured without rescoring and none is at hand.
        """
        best, kept = -1.0, []
        for row in sorted(self._rows(rescore), key=_by_cost):
            if row.recall.value > best:
                best = row.recall.value
                kept.append(row)
        return kept

    def _rows(self, rescore: Rescore | Literal["any"] | None) -> list[Measured]:
        kinds = {None, "codes", "dense"} if rescore == "any" else {None, rescore}
        rows = [row for row in self.measured if row.setting.rescore in kinds]
        if not rows:
            raise ConfigError(
                f"expected settings measured with rescore={rescore!r}, the card has none: tune it"
            )
        return rows

    # -- calibrated scores ------------------------------------------------------

    def to_cosine(self, scores: ArrayLike, setting: Setting) -> NDArray[np.float64]:
        """Turn the scores of a search into estimates of the dense cosine.

        Between two calibrated k the two maps are mixed, by the logarithm of k.
        Scores of dense rescoring are cosines already and come back as they are.

        Args:
            scores: Scores of hits, any shape.
            setting: How they were searched for; candidates do not matter.

        Returns:
            float64 in the shape of scores, rising with them.

        Raises:
            ConfigError: If k is outside of what was calibrated.
        """
        if setting.rescore == "dense":
            return np.asarray(scores, dtype=np.float64)
        maps = sorted(self._calibrated(setting.rescore), key=lambda one: one.k)
        below = [one for one in maps if one.k <= setting.k]
        above = [one for one in maps if one.k >= setting.k]
        if not below or not above:
            known = f"k from {maps[0].k} to {maps[-1].k}" if maps else "no such scores"
            raise ConfigError(
                f"expected a setting whose scores were calibrated, got {setting}: "
                f"the card knows {known}"
            )
        low, high = below[-1], above[0]
        share = 0.0 if low is high else math.log(setting.k / low.k) / math.log(high.k / low.k)
        return (1 - share) * low.apply(scores) + share * high.apply(scores)

    def _calibrated(self, rescore: Rescore | None) -> Iterator[Calibration]:
        return (one for one in self.calibrations if one.rescore == rescore)


def _by_cost(row: Measured) -> tuple[float, int, int]:
    return row.cost, row.setting.k, row.setting.candidates or 0


def _floor(low: float) -> str:
    return f"{math.floor(low * 1000) / 1000:.3f}"
