"""The laws of candidates: what `Store.search` finds, with its codes, named afterwards."""

# the name of a law says what it demands

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from csrkit.errors import ConfigError, ShapeError
from csrkit.stores.base import CandidateStore, ResidualStore
from csrkit.stores.testing._laws import Laws, random_codes
from csrkit.stores.testing._residuals import random_residuals
from csrkit.vectors import SparseVectors

__all__ = ["CandidateLaws"]


class _BothStore(CandidateStore, ResidualStore):
    """What the laws ask of a store."""


def _of(rows: list[list[int]]) -> SparseVectors:
    return SparseVectors.from_dense(np.array(rows, np.float32))


def _untied(codes: SparseVectors, seed: int) -> SparseVectors:
    """Return codes whose scores differ: among equal ones an engine may choose anew each time."""
    factors = np.random.default_rng(seed).uniform(0.5, 1, codes.nnz).astype(np.float32)
    return replace(codes, values=codes.values * factors)


class CandidateLaws(Laws):
    """The same documents as a search, their codes and residuals, and none that is gone."""

    def test_it_is_a_candidate_store(self, store: CandidateStore) -> None:
        assert isinstance(store, CandidateStore)

    @pytest.mark.parametrize("width", [0, 13])
    def test_candidates_are_what_a_search_finds(self, store: _BothStore, width: int) -> None:
        codes, queries = _untied(random_codes(80, 60), 80), random_codes(81, 5)
        ids: list[Any] = [*range(30), *(f"text {row}" for row in range(30))]
        residuals = random_residuals(82, 60, width) if width else None
        loads = [{"row": row} if row % 3 else None for row in range(60)]
        store.upsert(ids, codes, loads, residuals=residuals)
        found = store.candidates(queries, limit=20)
        scored = [[(key, float(at)) for at, key in enumerate(reversed(one.keys))] for one in found]
        expected = store.search(queries, limit=20)
        assert sum(map(len, expected)) > 20  # or nothing is shown
        for row, (one, named, hits) in enumerate(
            zip(found, store.resolve(scored), expected, strict=True)
        ):
            assert [hit.id for hit in reversed(named)] == [hit.id for hit in hits]
            assert [hit.payload for hit in reversed(named)] == [hit.payload for hit in hits]
            assert [hit.score for hit in named] == [float(at) for at in range(len(hits))]
            rows = np.array([ids.index(hit.id) for hit in hits], np.int64)
            assert one.codes == codes[rows]
            np.testing.assert_allclose(
                queries[[row]].dot(one.codes)[0], [hit.score for hit in hits], rtol=1e-5
            )
            if residuals is None:
                assert one.residuals is None
            else:
                np.testing.assert_array_equal(one.residuals, residuals[rows])

    def test_an_empty_store_has_no_candidates(self, store: CandidateStore) -> None:
        found = store.candidates(random_codes(83, 2), limit=5)
        assert [(one.keys, len(one.codes), one.residuals) for one in found] == [([], 0, None)] * 2
        assert store.resolve([[], []]) == [[], []]
        assert store.resolve([]) == []

    def test_a_query_that_shares_no_latent_has_no_candidates(self, store: CandidateStore) -> None:
        store.upsert([1], _of([[1, 1, 0]]))
        assert [one.keys for one in store.candidates(_of([[0, 0, 1], [0, 0, 0]]), limit=5)] == [
            [],
            [],
        ]

    def test_what_is_deleted_before_it_is_named_is_left_out(self, store: CandidateStore) -> None:
        store.upsert([1, "two", 3], _of([[0, 1, 0]] * 3), [{"a": 1}, {"a": 2}, {"a": 3}])
        (found,) = store.candidates(_of([[0, 1, 0]]), limit=5)
        store.delete(["two"])
        (named,) = store.resolve([[(key, 0.5) for key in found.keys]])
        assert {(hit.id, hit.score) for hit in named} == {(1, 0.5), (3, 0.5)}

    def test_bad_calls_are_refused(self, store: CandidateStore) -> None:
        store.upsert([1], random_codes(84, 1))
        with pytest.raises(ConfigError, match="limit of at least 1"):
            store.candidates(random_codes(84, 1), limit=0)
        with pytest.raises(ShapeError, match="latents"):
            store.candidates(random_codes(84, 1, dim=7), limit=5)
