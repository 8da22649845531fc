"""From k, effort and recall to a setting: the card's choice, the ladder's, or a clear error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from csrkit import CSRModel
from csrkit.errors import ConfigError
from csrkit.model.card import Card, Setting
from csrkit.search import Searcher
from csrkit.stores import MemoryStore

MakeCard = Callable[..., Card]
MakeSearcher = Callable[..., Searcher]


@pytest.fixture
def searcher(model: CSRModel, docs: np.ndarray, make_card: MakeCard) -> MakeSearcher:
    """Make a filled searcher of a model with or without a card."""

    def make(card: dict[str, Any] | None = None, **arguments: Any) -> Searcher:
        carded = model if card is None else model.with_card(make_card(**card))
        made = Searcher(carded, MemoryStore(), **arguments)
        made.upsert(range(len(docs)), docs)
        return made

    return make


DENSE = {"rescore": "dense", "dense": lambda ids: np.ones((len(ids), 16))}


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, Setting(4, 100, "codes")),
        ({"effort": "fast"}, Setting(2, 100, "codes")),
        ({"effort": "balanced"}, Setting(4, 100, "codes")),
        ({"effort": "accurate"}, Setting(8, 400, "codes")),
        ({"effort": "fast", "candidates": 11}, Setting(2, 11, "codes")),
        ({"effort": "fast", "limit": 150}, Setting(2, 150, "codes")),
        ({"k": 3}, Setting(3, 100, "codes")),
        ({"k": np.int32(64), "candidates": 30, "limit": 30}, Setting(64, 30, "codes")),
    ],
)
def test_without_a_card_the_ladder_is_the_dial(
    wish: dict[str, Any], expected: Setting, searcher: MakeSearcher, queries: np.ndarray
) -> None:
    results = searcher().search(queries, **wish)
    assert results.setting == expected
    assert results.promised is None


@pytest.mark.parametrize(("effort", "k"), [("fast", 2), ("balanced", 4), ("accurate", 8)])
def test_without_rescoring_a_setting_is_a_k(
    effort: str, k: int, searcher: MakeSearcher, docs: np.ndarray, queries: np.ndarray
) -> None:
    plain = searcher(rescore=None)
    results = plain.search(queries, effort=effort)
    assert results.setting == Setting(k)
    codes = plain.model.encode_query(queries, k=k)
    assert list(results) == plain.store.search(codes, limit=10)


@pytest.mark.parametrize(
    ("rescore", "wish", "expected"),
    [
        ("codes", {"recall": 0.5}, Setting(4)),  # cheaper than rescoring, and enough
        ("codes", {"recall": 0.6}, Setting(2, 20, "codes")),
        ("codes", {"recall": 0.75}, Setting(4, 20, "codes")),
        ("codes", {"recall": 0.9, "limit": 10}, Setting(8, 50, "codes")),
        ("dense", {"recall": 0.8}, Setting(4, 20, "dense")),
        ("dense", {"recall": 0.9}, Setting(8, 50, "dense")),
        (None, {"recall": 0.4}, Setting(4)),
        (None, {}, Setting(4)),
        ("codes", {"effort": "fast"}, Setting(4, 20, "codes")),
        ("codes", {}, Setting(8, 50, "codes")),
        ("dense", {}, Setting(8, 50, "dense")),
    ],
)
def test_a_card_chooses_and_promises(
    rescore: str | None,
    wish: dict[str, Any],
    expected: Setting,
    searcher: MakeSearcher,
    queries: np.ndarray,
    make_card: MakeCard,
) -> None:
    made = searcher(
        {"residuals": rescore == "codes"}, **(DENSE if rescore == "dense" else {"rescore": rescore})
    )
    results = made.search(queries, **wish)
    assert results.setting == expected
    row = make_card().find(expected)
    assert row is not None
    assert results.promised == row.recall
    assert results.hits == made.run(queries, expected, limit=wish.get("limit", 10))


def test_what_was_not_measured_is_not_promised(searcher: MakeSearcher, queries: np.ndarray) -> None:
    made = searcher({})
    assert made.search(queries, k=8, candidates=50).promised is not None
    assert made.search(queries, k=8, candidates=60).promised is None
    assert made.search(queries, k=7, candidates=50).promised is None
    for other in (5, 11):  # the card measured recall@10
        assert made.search(queries, k=8, candidates=50, limit=other).promised is None
    longer = made.search(queries, effort="fast", limit=25)
    assert (longer.setting, longer.promised) == (Setting(4, 25, "codes"), None)


@pytest.mark.parametrize(
    ("card", "arguments", "message"),
    [
        (None, {}, r"what gives recall=0\.9, but this model has none: run csrkit\.tune"),
        ({"k_doc": 8}, {"k_doc": 4}, r"with k_doc=8 and this Searcher has k_doc=4: run .*k_doc=4"),
        ({"residuals": False}, {"residuals": True}, r"without residual bits .* keeps some: run "),
        ({"kinds": (None, "dense")}, {}, r"measured without rescore='codes': run csrkit\.tune"),
    ],
)
def test_a_card_of_other_codes_promises_nothing(
    card: dict[str, Any] | None,
    arguments: dict[str, Any],
    message: str,
    searcher: MakeSearcher,
    queries: np.ndarray,
) -> None:
    made = searcher(card, **arguments)
    with pytest.raises(ConfigError, match=f"expected a card.*{message}.*or choose k= or effort="):
        made.search(queries, recall=0.9)
    assert made.search(queries).setting == Setting(4, 100, "codes")
    assert made.search(queries, k=8, candidates=50).promised is None


def test_a_card_measured_with_bits_says_nothing_of_codes_alone(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, make_card: MakeCard
) -> None:
    carded = model.with_card(make_card(residuals=True))
    made = Searcher(carded, MemoryStore())
    made.store.upsert(range(len(docs)), model.encode(docs, k=8))
    with pytest.raises(ConfigError, match="measured with residual bits and this store keeps none"):
        made.search(queries, recall=0.9)
    plain = Searcher(carded, made.store, rescore=None)  # sparse scores do not depend on bits
    assert plain.search(queries, recall=0.5).setting == Setting(4)


def test_k_doc_is_the_cards_unless_given(model: CSRModel, make_card: MakeCard) -> None:
    carded = model.with_card(make_card(k_doc=3))
    rows = np.random.default_rng(0).normal(size=(5, 16))
    for arguments, k in (({}, 3), ({"k_doc": 5}, 5)):
        made = Searcher(carded, MemoryStore(), **arguments)
        made.upsert(range(5), rows)
        assert made.k_doc == k
        assert made.store.fetch(range(5)) == model.encode(rows, k=k)
    assert Searcher(model, MemoryStore()).k_doc == 8


@pytest.mark.parametrize(
    ("arguments", "wish", "message"),
    [
        ({}, {"k": 4, "effort": "fast"}, "one of k, effort and recall, got k=4 and effort='fast'"),
        ({}, {"k": 4, "recall": 0.9}, r"one of k, effort and recall, got k=4 and recall=0\.9"),
        ({}, {"effort": "fast", "recall": 0.9}, r"got effort='fast' and recall=0\.9"),
        ({}, {"k": 0}, r"expected k from 1 to n_latents=64, got search\(k=0\)"),
        ({}, {"k": 65}, r"expected k from 1 to n_latents=64, got search\(k=65\)"),
        ({}, {"k": 4.0}, r"expected k from 1 to n_latents=64, got search\(k=4\.0\)"),
        ({}, {"k": True}, r"expected k from 1 to n_latents=64, got search\(k=True\)"),
        ({}, {"effort": "slow"}, "effort to be one of fast, balanced, accurate, got 'slow'"),
        ({}, {"candidates": 9}, "expected at least limit=10 candidates, got candidates=9"),
        ({}, {"candidates": 20.0}, r"at least limit=10 candidates, got candidates=20\.0"),
        ({}, {"limit": 0}, "expected a limit of at least 1 hit, got limit=0"),
        ({"rescore": None}, {"candidates": 50}, "no candidates from a Searcher with rescore=None"),
        ({"card": {}}, {"effort": "slow"}, "effort to be one of fast, balanced, accurate"),
        ({"card": {}}, {"recall": 0}, "expected a recall above 0 and at most 1, got recall=0"),
        ({"card": {}}, {"recall": 0.95}, r"no measured setting promises recall=0\.95: the best is"),
        (
            {"card": {}},
            {"recall": 0.9, "candidates": 50},
            r"recall alone.*got recall=0\.9 and cand",
        ),
        ({"card": {}}, {"recall": 0.9, "limit": 11}, r"limit=10, the .*tune\(\.\.\., limit=11\)"),
        ({"card": {}}, {"recall": 0.9, "limit": 5}, r"limit=10, the .*tune\(\.\.\., limit=5\), or"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(
    arguments: dict[str, Any],
    wish: dict[str, Any],
    message: str,
    searcher: MakeSearcher,
    queries: np.ndarray,
) -> None:
    made = searcher(**arguments)
    with pytest.raises(ConfigError, match=message):
        made.search(queries, **wish)


@pytest.mark.parametrize("setting", [Setting(4, 20, "dense"), Setting(4, 20, "codes")])
def test_run_refuses_another_rescoring(
    setting: Setting, searcher: MakeSearcher, queries: np.ndarray
) -> None:
    made = searcher(rescore="codes" if setting.rescore == "dense" else None)
    with pytest.raises(
        ConfigError, match=r"expected a setting for a Searcher with rescore=.*got k=4"
    ):
        made.run(queries, setting)
    assert made.run(queries, Setting(4)) == made.store.search(
        made.model.encode_query(queries, k=4), limit=10
    )
