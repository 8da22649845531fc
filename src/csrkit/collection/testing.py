"""`HomeLaws`: the tests that every home of a job passes, to be run on your own.

    class TestMyHome(HomeLaws):
        @pytest.fixture
        def home(self): ...                   # a home with the points that the class describes

        def delete(self, home, ids): ...      # points that somebody else deletes
        def contents(self, home): ...         # everything, to see that nothing else changed

This module needs pytest and is imported by tests alone.
"""

# ruff: noqa: D102  # the name of a law says what it demands

from __future__ import annotations

from itertools import chain
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from csrkit.collection.home import CodeVector, Home, Marker, Page, PointId, id_order
from csrkit.errors import ConfigError, StoreError
from csrkit.vectors import SparseVectors

__all__ = [
    "CODES",
    "DIM",
    "MARKER",
    "HomeLaws",
    "N",
    "embeddings",
    "point_ids",
    "random_page",
]

N = 300
DIM = 24
CODES = CodeVector("csr", 64, 5)
MARKER = Marker(
    job="a1b2",
    csrkit="0.1.0",
    fingerprint="f" * 64,
    vector="dense",
    name="csr",
    k=8,
    n_latents=64,
    residual_bytes=5,
)


def embeddings(n: int, seed: int = 0) -> Any:
    """Make rows with structure: mixtures of a few directions, of varying length.

    Args:
        n: Number of rows.
        seed: Seed of the generator.

    Returns:
        float32 (n, DIM).
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(12, DIM))
    weights = rng.exponential(size=(n, 12)) * (rng.random((n, 12)) < 0.3)
    return (weights @ directions + 0.1 * rng.normal(size=(n, DIM))).astype(np.float32)


def point_ids(n: int) -> list[Any]:
    """Return numbers with gaps, the largest there is, and UUIDs.

    Args:
        n: How many.

    Returns:
        The ids in the order of engines: numbers by size, then UUIDs.
    """
    rng = np.random.default_rng(5)
    numbers = np.sort(rng.choice(10 * n, n - n // 3 - 1, replace=False)).tolist()
    uuids = sorted(str(UUID(bytes=rng.bytes(16))) for _ in range(n // 3))
    return [*numbers, 2**64 - 1, *uuids]


def random_page(ids: list[Any], seed: int = 0) -> Page:
    """Make codes and residuals as `CODES` has them, to be written.

    Args:
        ids: The points.
        seed: Seed of the generator.

    Returns:
        Page of the points, some of them with empty codes.
    """
    rng = np.random.default_rng(seed)
    dense = rng.random((len(ids), 64)) * (rng.random((len(ids), 64)) < 0.1)
    residuals = rng.integers(0, 256, (len(ids), 5), dtype=np.uint8)
    return Page(ids, codes=SparseVectors.from_dense(dense), residuals=residuals)


def flat(pages: Any) -> list[Any]:
    """Chain pages of ids."""
    return list(chain.from_iterable(pages))


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class HomeLaws:
    """The laws of `Home` as pytest tests: subclass it, with a fixture ``home``.

    The home holds `N` points: those of `ids`, in this order, each with the row of
    `embeddings` (N) as its vector ``"dense"``, compared by cosine, and the payload
    ``{"cat": row % 7, "ü": "ß"}``, whose field ``cat`` is indexed as integers.

    Attributes:
        absent: An id that no point has.
        is_normalized: Whether the engine normalises what it stores.
    """

    absent: PointId = 7**20
    is_normalized: bool = True

    def ids(self) -> list[Any]:
        """Return the ids of the points, in the engine's order."""
        return point_ids(N)

    def test_it_is_a_home(self, home: Any) -> None:
        assert isinstance(home, Home)

    def test_it_says_what_it_is(self, home: Home) -> None:
        found = home.describe()
        assert found.count == N
        dense = found.source("dense")
        assert (dense.dim, dense.distance, dense.is_multi) == (DIM, "Cosine", False)
        assert found.payload_indexes == (("cat", "integer"),)
        assert found.sparse == ()
        with pytest.raises(ConfigError, match="no dense vector 'text', its dense vectors: 'dense'"):
            found.source("text")

    def test_ids_come_in_order_and_each_once(self, home: Home) -> None:
        pages = list(home.ids(size=64))
        assert max(map(len, pages)) <= 64
        assert flat(pages) == sorted(self.ids(), key=id_order) == self.ids()

    @pytest.mark.parametrize("at", [0, 63, 64, 199, 200, 250, N - 1])
    def test_ids_go_on_behind_any(self, home: Home, at: int) -> None:
        ids = self.ids()
        assert flat(home.ids(ids[at], size=64)) == ids[at + 1 :]

    def test_ids_go_on_behind_one_that_is_gone(self, home: Home) -> None:
        ids = self.ids()
        self.delete(home, [ids[50], ids[250]])
        assert flat(home.ids(ids[50])) == [*ids[51:250], *ids[251:]]

    def test_ids_of_one_value_come_in_order(self, home: Home) -> None:
        wanted = self.ids()[3::7]
        assert flat(home.ids(size=8, filter=home.matching("cat", 3))) == wanted
        assert flat(home.ids(wanted[20], size=8, filter=home.matching("cat", 3))) == wanted[21:]

    def test_a_read_keeps_the_order_asked_for_and_leaves_out_what_is_gone(self, home: Home) -> None:
        ids = self.ids()
        rows = embeddings(N)
        page = home.read([ids[250], self.absent, ids[3]], vector="dense", payload=True)
        assert page.ids == [ids[250], ids[3]]
        assert page.vectors is not None
        want = _unit(rows[[250, 3]]) if self.is_normalized else rows[[250, 3]]
        np.testing.assert_allclose(page.vectors, want, atol=1e-6)
        assert page.payloads == [{"cat": 250 % 7, "ü": "ß"}, {"cat": 3, "ü": "ß"}]
        assert page.codes is None

    def test_codes_come_back_exactly(self, home: Home) -> None:
        home.add(CODES)
        home.add(CODES)  # harmless
        ids = self.ids()[190:230]
        written = random_page(ids)
        assert written.codes is not None
        assert written.residuals is not None
        assert home.write(CODES, written) == []
        back = home.read(ids[::-1] + self.ids()[:1], codes=CODES)
        assert back.codes is not None
        assert back.residuals is not None
        np.testing.assert_array_equal(back.codes[:40].to_dense(), written.codes.to_dense()[::-1])
        np.testing.assert_array_equal(back.residuals[:40], written.residuals[::-1])
        np.testing.assert_array_equal(back.is_coded, [True] * 40 + [False])
        now = home.describe()
        assert now.sparse == ("csr",)
        assert [one.name for one in now.dense] == ["csr_residual", "dense"]

    def test_what_lacks_a_code_is_listed(self, home: Home) -> None:
        home.add(CODES)
        ids = self.ids()
        home.write(CODES, random_page(ids[100:220]))
        assert flat(home.missing("csr", size=32)) == ids[:100] + ids[220:]
        assert flat(home.missing("csr", ids[230], size=32)) == ids[231:]

    def test_a_deleted_point_is_named_and_not_made_again(self, home: Home) -> None:
        home.add(CODES)
        ids = self.ids()
        self.delete(home, [ids[4], ids[290]])
        assert home.write(CODES, random_page(ids[:10] + ids[285:])) == [ids[4], ids[290]]
        assert home.describe().count == N - 2
        assert len(flat(home.missing("csr"))) == N - 25

    def test_drop_takes_what_was_added_and_nothing_else(self, home: Home) -> None:
        before = self.contents(home)
        home.add(CODES)
        home.write(CODES, random_page(self.ids()))
        assert self.contents(home) != before
        home.drop(CODES)
        home.drop(CODES)  # harmless
        assert self.contents(home) == before
        assert home.describe().sparse == ()

    def test_a_sample_is_of_the_points_and_each_once(self, home: Home) -> None:
        page = home.sample(100, "dense", seed=3)
        assert page.vectors is not None
        assert len(set(page.ids)) == len(page.vectors) == 100
        again = home.read(page.ids, vector="dense")
        np.testing.assert_array_equal(page.vectors, again.vectors)
        assert len(home.sample(N + 50, "dense").ids) == N

    def test_exact_search_agrees_with_numpy(self, home: Home) -> None:
        everything = home.read(self.ids(), vector="dense")
        assert everything.vectors is not None
        queries = embeddings(5, seed=9)
        cosines = _unit(queries) @ _unit(everything.vectors).T
        for hits, row in zip(home.exact(queries, "dense", limit=7), cosines, strict=True):
            best = np.argsort(-row)[:7]
            assert [hit.id for hit in hits] == [everything.ids[i] for i in best]
            np.testing.assert_allclose([hit.score for hit in hits], row[best], atol=1e-5)

    def test_a_filter_holds_in_both_searches(self, home: Home) -> None:
        home.add(CODES)
        page = random_page(self.ids())
        home.write(CODES, page)
        assert page.codes is not None
        keep = home.matching("cat", 3)
        wanted = {one for i, one in enumerate(self.ids()) if i % 7 == 3}
        exact = home.exact(embeddings(1), "dense", limit=N, filter=keep)[0]
        assert {hit.id for hit in exact} == wanted
        scores = page.codes[:1].dot(page.codes)[0]
        found = home.sparse(page.codes[:1], "csr", limit=N, filter=keep)[0]
        expected = {i: scores[j] for j, i in enumerate(page.ids) if i in wanted and scores[j]}
        assert {
            hit.id: pytest.approx(hit.score, abs=1e-5) for hit in found if hit.score
        } == expected

    def test_a_marker_stays_until_it_is_removed(self, home: Home) -> None:
        assert home.marker("csr") is None
        home.mark(MARKER)
        home.mark(MARKER.model_copy(update={"name": "other"}))
        assert home.marker("csr") == MARKER
        home.unmark("csr")
        home.unmark("csr")  # harmless
        assert home.marker("csr") is None
        assert home.marker("other") is not None

    def test_a_dense_vector_that_is_not_there_is_refused(self, home: Home) -> None:
        with pytest.raises(StoreError, match="no dense vector 'nope'"):
            home.read(self.ids()[:2], vector="nope")

    def delete(self, home: Any, ids: list[Any]) -> None:
        """Delete points by the engine's own means.

        Args:
            home: The home.
            ids: The ids.

        Raises:
            AssertionError: If a subclass has none.
        """
        raise AssertionError("a subclass deletes by its engine's own means")

    def contents(self, home: Any) -> Any:
        """Return all that the collection holds, to be compared.

        Args:
            home: The home.

        Returns:
            Whatever tells a change of it.

        Raises:
            AssertionError: If a subclass has none.
        """
        raise AssertionError("a subclass reads by its engine's own means")
