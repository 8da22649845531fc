"""The contract itself: it fails where a store is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csrkit.stores import Hit, MemoryStore
from csrkit.stores.testing import StoreContract, assert_same_hits, random_codes

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

    def upsert(self, ids: Any, codes: Any, payloads: Any = None) -> None:
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


class Faithful(StoreContract):
    made: Callable[[], MemoryStore] = MemoryStore

    def make_store(self, tmp_path: Path) -> MemoryStore:
        return type(self).made()

    def equals(self, key: str, value: int) -> Any:
        return lambda payload: payload.get(key) == value


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
