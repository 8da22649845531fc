"""What goes into a store: residual bits, refitted codes, or plain ones; and what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit import CSRModel
from csrkit.errors import ConfigError, StoreError
from csrkit.model.card import Card, Setting
from csrkit.search import Searcher
from csrkit.stores import EdgeStore, MemoryStore, Store

MakeCard = Callable[..., Card]


class OnlyAStore:
    """The smallest protocol: keeps no bits, and notes no codec."""

    def __init__(self) -> None:
        memory = MemoryStore()
        self.upsert, self.search, self.fetch = memory.upsert, memory.search, memory.fetch
        self.delete, self.count = memory.delete, memory.count


def codes_in(store: Store) -> np.ndarray:
    return store.fetch(range(store.count())).to_dense()


@pytest.fixture
def written(model: CSRModel, docs: np.ndarray) -> dict[str, np.ndarray]:
    """The first 30 documents as codes of 8 latents, plain and refitted."""
    plain = model.encode(docs[:30], k=8)
    both = {"plain": plain.to_dense(), "refitted": model.refit(docs[:30], plain).to_dense()}
    assert np.abs(both["plain"] - both["refitted"]).max() > 0.05
    return both


@pytest.mark.parametrize(
    ("make", "arguments", "expected", "bits"),
    [
        (MemoryStore, {}, "plain", True),
        (MemoryStore, {"residuals": True}, "plain", True),
        (MemoryStore, {"residuals": False}, "refitted", False),
        (MemoryStore, {"rescore": None}, "plain", False),
        (MemoryStore, {"rescore": None, "residuals": True}, "plain", True),
        (MemoryStore, {"rescore": "dense", "dense": np.ones((300, 16))}, "plain", False),
        (OnlyAStore, {}, "refitted", False),
        (OnlyAStore, {"residuals": False}, "refitted", False),
        (OnlyAStore, {"rescore": None}, "plain", False),
    ],
)
def test_codes_are_refitted_where_codes_alone_rescore(
    make: Callable[[], Any],
    arguments: dict[str, Any],
    expected: str,
    bits: bool,
    model: CSRModel,
    docs: np.ndarray,
    written: dict[str, np.ndarray],
) -> None:
    store = make()
    Searcher(model, store, **arguments).upsert(range(30), docs[:30])
    np.testing.assert_allclose(codes_in(store), written[expected], atol=1e-6)
    assert bool(getattr(store, "residual_bytes", 0)) == bits


@pytest.mark.parametrize("expected", ["plain", "refitted"])
def test_later_upserts_follow_the_first(
    expected: str,
    model: CSRModel,
    docs: np.ndarray,
    written: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    first = {"rescore": None} if expected == "plain" else {"residuals": False}
    with EdgeStore(tmp_path / "index") as store:
        Searcher(model, store, **first).upsert(range(10), docs[:10])
        Searcher(model, store).upsert(range(10, 20), docs[10:20])
    with EdgeStore(tmp_path / "index", create=False) as store:  # and know it when reopened
        Searcher(model, store, rescore=None).upsert(range(20, 25), docs[20:25])
        Searcher(model, store, residuals=False).upsert(range(25, 30), docs[25:30])
        np.testing.assert_allclose(codes_in(store), written[expected], atol=1e-6)
        assert store.residual_bytes == 0


@pytest.mark.parametrize("order", [0, 1])
def test_two_searchers_may_share_a_new_store(
    order: int, model: CSRModel, docs: np.ndarray, written: dict[str, np.ndarray]
) -> None:
    store = MemoryStore()
    kinds: list[dict[str, Any]] = [{"rescore": None}, {"residuals": False}]
    first, second = (Searcher(model, store, **kinds[at]) for at in (order, 1 - order))
    second.upsert(range(15), docs[:15])
    first.upsert(range(15, 30), docs[15:30])
    same = [np.allclose(codes_in(store), one, atol=1e-6) for one in written.values()]
    assert same.count(True) == 1  # one kind, not a mixture
    assert first.search(docs[3], k=8)[0][0].id == second.search(docs[3], k=8)[0][0].id == 3


def test_an_emptied_store_keeps_its_widths(model: CSRModel, docs: np.ndarray) -> None:
    for residuals, width in ((False, 0), (True, model.residual_bytes)):
        store = MemoryStore()
        Searcher(model, store, residuals=residuals).upsert([1], docs[:1])
        store.delete([1])
        Searcher(model, store, residuals=not residuals).upsert([2], docs[:1])
        assert (store.count(), store.residual_bytes) == (1, width)


def test_codes_of_another_model_are_refused_however_written(
    model: CSRModel, docs: np.ndarray
) -> None:
    other = replace(model, pre_bias=-model.pre_bias)
    for residuals in (True, False):
        store = MemoryStore()
        Searcher(model, store, residuals=residuals).upsert([1], docs[:1])
        for again in (True, False):
            with pytest.raises(StoreError, match=f"got the codec {other.fingerprint[:12]}"):
                Searcher(other, store, residuals=again)
    new = MemoryStore()
    ours, theirs = Searcher(model, new, residuals=False), Searcher(other, new, residuals=False)
    ours.upsert([1], docs[:1])
    with pytest.raises(StoreError, match="encode the documents again into a new store"):
        theirs.upsert([2], docs[:1])


def test_bits_are_refused_where_none_can_be_kept(model: CSRModel) -> None:
    with pytest.raises(ConfigError, match=r"for residuals=True, got a OnlyAStore: leave it out"):
        Searcher(model, OnlyAStore(), residuals=True)


# -- what a card says of it ---------------------------------------------------------------


def test_a_store_is_written_as_its_card_was_measured(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, make_card: MakeCard
) -> None:
    carded = model.with_card(make_card(residuals=False, refitted=True))
    made = Searcher(carded, MemoryStore())
    made.upsert(range(len(docs)), docs)
    results = made.search(queries, recall=0.75)
    assert results.setting == Setting(4, 20, "codes")
    assert results.promised == pytest.approx((0.8, 0.81, 0.82))
    assert made.store.fetch(range(9)) == model.refit(docs[:9], model.encode(docs[:9], k=8))


@pytest.mark.parametrize(
    ("card", "stored", "rescore", "message"),
    [
        ("refitted", "plain", "codes", "with refitted codes .* keeps none: fill a new one with"),
        ("refitted", "plain", None, r"with refitted codes .* keeps none: run .*residuals=True"),
        ("refitted", "bits", None, r"with refitted codes .* keeps none: run .*residuals=True"),
        ("refitted", "bits", "codes", r"without residual bits .* keeps some: .*residuals=True"),
        ("bits", "refitted", "codes", r"with residual bits .* keeps none: run .*residuals=False"),
        ("bits", "refitted", None, r"without refitted codes .* keeps some: .*residuals=False"),
        ("bits", "plain", "codes", "with residual bits .* keeps none: fill a new one with Search"),
        ("bits", "plain", None, ""),  # sparse scores do not depend on bits
        ("bits", "bits", "codes", ""),
        ("refitted", "refitted", None, ""),
    ],
)
def test_a_promise_is_of_codes_written_alike(
    card: str,
    stored: str,
    rescore: Any,
    message: str,
    model: CSRModel,
    docs: np.ndarray,
    queries: np.ndarray,
    make_card: MakeCard,
) -> None:
    facts = {"residuals": card == "bits", "refitted": card == "refitted"}
    store = MemoryStore()
    if stored == "plain":
        store.upsert(range(len(docs)), model.encode(docs, k=8))
    else:
        Searcher(model, store, residuals=stored == "bits").upsert(range(len(docs)), docs)
    made = Searcher(model.with_card(make_card(**facts)), store, rescore=rescore)
    if message:
        with pytest.raises(ConfigError, match=f"that of this model was measured {message}"):
            made.search(queries, recall=0.5)
        assert made.search(queries).promised is None
    else:
        assert made.search(queries, recall=0.5).promised is not None


def test_a_store_filled_behind_its_back_is_not_taken_for_refitted(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, make_card: MakeCard
) -> None:
    carded = model.with_card(make_card(residuals=False, refitted=True))
    made = Searcher(carded, MemoryStore())  # would refit, but is not what fills the store
    made.store.upsert(range(len(docs)), model.encode(docs, k=8))
    assert made.search(queries, k=4, candidates=20).promised is None
    made.upsert([5], docs[5:6])
    np.testing.assert_allclose(
        made.store.fetch([5]).to_dense(), model.encode(docs[5:6], k=8).to_dense(), atol=1e-6
    )
