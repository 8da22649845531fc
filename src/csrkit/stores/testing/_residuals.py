"""The laws of residuals: bytes beside a code, given back as they came."""

# the name of a law says what it demands

from __future__ import annotations

import re
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from csrkit.errors import ShapeError, StoreError
from csrkit.stores.base import ResidualStore, Store
from csrkit.stores.testing._laws import Laws, random_codes

__all__ = ["ResidualLaws", "random_residuals"]


def random_residuals(seed: int, n: int, width: int = 13) -> NDArray[np.uint8]:
    """Make residuals of random bytes.

    Args:
        seed: Seed of the generator.
        n: Number of rows.
        width: Bytes per row.

    Returns:
        uint8 (n, width).
    """
    return np.random.default_rng(seed).integers(0, 256, (n, width), np.uint8)


def _same(got: NDArray[np.uint8] | None, expected: NDArray[np.uint8]) -> None:
    assert got is not None
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)


class ResidualLaws(Laws):
    """Round trips, replacing, reopening, and what differs from the first upsert."""

    @abstractmethod
    def reopen(self, store: Store, tmp_path: Path) -> Store:
        """Return a new object over what the store holds; see `PersistentStoreContract`.

        Args:
            store: The store to leave; it is not used again.
            tmp_path: The folder that `make_store` got.

        Returns:
            The new object.
        """

    def test_it_is_a_residual_store(self, store: ResidualStore) -> None:
        assert isinstance(store, ResidualStore)
        assert store.residual_bytes == 0

    def test_every_byte_comes_back(self, store: ResidualStore) -> None:
        codes = random_codes(40, 3)
        every = np.arange(256, dtype=np.uint8)
        residuals = np.stack([every, every[::-1], np.zeros(256, np.uint8)])
        store.upsert([1, "b", 3], codes, residuals=residuals)
        assert store.residual_bytes == 256
        _same(store.fetch_residuals([1, "b", 3]), residuals)
        fetched, both = store.fetch_both([1, "b", 3])
        assert fetched == codes
        _same(both, residuals)

    def test_residuals_of_one_byte(self, store: ResidualStore) -> None:
        residuals = np.array([[0], [255], [128]], np.uint8)
        store.upsert([1, 2, 3], random_codes(41, 3), residuals=residuals)
        _same(store.fetch_residuals([3, 2, 1]), residuals[::-1])

    def test_residuals_in_any_memory_order(self, store: ResidualStore) -> None:
        residuals = random_residuals(42, 8)
        spread = np.asfortranarray(np.repeat(residuals, 2, axis=1))[:, ::2]
        assert not spread.flags.c_contiguous
        store.upsert(range(8), random_codes(42, 8), residuals=spread)
        expected = residuals.copy()
        spread[:] = 0  # the store keeps its own
        _same(store.fetch_residuals(range(8)), expected)

    def test_both_keep_the_order_and_repeat(self, store: ResidualStore) -> None:
        codes, residuals = random_codes(43, 40), random_residuals(43, 40)
        store.upsert(range(40), codes, residuals=residuals)
        rows = [7, 0, 39, 7]
        fetched, both = store.fetch_both(rows)
        assert fetched == codes[rows]
        _same(both, residuals[rows])
        _same(store.fetch_residuals(rows), residuals[rows])
        fetched, both = store.fetch_both([])
        assert fetched == codes[:0]
        _same(both, residuals[:0])
        _same(store.fetch_residuals([]), residuals[:0])

    def test_more_residuals_than_a_batch(self, store: ResidualStore) -> None:
        codes, residuals = random_codes(44, 2300, dim=512), random_residuals(44, 2300)
        store.upsert(range(2300), codes, residuals=residuals)
        fetched, both = store.fetch_both(range(2299, -1, -1))
        assert fetched == codes[::-1]
        _same(both, residuals[::-1])
        _same(store.fetch_residuals(range(2300)), residuals)

    def test_residuals_of_empty_codes(self, store: ResidualStore) -> None:
        dense = random_codes(45, 3).to_dense()
        dense[[0, 2]] = 0
        codes, residuals = type(random_codes(0, 1)).from_dense(dense), random_residuals(45, 3)
        store.upsert(["a", "b", "c"], codes, residuals=residuals)
        fetched, both = store.fetch_both(["c", "b", "a"])
        assert fetched == codes[::-1]
        _same(both, residuals[::-1])

    def test_an_upsert_replaces_the_residual(self, store: ResidualStore) -> None:
        codes, residuals = random_codes(46, 10), random_residuals(46, 10)
        store.upsert(
            range(6), codes[:6], [{"row": row} for row in range(6)], residuals=residuals[:6]
        )
        store.upsert([2, 9], codes[6:8], [{"new": 1}, None], residuals=residuals[6:8])
        store.upsert([3, 11], codes[8:], residuals=residuals[8:])  # these payloads stay
        ids, rows = [0, 2, 9, 3, 11], [0, 6, 7, 8, 9]
        fetched, both = store.fetch_both(ids)
        assert fetched == codes[rows]
        _same(both, residuals[rows])
        payloads = {hit.id: hit.payload for hit in store.search(random_codes(46, 1, k=64))[0]}
        assert [payloads[one] for one in ids] == [{"row": 0}, {"new": 1}, None, {"row": 3}, None]

    def test_hits_are_those_without_residuals(self, store: ResidualStore) -> None:
        codes = random_codes(47, 60)
        plain, exact = self.filled(store, codes[:0])
        payloads = [{"row": row} for row in range(60)]
        store.upsert(range(60), codes, payloads, residuals=random_residuals(47, 60))
        exact.upsert(range(60), codes, payloads)
        self.check(self.settle(plain), exact, random_codes(48, 10))

    def test_a_deleted_residual_is_gone(self, store: ResidualStore) -> None:
        codes, residuals = random_codes(49, 4), random_residuals(49, 4)
        store.upsert(range(3), codes[:3], residuals=residuals[:3])
        store.delete([1])
        for fetch in (store.fetch, store.fetch_residuals, store.fetch_both):
            with pytest.raises(StoreError, match=r"\[1\]"):
                fetch([0, 1])
        store.upsert([1], codes[3], residuals=residuals[3:])
        _same(store.fetch_residuals(range(3)), residuals[[0, 3, 2]])

    def test_missing_ids_are_named(self, store: ResidualStore) -> None:
        store.upsert([1], random_codes(50, 1), residuals=random_residuals(50, 1))
        for fetch in (store.fetch_residuals, store.fetch_both):
            with pytest.raises(StoreError, match="'gone', 12") as caught:
                fetch([1, "gone", 12])
            assert "1, 'gone'" not in str(caught.value)
            with pytest.raises(StoreError, match="integers from 0"):
                fetch([-1])

    def test_a_store_without_residuals_says_so(self, store: ResidualStore) -> None:
        codes = random_codes(51, 2)
        store.upsert([1, 2], codes)
        assert store.residual_bytes == 0
        fetched, both = store.fetch_both([2, 1])
        assert fetched == codes[::-1]
        assert both is None
        with pytest.raises(StoreError, match="keeps no residuals"):
            store.fetch_residuals([1])

    def test_an_empty_store_has_no_widths(self, store: ResidualStore) -> None:
        for fetch in (store.fetch_residuals, store.fetch_both):
            with pytest.raises(StoreError):
                fetch([])
        store.upsert([], random_codes(0, 0), residuals=random_residuals(0, 0))  # fixes nothing
        store.upsert([1], random_codes(0, 1), residuals=random_residuals(0, 1, width=5))
        assert store.residual_bytes == 5

    def test_the_first_upsert_fixes_the_residuals(self, store: ResidualStore) -> None:
        residuals = random_residuals(52, 1)
        store.upsert([1], random_codes(52, 1), residuals=residuals)
        with pytest.raises(ShapeError, match=r"13 bytes per code.*got none"):
            store.upsert([2], random_codes(53, 1))
        with pytest.raises(ShapeError, match=r"13 bytes per code.*got 14"):
            store.upsert([2], random_codes(53, 1), residuals=random_residuals(53, 1, width=14))
        assert store.count() == 1
        _same(store.fetch_residuals([1]), residuals)

    def test_residuals_cannot_come_later(self, store: ResidualStore) -> None:
        store.upsert([1], random_codes(54, 1))
        with pytest.raises(ShapeError, match=r"expected no residuals.*got 13 bytes"):
            store.upsert([2], random_codes(55, 1), residuals=random_residuals(55, 1))
        assert store.count() == 1

    def test_what_are_no_residuals_is_refused(self, store: ResidualStore) -> None:
        rows = random_residuals(56, 2)
        for bad in (rows.astype(np.int64), rows[0], rows[:1], rows[:, :0], rows[None], "text"):
            residuals: Any = bad
            got = re.escape(f"{np.asarray(bad).dtype} of shape {np.asarray(bad).shape}")
            with pytest.raises(ShapeError, match=rf"uint8 of shape \(2, width\).*{got}"):
                store.upsert([1, 2], random_codes(56, 2), residuals=residuals)
        assert store.count() == 0
        store.upsert([1], random_codes(56, 1))  # and none of it fixed anything

    def test_residuals_survive_reopening(self, store: ResidualStore, tmp_path: Path) -> None:
        codes, residuals = random_codes(57, 30), random_residuals(57, 30)
        store.upsert(range(20), codes[:20], [{"row": 1}] * 20, residuals=residuals[:20])
        store.upsert(["text", 3], codes[20:22], residuals=residuals[20:22])
        store.delete([4])
        again: Any = self.reopen(store, tmp_path)
        assert again.residual_bytes == 13
        ids, rows = [0, "text", 3, 19], [0, 20, 21, 19]
        fetched, both = again.fetch_both(ids)
        assert fetched == codes[rows]
        _same(both, residuals[rows])
        with pytest.raises(ShapeError, match=r"13 bytes per code.*got none"):
            again.upsert([2], codes[29])
        again.upsert(["more"], codes[29], residuals=residuals[29:])
        _same(again.fetch_residuals(["more", 0]), residuals[[29, 0]])

    def test_the_width_of_residuals_survives_deleting_all(
        self, store: ResidualStore, tmp_path: Path
    ) -> None:
        store.upsert([1], random_codes(58, 1), residuals=random_residuals(58, 1))
        store.delete([1])
        again: Any = self.reopen(store, tmp_path)
        assert again.residual_bytes == 13
        with pytest.raises(ShapeError, match=r"13 bytes per code.*got 14"):
            again.upsert([2], random_codes(59, 1), residuals=random_residuals(59, 1, width=14))
        _same(again.fetch_residuals([]), random_residuals(58, 0))
