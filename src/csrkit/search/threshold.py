"""Thresholds in cosine units: which hits of a search are near enough to the query.

    keep a hit if  cosine(score) >= threshold

A rescored hit's score is a cosine already, estimated or exact; a card sharpens the estimated
one. The score of a sparse search is a cosine between codes, which means something else at each
k: it becomes a dense cosine only through the map that `csrkit.tune` measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from csrkit.model.card import Card, Setting
    from csrkit.stores.base import Hit

__all__ = ["Threshold"]


@dataclass(frozen=True)
class Threshold:
    """The least dense cosine of a hit.

    Attributes:
        cosine: From -1 to 1.
        card: What was measured of the model; None if nothing was.
        why_none: Why there is no card, for the message.

    Raises:
        ConfigError: If it is no cosine.
    """

    cosine: float
    card: Card | None
    why_none: str

    def __post_init__(self) -> None:
        number = isinstance(self.cosine, int | float | np.integer | np.floating)
        if not number or isinstance(self.cosine, bool) or not -1 <= self.cosine <= 1:
            raise ConfigError(
                f"expected score_threshold as a cosine from -1 to 1, got {self.cosine!r}"
            )

    def refuse_unreadable(self, setting: Setting) -> None:
        """Refuse a setting whose scores nothing turns into cosines.

        Args:
            setting: How the hits are searched for.

        Raises:
            ConfigError: If they are scores of codes, and no card knows them at this k.
        """
        if setting.rescore is not None:
            return
        if self.card is None:
            raise ConfigError(
                f"expected a card to read score_threshold={self.cosine} at {setting}, where scores "
                f"are no dense cosines, but {self.why_none}; or rescore"
            )
        self.card.to_cosine([], setting)

    def reads(self, setting: Setting) -> bool:
        """Tell whether the scores of a setting can be compared with the threshold."""
        try:
            self.refuse_unreadable(setting)
        except ConfigError:
            return False
        return True

    def keep(self, hits: Sequence[Hit], setting: Setting) -> list[Hit]:
        """Keep the hits that are near enough.

        Args:
            hits: Of one query, best first.
            setting: How they were searched for.

        Returns:
            Those whose cosine reaches the threshold, in order.

        Raises:
            ConfigError: As `refuse_unreadable`.
        """
        scores = np.array([hit.score for hit in hits], dtype=np.float64)
        if self.card is not None:
            try:
                scores = self.card.to_cosine(scores, setting)
            except ConfigError:  # estimated cosines that nobody calibrated stand for themselves
                if setting.rescore is None:
                    raise
        return [hit for hit, near in zip(hits, scores >= self.cosine, strict=True) if near]
