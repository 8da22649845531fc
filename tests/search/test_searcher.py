"""What comes in and goes out of a search: queries, thresholds, fills, explanations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from csrkit import CSRModel, Hit
from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.model.card import Card, Setting
from csrkit.search import Results, Searcher
from csrkit.stores import MemoryStore

MakeCard = Callable[..., Card]
Cosines = Callable[[np.ndarray, np.ndarray], np.ndarray]


def filled(model: CSRModel, docs: np.ndarray, **arguments: Any) -> Searcher:
    searcher = Searcher(model, MemoryStore(), **arguments)
    searcher.upsert(range(len(docs)), docs, [{"even": row % 2 == 0} for row in range(len(docs))])
    return searcher


def ids(results: Sequence[Sequence[Hit]]) -> list[list[int | str]]:
    return [[hit.id for hit in hits] for hits in results]


# -- queries ------------------------------------------------------------------


def test_one_vector_is_a_batch_of_one(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    searcher = filled(model, docs)
    batch = searcher.search(queries, k=4)
    assert len(batch) == len(queries)
    for row, query in enumerate(queries):
        alone = searcher.search(query, k=4)
        assert len(alone) == 1
        assert ids(alone) == ids(batch[row : row + 1])
        scores = [hit.score for hit in batch[row]]
        assert [hit.score for hit in alone[0]] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("rescore", ["codes", None])
def test_queries_may_be_lists_or_tensors_of_any_length(
    rescore: Any, model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    searcher = filled(model, docs, rescore=rescore)
    expected = ids(searcher.search(queries, k=4))
    tensor = torch.tensor(queries, requires_grad=True)
    for same in (
        queries.tolist(),
        tensor,
        tensor.double(),
        7 * queries,
        queries.astype(np.float64),
    ):
        assert ids(searcher.search(same, k=4)) == expected
    rounded = tensor.bfloat16()
    assert ids(searcher.search(rounded, k=4)) == ids(
        searcher.search(rounded.detach().float().numpy(), k=4)
    )


def test_no_queries_have_no_results(model: CSRModel, docs: np.ndarray, queries: np.ndarray) -> None:
    results = filled(model, docs).search(queries[:0], explain=True, fill=True, score_threshold=0.5)
    assert (len(results), results.short, results.filled, results.explanations) == (0, 0, 0, [])


@pytest.mark.parametrize("rescore", ["codes", None])
@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.full((2, 16), np.nan), "row 0 with NaN or Inf"),
        (np.stack([np.ones(16), np.zeros(16)]), "row 1 with all zeros"),
        (np.zeros(16), "row 0 with all zeros"),
        (np.ones((2, 17)), r"shape \(n, 16\), got \(2, 17\)"),
        (np.ones(5), r"shape \(n, 16\), got \(1, 5\)"),
        (np.ones((1, 1, 16)), r"shape \(n, 16\), got \(1, 1, 16\)"),
        (np.array(3.0), r"shape \(n, 16\), got \(\)"),
        ([[1.0] * 16, [1.0]], "rows of one width, got row 0 with 16 numbers and row 1 with 1"),
        (["a word"], "texts are to be embedded first"),
        (torch.ones(2, 17), r"shape \(n, 16\), got \(2, 17\)"),
    ],
)
def test_bad_queries_get_the_models_error(
    queries: Any, message: str, rescore: Any, model: CSRModel, docs: np.ndarray
) -> None:
    with pytest.raises(ShapeError, match=message):
        filled(model, docs, rescore=rescore).search(queries)


@pytest.mark.parametrize("other", [None, "edge://index", MemoryStore, {}])
def test_only_a_store_is_a_store(model: CSRModel, other: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a store, as .*open_store.* gives it, got"):
        Searcher(model, other)


@pytest.mark.parametrize("other", [None, "codec/", CSRModel, np.eye(3), MemoryStore()])
@pytest.mark.parametrize("rescore", ["codes", None])
def test_only_a_model_is_a_model(other: Any, rescore: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a model, as .*fit and .*load give it, got"):
        Searcher(other, MemoryStore(), rescore=rescore)


def test_numbers_of_numpy_are_numbers(model: CSRModel, docs: np.ndarray) -> None:
    searcher = filled(model, docs)
    few = searcher.search(docs[:3], limit=np.int64(4), candidates=np.int32(9))  # type: ignore[arg-type]
    assert few == searcher.search(docs[:3], limit=4, candidates=9)
    assert searcher.run(docs[:3], few.setting, limit=np.int64(4)) == few.hits  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"effort to be one of .*, got \['fast'\]"):
        searcher.search(docs[:3], effort=["fast"])  # type: ignore[arg-type]


def test_a_query_under_a_mask_is_refused(model: CSRModel, docs: np.ndarray) -> None:
    masked = np.ma.masked_array(docs[0], mask=docs[0] > 0)
    with pytest.raises(ShapeError, match="queries without masked entries"):
        filled(model, docs).search(masked)
    with pytest.raises(ShapeError, match="which are codes: pass the embeddings"):
        filled(model, docs).search(model.encode(docs[:1]))  # type: ignore[arg-type]


@pytest.mark.parametrize("rescore", ["codes", "dense", None])
def test_the_filter_is_the_stores_own(
    rescore: Any, model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    searcher = filled(model, docs, rescore=rescore, dense=docs if rescore == "dense" else None)
    for hits in searcher.search(queries, k=8, filter=lambda payload: payload["even"], explain=True):
        assert len(hits) == 10
        assert all(int(hit.id) % 2 == 0 and hit.payload == {"even": True} for hit in hits)


def test_results_are_a_sequence_of_lists(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    results = filled(model, docs).search(queries, limit=3)
    assert isinstance(results, Results)
    assert results[-1] == list(results)[-1] == results[1:][-1]
    assert results[:2] == [results[0], results[1]]
    assert all(isinstance(hit, Hit) for hits in results for hit in hits)
    with pytest.raises(IndexError):
        results[len(queries)]


def test_a_store_of_another_model_is_refused(model: CSRModel, docs: np.ndarray) -> None:
    store = filled(model, docs).store
    assert isinstance(store, MemoryStore)
    assert store.codec == model.fingerprint
    other = replace(model, latent_bias=model.latent_bias + 1)
    names = f"of the codec {model.fingerprint[:12]}, got the codec {other.fingerprint[:12]}"
    with pytest.raises(StoreError, match=names):
        Searcher(other, store)
    assert Searcher(model, store).search(docs[0], limit=1)[0][0].id == 0


def test_tensors_can_be_stored(model: CSRModel, docs: np.ndarray) -> None:
    by_array, by_tensor = filled(model, docs), filled(model, torch.tensor(docs))
    one, other = (made.store.fetch(range(len(docs))) for made in (by_array, by_tensor))
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_allclose(one.values, other.values, rtol=1e-5)
    bits = [made.store.fetch_residuals(range(len(docs))) for made in (by_array, by_tensor)]
    assert (bits[0] == bits[1]).mean() > 0.99  # a bit may flip where the rest is near zero


# -- thresholds ---------------------------------------------------------------


def test_a_threshold_cuts_exact_cosines(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, cosines: Cosines
) -> None:
    searcher = filled(model, docs, rescore="dense", dense=docs)
    whole = searcher.search(queries, k=8, limit=100)
    cut = searcher.search(queries, k=8, limit=100, score_threshold=0.4)
    exact = cosines(queries, docs)
    for before, after, cosine in zip(whole, cut, exact, strict=True):
        assert [hit.id for hit in after] == [hit.id for hit in before if cosine[hit.id] >= 0.4]
    assert 0 < sum(map(len, cut)) < sum(map(len, whole))
    assert cut.short == whole.short  # the threshold is not what makes a query fall short


def test_estimated_cosines_stand_for_themselves_without_a_calibration(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, make_card: MakeCard
) -> None:
    for one in (model, model.with_card(make_card())):  # its card calibrates sparse scores alone
        searcher = filled(one, docs)
        (whole,) = searcher.search(queries[0], k=4)
        middle = whole[4].score
        (cut,) = searcher.search(queries[0], k=4, score_threshold=middle)
        assert cut == whole[:5]


def test_a_card_calibrates_estimated_cosines(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, make_card: MakeCard
) -> None:
    halved = (
        make_card().calibrations[0].model_copy(update={"rescore": "codes", "cosines": (0.0, 0.5)})
    )
    searcher = filled(model.with_card(make_card(calibrations=(halved,))), docs)
    (whole,) = searcher.search(queries[0], k=2)
    middle = (whole[3].score + whole[4].score) / 2
    (cut,) = searcher.search(queries[0], k=2, score_threshold=middle / 2)
    assert cut == whole[:4]


def test_sparse_scores_are_read_through_the_card(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, make_card: MakeCard
) -> None:
    """The card says cosine = 0.2 score at k=2 and 0.4 score at k=4."""
    searcher = filled(model.with_card(make_card()), docs, rescore=None)
    for k, slope in ((2, 0.2), (4, 0.4)):
        whole = searcher.search(queries, k=k)
        cut = searcher.search(queries, k=k, score_threshold=0.1)
        for before, after in zip(whole, cut, strict=True):
            assert after == [hit for hit in before if slope * hit.score >= 0.1]
    with pytest.raises(ConfigError, match=r"scores were calibrated, got k=8.*k from 2 to 4"):
        searcher.search(queries, k=8, score_threshold=0.1)


@pytest.mark.parametrize("bad", [1.5, -2, float("nan"), "0.5", True])
def test_a_threshold_is_a_cosine(
    bad: Any, model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    with pytest.raises(ConfigError, match="score_threshold as a cosine from -1 to 1, got"):
        filled(model, docs).search(queries, score_threshold=bad)


def test_sparse_scores_without_a_card_are_no_cosines(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    with pytest.raises(ConfigError, match=r"score_threshold=0.5 at k=4.*this model has none"):
        filled(model, docs, rescore=None).search(queries, k=4, score_threshold=0.5)


# -- falling short ------------------------------------------------------------


def overlapping(model: CSRModel, docs: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Number of documents that share a latent with each query at k."""
    asked, stored = model.encode_query(queries, k=k), model.encode(docs, k=2)
    return (asked.to_dense() @ stored.to_dense().T > 0).sum(axis=1)


@pytest.mark.parametrize("rescore", ["codes", None])
def test_short_queries_are_counted_and_filled_alone(
    rescore: Any, model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    few, limit = docs[:40], 18
    searcher = filled(model, few, k_doc=2, rescore=rescore)
    found = {k: overlapping(model, few, queries, k) for k in (2, 4, 8, 16, 32)}
    plain = searcher.search(queries, k=2, limit=limit)
    assert [len(hits) for hits in plain] == np.minimum(found[2], limit).tolist()
    assert plain.short == (found[2] < limit).sum()
    assert 0 < plain.short < len(queries), "the data must have both kinds of queries"
    assert plain.filled == 0

    done = searcher.search(queries, k=2, limit=limit, fill=True)
    rung = [next((k for k in found if found[k][q] >= limit), 32) for q in range(len(queries))]
    assert len(set(rung)) > 2, "the data must have queries of several rungs"
    again = {k: searcher.search(queries, k=k, limit=limit) for k in set(rung)}
    for q, k in enumerate(rung):
        assert [hit.id for hit in done[q]] == [hit.id for hit in again[k][q]]
    assert done.filled == sum(k > 2 and found[k][q] >= limit for q, k in enumerate(rung))
    assert done.short == (found[32] < limit).sum()
    assert done.setting.k == 2


def test_filling_ends_at_four_times_the_longest_rung(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = filled(model, docs[:5])  # fewer documents than hits are wanted
    asked: list[int] = []
    encode_query = CSRModel.encode_query

    def counting(self: CSRModel, rows: Any, *, k: int) -> Any:
        asked.append(k)
        return encode_query(self, rows, k=k)

    monkeypatch.setattr(CSRModel, "encode_query", counting)
    results = searcher.search(queries, k=3, fill=True)
    assert asked == [3, 4, 8, 16, 32]
    assert (results.short, results.filled) == (len(queries), 0)


def test_filling_stops_where_a_threshold_can_no_longer_be_read(
    model: CSRModel, docs: np.ndarray, queries: np.ndarray, make_card: MakeCard
) -> None:
    """The card calibrates k=2 and k=4; k=8 would find more, with scores nobody can read."""
    searcher = filled(model.with_card(make_card(k_doc=2)), docs[:30], rescore=None)
    results = searcher.search(queries, k=2, limit=20, fill=True, score_threshold=-1)
    most = np.minimum(overlapping(model, docs[:30], queries, 4), 20)
    assert [len(hits) for hits in results] == most.tolist()
    assert (overlapping(model, docs[:30], queries, 8) > most).any()


# -- explanations -------------------------------------------------------------


@pytest.mark.parametrize("rescore", ["codes", "dense", None])
@pytest.mark.parametrize("fill", [False, True])
def test_contributions_add_up_to_the_score_of_the_first_stage(
    rescore: Any, fill: bool, model: CSRModel, docs: np.ndarray, queries: np.ndarray
) -> None:
    searcher = filled(
        model, docs[:60], k_doc=2, rescore=rescore, dense=docs if rescore == "dense" else None
    )
    results = searcher.search(queries, k=2, limit=12, explain=True, fill=fill)
    assert results.explanations is not None
    stored = model.encode(docs[:60], k=2).to_dense()
    longer = 0
    for query, hits, explanations in zip(queries, results, results.explanations, strict=True):
        ks = [2, 4, 8, 16, 32] if fill else [2]
        asked = {k: model.encode_query(query[None], k=k).to_dense()[0] for k in ks}
        k = next((k for k in ks if (asked[k] @ stored.T > 0).sum() >= 12), ks[-1])
        longer += k > 2
        assert [one.id for one in explanations] == [hit.id for hit in hits]
        for hit, one in zip(hits, explanations, strict=True):
            document = stored[hit.id]
            products = {j: asked[k][j] * document[j] for j in np.flatnonzero(asked[k] * document)}
            assert {shared.latent for shared in one.shared} == set(products)
            for shared in one.shared:
                assert shared.contribution == pytest.approx(products[shared.latent], rel=1e-6)
                assert (shared.query, shared.document) == (
                    pytest.approx(asked[k][shared.latent]),
                    pytest.approx(document[shared.latent]),
                )
            weights = [shared.contribution for shared in one.shared]
            assert weights == sorted(weights, reverse=True)
            assert sum(weights) == one.score == pytest.approx(asked[k] @ document, rel=1e-6)
            if rescore is None:
                assert one.score == pytest.approx(hit.score, rel=1e-6)
    assert (longer > 0) == fill


def test_explanations_follow_the_threshold(model: CSRModel, docs: np.ndarray) -> None:
    results = filled(model, docs).search(docs[:3], k=8, score_threshold=0.7, explain=True)
    assert results.explanations is not None
    assert ids(results.explanations) == ids(results)  # type: ignore[arg-type]  # both have an id
    assert any(map(len, results))


def test_no_explanations_unless_asked_for(model: CSRModel, docs: np.ndarray) -> None:
    assert filled(model, docs).search(docs[0]).explanations is None


def test_repr_says_what_it_is(model: CSRModel) -> None:
    text = repr(Searcher(model, MemoryStore(), rescore=None, k_doc=4))
    assert text == f"Searcher({model!r}, MemoryStore, k_doc=4, rescore=None)"
    assert Setting(4) == Searcher(model, MemoryStore(), rescore=None).search(np.ones(16)).setting
