"""`tune` from end to end: its card says what is so, and what it promises holds on other queries."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import csrkit
from csrkit import CSRModel
from csrkit.errors import ConfigError, ShapeError
from csrkit.metrics import exact_top, posting_cost, recall_at
from csrkit.model import Card, Measured, Setting
from csrkit.search import Searcher
from csrkit.stores import EdgeStore, MemoryStore
from csrkit.tuning import tune
from csrkit.tuning.answers import answers
from csrkit.tuning.grid import grid
from csrkit.tuning.intervals import simultaneous_intervals
from csrkit.tuning.trial import Plan, split, trial

LIMIT = 10


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def docs(clustered: Callable) -> np.ndarray:
    return clustered(600)


@pytest.fixture(scope="module")
def queries(clustered: Callable) -> np.ndarray:
    return clustered(600, seed=1)


@pytest.fixture(scope="module")
def model(docs: np.ndarray, landmark_model: Callable) -> CSRModel:
    return landmark_model(docs)


@pytest.fixture(scope="module")
def tuned(model: CSRModel, docs: np.ndarray, queries: np.ndarray) -> CSRModel:
    return tune(model, docs, queries[:150], store=MemoryStore(), progress=False)


@pytest.fixture(scope="module")
def card(tuned: CSRModel) -> Card:
    assert tuned.card is not None
    return tuned.card


# -- what the card says -------------------------------------------------------------------


def test_the_card_says_what_was_done(card: Card, model: CSRModel) -> None:
    assert card.model_dump(exclude={"measured", "calibrations"}) == {
        "format": 1,
        "csrkit": csrkit.__version__,
        "fingerprint": model.fingerprint,
        "k_doc": 16,
        "residuals": True,
        "refitted": False,
        "n_docs": 600,
        "n_queries": 150,
        "queries": "given",
        "limit": 10,
        "store": "MemoryStore",
        "seed": 0,
    }
    assert [row.setting for row in card.measured] == grid((4, 8, 16), 10, 600, ("codes", "dense"))
    assert [(one.k, one.rescore) for one in card.calibrations] == [
        (k, rescore) for k in (4, 8, 16) for rescore in (None, "codes")
    ]


def test_every_row_is_what_a_search_does(
    card: Card, model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    """The same by other means: new stores, Searcher, one sort."""
    asked = unit(queries[:150])
    truth = exact_top(asked, unit(docs), LIMIT)
    searchers = {
        rescore: Searcher(model, MemoryStore(), rescore=rescore, dense=dense)
        for rescore, dense in ((None, None), ("codes", None), ("dense", docs))
    }
    for searcher in searchers.values():
        searcher.upsert(np.arange(600), docs)
    for row in card.measured:
        hits = searchers[row.setting.rescore].run(asked, row.setting, limit=LIMIT)
        recalls = recall_at([[hit.id for hit in one] for one in hits], truth, LIMIT)
        # float32 sums in another order may swap the tenth with the eleventh
        assert row.recall.value == pytest.approx(recalls.mean(), abs=0.002)
        assert row.worst == pytest.approx(np.sort(recalls)[:8].mean(), abs=0.02)
        assert row.short == np.mean([len(one) < LIMIT for one in hits])
        cost = posting_cost(model.encode(asked, k=row.setting.k), model.encode(docs))
        assert row.posting_cost == pytest.approx(cost.mean(), abs=1e-4)
        assert row.recall.low < row.recall.value or row.recall.value == 0
        assert row.ms > 0
        assert row.cost > 0


def test_documents_stand_in_and_are_said_to(model: CSRModel, docs: np.ndarray) -> None:
    card = tune(model, docs, n_queries=100, store=MemoryStore(), progress=False).card
    assert card is not None
    assert (card.queries, card.n_queries, card.n_docs) == ("documents", 100, 500)
    exact = card.find(Setting(16, 400, "dense"))
    assert exact is not None
    assert exact.recall.value > 0.95


def test_a_seed_gives_the_same_card_but_for_the_clock(
    card: Card, tuned: CSRModel, docs: np.ndarray, queries: np.ndarray, tmp_path: Path
) -> None:
    def timeless(one: Card | None) -> str:
        assert one is not None
        rows = [row.model_copy(update={"ms": 0.0, "cost": 0.0}) for row in one.measured]
        return one.model_copy(update={"measured": tuple(rows)}).model_dump_json()

    def again(seed: int) -> Card | None:
        options = {"store": MemoryStore(), "seed": seed, "progress": False}
        return tune(tuned, tmp_path / "docs.npy", [tmp_path / "queries.npy"], **options).card

    np.save(tmp_path / "docs.npy", docs)  # from files, and over a model that has a card
    np.save(tmp_path / "queries.npy", queries[:150])
    assert timeless(again(0)) == timeless(card)
    assert timeless(again(1)) != timeless(card)


def test_options_are_used(model: CSRModel, docs: np.ndarray, tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "index") as store:
        tuned = tune(
            model,
            docs,
            k_doc=8,
            limit=3,
            dense=False,
            residuals=False,
            n_queries=30,
            store=store,
            progress=False,
        )
        card = tuned.card
        assert card is not None
        assert (card.k_doc, card.limit, card.residuals, card.store) == (8, 3, False, "EdgeStore")
        assert card.refitted
        assert (card.n_queries, card.n_docs, store.count()) == (30, 570, 570)
        assert store.residual_bytes == 0
        assert {row.setting.rescore for row in card.measured} == {None, "codes"}
        results = Searcher(tuned, store).search(docs[:2], limit=3, effort="fast")
    assert results.setting == card.effort("fast", rescore="codes").setting
    assert results.promised == card.effort("fast", rescore="codes").recall


def test_the_default_store_is_gone_afterwards(
    model: CSRModel, docs: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    card = tune(model, docs[:200], n_queries=20, dense=False, progress=False).card
    assert card is not None
    assert card.store == "EdgeStore"
    assert list(tmp_path.iterdir()) == []


def test_bad_calls_are_refused(model: CSRModel, docs: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="got limit=0, seed=0"):
        tune(model, docs, limit=0)
    with pytest.raises(ConfigError, match="got limit=10, seed=-1"):
        tune(model, docs, seed=-1)
    with pytest.raises(ConfigError, match=r"got limit=5\.0, seed=0"):
        tune(model, docs, limit=5.0)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ConfigError, match=r"20 queries, got n_queries=30\.0"):
        tune(model, docs, n_queries=30.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected an empty store, got 'memory:'"):
        tune(model, docs, store="memory:")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=re.escape("expected k_doc from 1 to n_latents=256")):
        tune(model, docs, k_doc=257, progress=False)
    with pytest.raises(ShapeError, match=r"of shape \(n, 32\)"):
        tune(model, docs[:, :31])


# -- what it promises ---------------------------------------------------------------------


def recalls_of_everyone(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> tuple[list[Setting], np.ndarray]:
    """Return recall of every setting on every query, float64 (settings, q)."""
    parts = split(docs, queries, docs.shape[1], len(queries), 0)
    built = trial(model, parts, Plan(model.ladder[-1], LIMIT, True, True), MemoryStore())
    settings = grid(model.ladder, LIMIT, 100, ("codes", "dense"))
    rows = {}
    for k in model.ladder:
        found = answers(built, k, 100, ("codes", "dense"))
        rows |= {one: found.top(one, LIMIT) for one in settings if one.k == k}
    return settings, np.array([recall_at(rows[one], built.truth, LIMIT) for one in settings])


def promises_kept(
    settings: list[Setting], recalls: np.ndarray, *, n_queries: int, draws: int
) -> np.ndarray:
    """Choose on some queries, look at the others: is their recall inside? Bool (promises,)."""
    rows = {
        setting: Measured(
            setting=setting,
            recall=(0, 0, 0),
            worst=0,
            posting_cost=0,
            ms=1,
            cost=setting.k / 20 + (setting.candidates or 0) / 100,
            short=0,
        )
        for setting in settings
    }
    kept = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(recalls.shape[1])
        ours, theirs = recalls[:, order[:n_queries]], recalls[:, order[n_queries:]]
        intervals = simultaneous_intervals(ours, resamples=1000, seed=seed)
        measured = [
            rows[setting].model_copy(update={"recall": interval})
            for setting, interval in zip(settings, intervals, strict=True)
        ]
        card = Card.model_construct(measured=tuple(measured))
        for target in (0.5, 0.7, 0.8, 0.9, 0.95):
            try:
                low, _, high = card.cheapest(target).recall
            except ConfigError:
                continue
            chosen = measured.index(card.cheapest(target))
            kept.append(low <= theirs[chosen].mean() <= high)
    return np.array(kept)


@pytest.mark.parametrize("data", ["near", "spread", "wordnet"])
def test_the_chosen_settings_recall_is_inside_its_interval_on_other_queries(
    data: str, clustered: Callable, landmark_model: Callable, wordnet: tuple
) -> None:
    spread = {"near": 0.5, "spread": 1.2}
    if data == "wordnet":
        docs, queries = wordnet[0][:900], wordnet[1][:400]
    else:
        docs, queries = (clustered(n, 32, spread[data], seed) for n, seed in ((600, 0), (400, 1)))
    model = landmark_model(docs, n_latents=256, ladder=(4, 16))
    settings, recalls = recalls_of_everyone(model, docs, queries)
    kept = promises_kept(settings, recalls, n_queries=100, draws=25)
    assert len(kept) >= 50  # there was something to choose
    assert kept.mean() >= 0.95


# -- scores as cosines ----------------------------------------------------------------------


def test_a_threshold_keeps_its_meaning_when_k_changes(
    wordnet: tuple, landmark_model: Callable
) -> None:
    """The mean cosine of hits just above a threshold, at each k: calibrated, and raw."""
    docs, others = unit(wordnet[0][:900]), unit(wordnet[1][150:350])  # tune does not see these
    model = landmark_model(docs, ladder=(4, 16, 64))
    tuned = tune(model, docs, wordnet[1][:150], dense=False, store=MemoryStore(), progress=False)
    searcher = Searcher(tuned, MemoryStore(), rescore=None)
    searcher.upsert(np.arange(len(docs)), docs)
    exact = others @ docs.T
    means: dict[str, list[float]] = {"calibrated": [], "raw": []}
    for k in (4, 8, 16, 32, 64):  # 8 and 32 lie between what was calibrated
        kept = searcher.search(others, limit=100, k=k, score_threshold=0.3)
        found = searcher.run(others, Setting(k), limit=100)
        for name, results in (("calibrated", kept), ("raw", found)):
            hits = [(exact[q, hit.id], hit.score) for q, one in enumerate(results) for hit in one]
            cosines, scores = np.array(hits).T
            if name == "calibrated":
                assert tuned.card is not None
                scores = tuned.card.to_cosine(scores, Setting(k))
                assert scores.min() >= 0.3
            means[name].append(float(cosines[(scores >= 0.3) & (scores < 0.4)].mean()))
    assert np.abs(np.array(means["calibrated"]) - 0.35).max() < 0.05
    assert np.abs(np.array(means["raw"]) - 0.35).max() > 0.15
    assert np.ptp(means["raw"]) > 1.5 * np.ptp(means["calibrated"])


def test_estimates_from_codes_are_sharper_than_sparse_scores(card: Card) -> None:
    errors = {(one.k, one.rescore): one.mean_error for one in card.calibrations}
    for k in (4, 8, 16):
        assert errors[k, "codes"] < 0.7 * errors[k, None]
