"""The base of the contract: reference data, the comparison, and the hooks of a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit.stores.base import Hit, Store
from csrkit.stores.memory import MemoryStore
from csrkit.vectors import SparseVectors

__all__ = ["Laws", "assert_same_hits", "random_codes"]


def random_codes(
    seed: int, n: int, dim: int = 64, k: int = 6, *, signed: bool = False
) -> SparseVectors:
    """Make codes whose scores often tie exactly.

    Values are multiples of 1/8 from 1/8 to 1, so that a sum of products is
    exact in float32 and equal scores are equal.

    Args:
        seed: Seed of the generator.
        n: Number of rows.
        dim: Width.
        k: Entries per row.
        signed: Give each value a random sign, as a query may have.

    Returns:
        n rows of k entries each.
    """
    rng = np.random.default_rng(seed)
    indices = np.sort(np.argsort(rng.random((n, dim)), axis=1)[:, :k], axis=1)
    values = rng.integers(1, 9, (n, k)) / 8
    if signed:
        values *= rng.choice([-1, 1], (n, k))
    return SparseVectors(np.arange(n + 1) * k, indices.ravel(), values.ravel(), dim)  # type: ignore[arg-type]  # the constructor converts and checks


def assert_same_hits(
    got: Sequence[Sequence[Hit]], exact: Sequence[Sequence[Hit]], limit: int, tolerance: float
) -> None:
    """Assert that result lists are right up to the order of equal scores.

    Args:
        got: What the store found with the limit.
        exact: All hits of the reference, without a limit, by falling score.
        limit: Most hits per query.
        tolerance: Largest difference of a score, and between scores that count
            as equal.

    Raises:
        AssertionError: If a list has another length, a score at a rank is off,
            an id occurs twice or does not have its score, or a payload differs.
    """
    assert len(got) == len(exact)
    for hits, truth in zip(got, exact, strict=True):
        scores = [hit.score for hit in hits]
        assert scores == pytest.approx([h.score for h in truth[:limit]], rel=0, abs=tolerance)
        assert len({hit.id for hit in hits}) == len(hits)
        known = {hit.id: hit for hit in truth}
        for hit in hits:
            assert isinstance(hit.score, float)
            assert hit.score == pytest.approx(known[hit.id].score, rel=0, abs=tolerance)
            assert hit.payload == known[hit.id].payload


class Laws(ABC):
    """What a store's author says about it, and the comparison with the reference.

    Attributes:
        tolerance: Largest difference of a score from the exact one, for codes
            whose values are at most 1.
    """

    tolerance: float = 1e-5

    @abstractmethod
    def make_store(self, tmp_path: Path) -> Store:
        """Return a new, empty store.

        Args:
            tmp_path: An empty folder that the test owns.

        Returns:
            The store.
        """

    @abstractmethod
    def equals(self, key: str, value: int) -> Any:
        """Return the vendor's filter for payloads whose key has the value.

        Args:
            key: A key of the payload.
            value: The value to match.

        Returns:
            What `Store.search` takes as ``filter``.
        """

    def settle(self, store: Store) -> Store:
        """Return the store as its users search it; the hook for building a final index.

        Args:
            store: A store with documents in it.

        Returns:
            The same or a reopened store.
        """
        return store

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Make the store under test."""
        return self.make_store(tmp_path)

    def check(
        self, store: Store, exact: MemoryStore, queries: SparseVectors, *limits: int, **keep: Any
    ) -> None:
        """Assert that the store finds what the reference finds.

        Args:
            store: The store under test.
            exact: The reference with the same content.
            queries: Queries.
            *limits: Limits to try; 1, 10 and more than there are if none.
            **keep: ``filter`` for the store and ``keep`` for the reference.
        """
        truth = exact.search(queries, limit=exact.count() + 1, filter=keep.get("keep"))
        for limit in limits or (1, 10, exact.count() + 1):
            got = store.search(queries, limit=limit, filter=keep.get("filter"))
            assert_same_hits(got, truth, limit, self.tolerance)

    def filled(self, store: Store, codes: SparseVectors) -> tuple[Store, MemoryStore]:
        """Upsert codes with payloads into the store and the reference.

        Args:
            store: The store under test.
            codes: Rows to store.

        Returns:
            The settled store and the reference.
        """
        exact = MemoryStore()
        payloads = [{"row": row, "third": row % 3} for row in range(len(codes))]
        for target in (store, exact):
            target.upsert(range(len(codes)), codes, payloads)
        return self.settle(store), exact
