"""The dial: from what a caller asks for to the setting that is searched with.

Asked for is one of ``k``, ``effort`` and ``recall``, or nothing, which is
``effort="balanced"``. With a card `csrkit.tune` has measured what each setting gives, and
`Card.effort` and `Card.cheapest` choose. Without one ``recall`` is an error, and ``effort``
is a rung of the model's ladder:

    =========  ================  ==========
    effort     k                 candidates
    =========  ================  ==========
    fast       the shortest      100
    balanced   the middle one    100
    accurate   the longest       400
    =========  ================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from csrkit.errors import ConfigError
from csrkit.model.card import Setting
from csrkit.tensors import is_whole

if TYPE_CHECKING:
    from csrkit.metrics import Interval
    from csrkit.model.card import Card, Effort, Rescore
    from csrkit.model.encoder import SearchEncoder

__all__ = ["CANDIDATES", "Choice", "Dial", "Holds", "Wish", "checked_k", "misfit"]

CANDIDATES = 100  # rescored per query unless asked otherwise; never fewer than limit
MOST_CANDIDATES = 400  # of effort="accurate" without a card
LONGEST = 4  # a query is filled at up to this many times the longest rung, as scales end there


@dataclass(frozen=True)
class Wish:
    """What a caller asked for; see `csrkit.search.Searcher.search`."""

    limit: int
    k: int | None = None
    effort: Effort | None = None
    recall: float | None = None
    candidates: int | None = None


class Holds(NamedTuple):
    """How the documents of a store were written.

    Attributes:
        k_doc: Latents per code.
        residuals: Whether residual bits are kept beside the codes.
        refitted: Whether the codes have the values of `CSRModel.refit`.
    """

    k_doc: int
    residuals: bool
    refitted: bool


class Choice(NamedTuple):
    """The setting to search with, and the recall that was measured for it, if any was."""

    setting: Setting
    promised: Interval | None


@dataclass(frozen=True)
class Dial:
    """Chooses settings for one model, one store and one way to rescore.

    Attributes:
        model: Its ladder bounds the k.
        rescore: How candidates are rescored; None if not at all.
        card: What was measured, if it was measured on codes like the store's.
        why_none: Why there is no card, for the message of ``recall=``.
    """

    model: SearchEncoder
    rescore: Rescore | None
    card: Card | None
    why_none: str

    def choose(self, wish: Wish) -> Choice:
        """Choose a setting.

        Args:
            wish: What was asked for.

        Returns:
            The setting, and what the card promises of it, if it measured this limit.

        Raises:
            ConfigError: If the wish contradicts itself, is out of range, or is a recall that
                no card can promise.
        """
        self._refuse_contradictions(wish)
        setting = self._setting(wish)
        if setting.rescore is not None:
            enough = max(int(wish.candidates or setting.candidates or CANDIDATES), wish.limit)
            setting = replace(setting, candidates=enough)
        return Choice(setting, self._promise(setting, wish.limit))

    def _refuse_contradictions(self, wish: Wish) -> None:
        asked = {"k": wish.k, "effort": wish.effort, "recall": wish.recall}
        given = [f"{name}={value!r}" for name, value in asked.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"expected one of k, effort and recall, got {' and '.join(given)}")
        if wish.candidates is None:
            return
        got = f"candidates={wish.candidates!r}"
        if self.rescore is None:
            raise ConfigError(
                f"expected no candidates from a Searcher with rescore=None, got {got}"
            )
        if wish.recall is not None:
            raise ConfigError(
                f"expected recall alone, which chooses the candidates, got {given[0]} and {got}"
            )
        if not is_whole(wish.candidates) or wish.candidates < wish.limit:
            raise ConfigError(f"expected at least limit={wish.limit} candidates, got {got}")

    def _setting(self, wish: Wish) -> Setting:
        if wish.k is not None:
            return self._at(checked_k("search", "k", wish.k, self.model.n_latents), CANDIDATES)
        if wish.recall is not None:
            return self._promising(wish.recall, wish.limit)
        effort: Effort = "balanced" if wish.effort is None else wish.effort
        if self.card is not None:
            return self.card.effort(effort, rescore=self.rescore).setting
        return self._rung(effort)

    def _promising(self, recall: float, limit: int) -> Setting:
        if self.card is None:
            raise ConfigError(
                f"expected a card that says what gives recall={recall!r}, but {self.why_none}; "
                "or choose k= or effort="
            )
        if limit != self.card.limit:
            raise ConfigError(
                f"expected limit={self.card.limit}, the depth at which the card measured recall, "
                f"got recall={recall!r} with limit={limit}: run csrkit.tune(..., limit={limit}), "
                "or choose k= or effort="
            )
        return self.card.cheapest(recall, rescore=self.rescore).setting

    def _rung(self, effort: Effort) -> Setting:
        ladder = self.model.ladder
        rungs = {
            "fast": (ladder[0], CANDIDATES),
            "balanced": (ladder[len(ladder) // 2], CANDIDATES),
            "accurate": (ladder[-1], MOST_CANDIDATES),
        }
        if not isinstance(effort, str) or effort not in rungs:
            raise ConfigError(f"expected effort to be one of {', '.join(rungs)}, got {effort!r}")
        return self._at(*rungs[effort])

    def _at(self, k: int, candidates: int) -> Setting:
        return Setting(k, None if self.rescore is None else candidates, self.rescore)

    def _promise(self, setting: Setting, limit: int) -> Interval | None:
        if self.card is None or limit != self.card.limit:  # recall@5 is not recall@10
            return None
        measured = self.card.find(setting)
        return None if measured is None else measured.recall

    def longer(self, k: int) -> list[int]:
        """List the k at which a query that fell short is asked again.

        Args:
            k: The k that found too little.

        Returns:
            Larger rungs of the ladder, then 2 and 4 times the longest.
        """
        ladder = self.model.ladder
        rungs = (*ladder, 2 * ladder[-1], LONGEST * ladder[-1])
        return sorted({rung for rung in rungs if k < rung <= self.model.n_latents})


def misfit(card: Card | None, holds: Holds, rescore: Rescore | None) -> str:
    """Say why a card tells nothing about a search.

    Args:
        card: What was measured; None if nothing was.
        holds: What is searched.
        rescore: How candidates are rescored.

    Returns:
        The end of a sentence, or "" if the card tells something.
    """
    if card is None:
        return "this model has none: run csrkit.tune(model, docs)"
    if card.k_doc != holds.k_doc:
        return (
            f"that of this model was measured with k_doc={card.k_doc} and this Searcher has "
            f"k_doc={holds.k_doc}: run csrkit.tune(model, docs, k_doc={holds.k_doc})"
        )
    if rescore is not None and all(row.setting.rescore != rescore for row in card.measured):
        return f"that of this model was measured without rescore={rescore!r}: run csrkit.tune again"
    pairs = [("refitted codes", card.refitted, holds.refitted)]
    if rescore == "codes":  # nothing else depends on bits
        pairs.insert(0, ("residual bits", card.residuals, holds.residuals))
    for what, measured, kept in pairs:
        if measured != kept:
            way, has = ("with", "none") if measured else ("without", "some")
            return f"that of this model was measured {way} {what} and this store keeps {has}: " + (
                _remedy(holds, rescore)
            )
    return ""


def _remedy(holds: Holds, rescore: Rescore | None) -> str:
    if rescore == "codes" and not holds.residuals and not holds.refitted:
        return "fill a new one with Searcher.upsert"  # tune never rescores by such codes
    return f"run csrkit.tune(..., residuals={not holds.refitted})"


def checked_k(call: str, name: str, k: int, n_latents: int) -> int:
    """Refuse a k that is no number of latents.

    Args:
        call: What the caller called, for the message.
        name: Name of its argument.
        k: What it got.
        n_latents: The largest one possible.

    Returns:
        The same as a plain int.

    Raises:
        ConfigError: If it is out of range.
    """
    if not is_whole(k) or not 1 <= k <= n_latents:
        raise ConfigError(
            f"expected {name} from 1 to n_latents={n_latents}, got {call}({name}={k!r})"
        )
    return int(k)
