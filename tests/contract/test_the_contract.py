"""The contract itself: it fails where a store is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from csrkit.stores import EdgeStore, Hit, MemoryStore
from csrkit.stores.testing import (
    CodecStoreContract,
    ResidualStoreContract,
    StoreContract,
    assert_same_hits,
    random_codes,
)
from csrkit.stores.testing._dense import _codes, _rows

from . import test_edge, test_memory

TRUTH = [[Hit("a", 3.0, {"x": 1}), Hit("b", 2.0), Hit("c", 2.0), Hit("d", 1.0)]]


@pytest.mark.parametrize(
    ("limit", "got"),
    [
        (4, [*TRUTH[0]]),
        (4, [TRUTH[0][i] for i in (0, 2, 1, 3)]),
        (2, [TRUTH[0][0], TRUTH[0][2]]),
        (1, [Hit("a", 3.0000001, {"x": 1})]),
    ],
)
def test_ties_may_come_in_any_order(limit: int, got: list[Hit]) -> None:
    assert_same_hits([got], TRUTH, limit, 1e-5)


@pytest.mark.parametrize(
    ("limit", "got"),
    [
        (4, TRUTH[0][:3]),  # one missing
        (2, TRUTH[0][:3]),  # one too many
        (2, [TRUTH[0][0], Hit("d", 2.0)]),  # the wrong id with the right score
        (2, [TRUTH[0][0], Hit("d", 1.0)]),  # a worse one
        (3, [TRUTH[0][0], Hit("b", 2.0), Hit("b", 2.0)]),  # one twice
        (1, [Hit("a", 3.0001, {"x": 1})]),  # the score is off
        (1, [Hit("a", 3.0, {"x": 2})]),  # the payload is another's
        (2, [Hit("b", 2.0), TRUTH[0][0]]),  # not by falling score
    ],
)
def test_whatever_is_wrong_is_found(limit: int, got: list[Hit]) -> None:
    with pytest.raises(AssertionError):
        assert_same_hits([got], TRUTH, limit, 1e-5)


def test_an_unknown_id_is_found() -> None:
    with pytest.raises(KeyError):
        assert_same_hits([[Hit("z", 3.0)]], TRUTH, 1, 1e-5)


class Forgetful(MemoryStore):
    """Drops the last row of a larger upsert."""

    def upsert(self, ids: Any, codes: Any, payloads: Any = None, *, residuals: Any = None) -> None:
        keep = len(codes) - (len(codes) > 10)
        super().upsert(list(ids)[:keep], codes[:keep], payloads and payloads[:keep])


class Rounded(MemoryStore):
    """Keeps scores to two digits."""

    def search(self, codes: Any, *, limit: int = 10, filter: Any = None) -> list[list[Hit]]:
        found = super().search(codes, limit=limit, filter=filter)
        return [[hit._replace(score=round(hit.score, 2)) for hit in hits] for hits in found]


class Unfiltered(MemoryStore):
    """Cuts at the limit before it filters."""

    def search(self, codes: Any, *, limit: int = 10, filter: Any = None) -> list[list[Hit]]:
        found = super().search(codes, limit=limit)
        return [[h for h in hits if not filter or filter(h.payload or {})] for hits in found]


class SevenBits(MemoryStore):
    """Loses the highest bit of each byte."""

    def fetch_both(self, ids: Any) -> Any:
        codes, residuals = super().fetch_both(ids)
        return codes, residuals if residuals is None else residuals & 127


class Stale(MemoryStore):
    """Keeps the residual that an id had first."""

    def upsert(self, ids: Any, codes: Any, payloads: Any = None, *, residuals: Any = None) -> None:
        old = [row for row, one in enumerate(ids) if one in self._row_of]
        kept = residuals if residuals is None or not old else residuals.copy()
        if old and kept is not None:
            kept[old] = self.fetch_residuals([ids[row] for row in old])
        super().upsert(ids, codes, payloads, residuals=kept)


class Sorted(MemoryStore):
    """Gives residuals in the order of the ids, whatever was asked for."""

    def fetch_both(self, ids: Any) -> Any:
        codes, _ = super().fetch_both(ids)
        return codes, super().fetch_both(sorted(ids))[1]


class Unbound(MemoryStore):
    """Forgets the codec when it is saved."""

    def save(self, path: Any) -> None:
        self._known = self._known and self._known._replace(codec=None)
        super().save(path)


class Faithful(StoreContract):
    made: Callable[[], MemoryStore] = MemoryStore

    def make_store(self, tmp_path: Path) -> MemoryStore:
        return type(self).made()

    def equals(self, key: str, value: int) -> Any:
        return lambda payload: payload.get(key) == value


class FaithfulToMore(ResidualStoreContract, CodecStoreContract):
    made: Callable[[], MemoryStore] = MemoryStore
    make_store = Faithful.make_store
    equals = Faithful.equals
    reopen = test_memory.TestMemoryStore.reopen


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (SevenBits, "test_every_byte_comes_back"),
        (Stale, "test_an_upsert_replaces_the_residual"),
        (Sorted, "test_both_keep_the_order_and_repeat"),
    ],
)
def test_wrong_residuals_are_found(kind: type[MemoryStore], law: str, tmp_path: Path) -> None:
    contract = type("Wrong", (FaithfulToMore,), {"made": kind})()
    with pytest.raises(AssertionError):
        getattr(contract, law)(contract.make_store(tmp_path))
    right = FaithfulToMore()
    getattr(right, law)(right.make_store(tmp_path))


def test_a_forgotten_codec_is_found(tmp_path: Path) -> None:
    contract = type("Wrong", (FaithfulToMore,), {"made": Unbound})()
    with pytest.raises(AssertionError):
        contract.test_the_first_upsert_notes_the_codec(contract.make_store(tmp_path), tmp_path)


class Wide(EdgeStore):
    """Ranks every document by the dense vector, candidate or not."""

    def search_dense(self, codes: Any, queries: Any, **arguments: Any) -> list[list[Hit]]:
        return super().search_dense(codes, queries, **(arguments | {"candidates": 1000}))


@pytest.mark.parametrize("kind", [EdgeStore, Wide])
def test_candidates_that_are_none_are_found(kind: type[EdgeStore], tmp_path: Path) -> None:
    class Either(test_edge.TestEdgeDense):
        def make_store(self, tmp_path: Path) -> EdgeStore:
            return kind(tmp_path / "index")

    contract = Either()
    docs, rows = _codes(60, 120), _rows(60, 120)
    with contract.make_dense_store(tmp_path, "dense", 5) as store:
        store.upsert(range(120), docs, [{"row": row} for row in range(120)])
        contract.put_dense(store, "dense", range(120), rows)
        expected = pytest.raises(AssertionError) if kind is Wide else nullcontext()
        with expected:
            contract.test_hits_are_the_nearest_of_the_candidates(store, docs, rows, 10)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Forgetful, "test_more_rows_than_a_batch"),
        (Rounded, "test_ids_scores_and_payloads_are_exact"),
        (Unfiltered, "test_a_filter_is_applied_before_the_limit"),
    ],
)
def test_a_wrong_store_fails_the_law_it_breaks(
    kind: type[MemoryStore], law: str, tmp_path: Path
) -> None:
    contract = type("Wrong", (Faithful,), {"made": kind})()
    with pytest.raises(AssertionError):
        getattr(contract, law)(contract.make_store(tmp_path))
    right = Faithful()
    getattr(right, law)(right.make_store(tmp_path))


def test_an_incomplete_subclass_cannot_be_run() -> None:
    with pytest.raises(TypeError, match="abstract"):
        type("Incomplete", (StoreContract,), {})()


def test_reference_codes_have_ties_and_the_same_values_each_time() -> None:
    codes = random_codes(3, 50)
    assert codes == random_codes(3, 50)
    assert codes != random_codes(4, 50)
    assert set((codes.values * 8).tolist()) <= set(range(1, 9))
    assert random_codes(3, 5, signed=True).values.min() < 0
