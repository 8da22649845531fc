"""Recall as checks: over the whole collection, of its worst queries, and within filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from csrkit.collection.verdicts.verdict import Check

if TYPE_CHECKING:
    from csrkit.collection.verdicts.verdict import Searched, VerifyConfig

__all__ = ["FLOOR", "RECALL", "of_group", "of_nothing", "of_recall"]

RECALL, FLOOR = "recall", "worst queries"


def of_recall(results: Sequence[Searched], config: VerifyConfig) -> Iterator[Check]:
    """Check recall over the whole collection.

    Args:
        results: What searches found, the gated stage last; none if there was nothing to find.
        config: The gates.

    Yields:
        The checks of the mean and of the worst queries.
    """
    if not results:
        yield Check.of(RECALL, True, "nothing to find", "", "There are too few points to search.")
        return
    last = results[-1]
    low, value, high = last.recall
    passed = low >= config.min_recall
    found = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    asked = f"{last.queries:,} {'documents as queries' if config.queries is None else 'queries'}"
    sentence = (
        f"recall@10 against the engine's exact search is {found} over {asked} ({_how(last)})"
        f"{_first_stage(results)}"
    )
    advice = (
        f"; expected its lower end to reach {config.min_recall:g}. Search with more effort, "
        "rescore by the dense vectors, or fit a model for this collection with a larger k."
    )
    yield Check.of(
        RECALL, passed, found, f"lower end at least {config.min_recall:g}",
        f"The {sentence}{'.' if passed else advice}",
    )  # fmt: skip
    floor = last.floor
    passed = floor >= config.min_query_recall
    words = f"The worst twentieth of the queries have a mean recall@10 of {floor:.3f}"
    yield Check.of(
        FLOOR, passed, f"{floor:.3f}", f"at least {config.min_query_recall:g}",
        f"{words}." if passed else f"{words}, expected {config.min_query_recall:g}: some kinds of "
        "queries are served badly; --by a payload field may show which.",
    )  # fmt: skip


def _how(one: Searched) -> str:
    words = {"sparse": "codes alone", "codes": "rescored by codes", "dense": "rescored by vectors"}
    return f"{one.setting}, {words[one.stage]}"


def _first_stage(results: Sequence[Searched]) -> str:
    if len(results) < 2:
        return ""
    return f"; that of the codes alone, without rescoring, is {results[0].recall.value:.3f}"


def of_group(one: Searched, config: VerifyConfig) -> Check:
    """Check recall within a filter.

    Args:
        one: What searches found in the gated stage.
        config: The gates.

    Returns:
        The check.
    """
    low, value, high = one.recall
    found = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    passed = value >= config.least_group
    words = f"Within {one.name} the recall@10 is {found} over {one.queries:,} queries"
    advice = (
        f", expected a mean of {config.least_group:g}: what lies there is unlike what the model "
        "was fitted on. Fit one on a sample that has more of it, or search it by the dense vector."
    )
    return Check.of(
        f"{RECALL} of {one.name}",
        passed,
        found,
        f"mean at least {config.least_group:g}",
        f"{words}{'.' if passed else advice}",
    )


def of_nothing(name: str, config: VerifyConfig) -> Check:
    """Fail a filter that was named and matches nothing: it would pass whatever the codes are.

    Args:
        name: Its name.
        config: The gates.

    Returns:
        The check.
    """
    expected = f"mean at least {config.least_group:g}"
    sentence = f"No point matches {name}: check its field and value, and whether it is a text."
    return Check.of(f"{RECALL} of {name}", False, "no points", expected, sentence)
