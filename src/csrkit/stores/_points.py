"""`PointStore`: what `EdgeStore` and `QdrantStore` have in common.

The embedded engine and the client spell a point alike (``id``, ``score``,
``payload``, ``vector`` with ``indices`` and ``values``) in classes of their own.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from csrkit.errors import StoreError
from csrkit.stores._checks import (
    Held,
    Upsert,
    checked_dense,
    checked_dim,
    checked_limit,
    checked_vector,
    kept_residuals,
)
from csrkit.stores._holder import Holder
from csrkit.stores._ids import checked_ids, hit_id, hit_payload, point_id, shown, stored_id
from csrkit.stores.base import Candidates, Hit, Ids
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "First",
    "PointStore",
    "Second",
    "residual_name",
    "residual_rows",
    "stacked",
]

FilterT = TypeVar("FilterT")


def residual_name(name: str) -> str:
    """Return the name of the dense vector that holds the residuals of the codes ``name``."""
    return f"{name}_residual"


def stacked(
    latents: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], dim: int
) -> SparseVectors:
    """Stack sparse vectors, sorting where needed: no engine promises an order of latents.

    Args:
        latents: Indices of each row, each once.
        weights: Values of each row, one per index.
        dim: Width of the codes.

    Returns:
        One row per vector.
    """
    counts = np.fromiter(map(len, latents), np.int64, len(latents))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = _flat(latents, "q", int(indptr[-1]))
    values = _flat(weights, "f", int(indptr[-1]))
    row_of = np.repeat(np.arange(len(counts)), counts)
    if np.any((np.diff(indices) <= 0) & (np.diff(row_of) == 0)):
        order = np.lexsort((indices, row_of))
        indices, values = indices[order], values[order]
    return SparseVectors(indptr, indices, values, dim)


def residual_rows(rows: Sequence[Sequence[float]], width: int) -> NDArray[np.uint8]:
    """Stack residuals.

    Args:
        rows: Numbers from 0 to 255, ``width`` in each row.
        width: Bytes per residual.

    Returns:
        uint8 (n, width).
    """
    whole = _flat(rows, "d", len(rows) * width)
    return whole.reshape(len(rows), width).astype(np.uint8)


def _flat(rows: Iterable[Sequence[float]], kind: str, size: int) -> NDArray[Any]:
    """Chain lists of numbers; struct takes lists apart faster than numpy does."""
    return np.frombuffer(struct.pack(f"={size}{kind}", *chain.from_iterable(rows)), f"={kind}")


class First(NamedTuple, Generic[FilterT]):
    """The sparse stage of a search.

    Attributes:
        limit: Documents that it passes on, or gives back.
        filter: The vendor's filter.
        least: Score that a document needs, None for any.
        vectors: Names of vectors that come with each document in place of its payload.
    """

    limit: int
    filter: FilterT | None
    least: float | None = None
    vectors: Sequence[str] = ()


class Second(NamedTuple):
    """The dense stage of a search.

    Attributes:
        rows: float32 (q, dim), the queries.
        vector: Name of the vector.
        limit: Most hits per query.
    """

    rows: NDArray[np.float32]
    vector: str
    limit: int


class PointStore(Holder, ABC, Generic[FilterT]):
    """What is the same in both stores: checks, searching, fetching.

    A subclass spells requests, sends them and reads the answers, `_batch_size`
    points or queries at a time; its filters are the vendor's ``FilterT``.
    """

    _name: str  # of the sparse vector
    _batch_size: int

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}  # of the dense vectors last seen

    @abstractmethod
    def _refreshed(self) -> Held | None:
        """Return what is held now, for another process may have stored the first codes."""

    @abstractmethod
    def _retrieve(
        self, points: list[int | str], names: list[str], doing: str, *, payloads: bool = False
    ) -> list[Any]:
        """Return the records of those of the points that are there, with the named vectors."""

    @abstractmethod
    def _ask(
        self, codes: SparseVectors, first: First[FilterT], second: Second | None = None
    ) -> list[Any]:
        """Return the scored points of each query, with payloads or with ``first.vectors``."""

    @abstractmethod
    def _dense_sizes(self) -> dict[str, int]:
        """Return the width of each dense vector but the residuals, as they are now."""

    def _named(self, codes: Iterable[Any], batch: Upsert) -> list[dict[str, Any]]:
        """Return the named vectors of each point, the codes spelled as the vendor's."""
        if batch.residuals is None:
            return [{self._name: code} for code in codes]
        rows = zip(codes, batch.residuals.tolist(), strict=True)
        rest = residual_name(self._name)
        return [{self._name: code, rest: residual} for code, residual in rows]

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: FilterT | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product.

        Args:
            codes: Queries, one result list each. Many in one call share a pass.
            limit: Most hits per query, at least 1.
            filter: The vendor's filter. On large stores it needs a payload index on
                its fields to be fast.

        Returns:
            Hits by falling score. With a filter and negative weights together,
            documents of score 0 are dropped but have used up places of limit.

        Raises:
            ConfigError: If limit is below 1.
            ShapeError: If the width of the codes is not the store's.
            StoreError: If the engine or server fails, or refuses the filter.
        """
        checked_limit(limit)
        checked_dim(codes, self.dim)
        return [_shared(points) for points in self._ask(codes, First(limit, filter))]

    def search_dense(
        self,
        codes: SparseVectors,
        queries: NDArray[np.float32],
        *,
        vector: str,
        candidates: int,
        limit: int = 10,
        filter: FilterT | None = None,
    ) -> list[list[Hit]]:
        """Find candidates by their codes and rank them by a dense vector, in one call.

        Args:
            codes: Queries as codes, for the first stage.
            queries: The same queries as float32 (q, dim), for the second.
            vector: Name of a dense vector of the same collection or folder; "" for
                an unnamed one.
            candidates: Documents per query that the first stage passes on, at least
                ``limit``.
            limit: Most hits per query, at least 1.
            filter: The vendor's filter, for the first stage.

        Returns:
            Hits, the best first, with the score that the engine computes from the
            vector, or from its quantised form if it is told to. Candidates share a
            latent with the query, unless a filter and negative weights come together.

        Raises:
            ConfigError: If limit is below 1, or there are fewer candidates than limit.
            ShapeError: If there is not one finite query per code, or a width is not
                the store's.
            StoreError: If there is no such vector, or the engine or server fails.
        """
        rows = checked_dense(codes, queries, candidates=candidates, limit=limit)
        checked_dim(codes, self.dim)
        if vector not in self._sizes:
            self._sizes = self._dense_sizes()
        checked_vector(vector, self._sizes, rows)
        first = First(candidates, filter, _least_score(codes))
        return [_hits(points) for points in self._ask(codes, first, Second(rows, vector, limit))]

    def candidates(
        self, codes: SparseVectors, *, limit: int, filter: FilterT | None = None
    ) -> list[Candidates]:
        """Find codes and bring them along; see `CandidateStore.candidates`.

        Args:
            codes: Queries, one result each. Many in one call share a pass.
            limit: Most documents per query, at least 1.
            filter: The vendor's filter, as for `search`.

        Returns:
            The documents that `search` would return, in its order.

        Raises:
            ConfigError: If limit is below 1.
            ShapeError: If the width of the codes is not the store's.
            StoreError: If the engine or server fails, or a document lacks its residual.
        """
        checked_limit(limit)
        checked_dim(codes, self.dim)
        held = self._known or self._refreshed() or Held(codes.dim)
        found = self._ask(codes, First(limit, filter, vectors=self._kept(held)))
        return [self._brought([one for one in points if one.score], held) for points in found]

    def _brought(self, points: Sequence[Any], held: Held) -> Candidates:
        keys = [stored_id(point.id) for point in points]
        names = self._kept(held)
        return Candidates(keys, *self._unpacked(keys, [_taken(one, names) for one in points], held))

    def resolve(self, ranked: Sequence[Sequence[tuple[Any, float]]]) -> list[list[Hit]]:
        """Name documents that `candidates` returned; see `CandidateStore.resolve`.

        Args:
            ranked: Per query the keys of those to return, each with its score.

        Returns:
            A hit for each of them, in the same order, without those deleted since.

        Raises:
            StoreError: If the engine or server fails.
        """  # noqa: DOC502  # raised by `_retrieve`
        keys = list(dict.fromkeys(key for row in ranked for key, _ in row))
        loads: dict[int | str, Any] = {}
        for start in range(0, len(keys), self._batch_size):
            batch = keys[start : start + self._batch_size]
            records = self._retrieve(batch, [], f"name {shown(batch)}", payloads=True)
            loads |= {stored_id(one.id): one.payload for one in records}
        return [
            [
                Hit(hit_id(key, loads[key]), score, hit_payload(loads[key]))
                for key, score in row
                if key in loads
            ]
            for row in ranked
        ]

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            One row per id, in full precision.

        Raises:
            StoreError: If an id has no code in the store, or the width of the codes
                is not known, because nothing was ever stored.
        """
        return self._fetched(ids, residuals=False)[0]

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            uint8 (n, residual_bytes).

        Raises:
            StoreError: If an id is not in the store, or the store keeps no residuals.
        """
        return kept_residuals(self.fetch_both(ids)[1])

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return the stored codes and residuals of the ids, in one call per batch.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            One row per id, and uint8 (n, residual_bytes), or None if the store
            keeps no residuals.

        Raises:
            StoreError: If an id is not in the store, or nothing was ever stored.
        """
        return self._fetched(ids, residuals=True)

    def _fetched(
        self, ids: Ids, *, residuals: bool
    ) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        plain = checked_ids(ids)
        held = self._known or self._refreshed()
        if held is None:
            raise StoreError(
                f"cannot fetch {shown(plain)}: nothing was stored yet, "
                "so the width of the codes is not known"
            )
        wanted = held if residuals else Held(held.dim)
        starts = range(0, max(len(plain), 1), self._batch_size)  # of no ids one part of no rows
        parts = [self._part(plain[start : start + self._batch_size], wanted) for start in starts]
        codes = SparseVectors.concat([part for part, _ in parts])
        rests = [rest for _, rest in parts if rest is not None]
        return codes, np.concatenate(rests) if rests else None

    def _part(
        self, ids: list[int | str], wanted: Held
    ) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Fetch a batch: its codes, and its residuals if they have a width."""
        points, names = list(map(point_id, ids)), self._kept(wanted)
        records = self._retrieve(points, names, f"fetch {shown(ids)}") if points else []
        found = {stored_id(record.id): _taken(record, names) for record in records}
        nothing = [None] * len(names)
        return self._unpacked(ids, [found.get(point, nothing) for point in points], wanted)

    def _kept(self, held: Held) -> list[str]:
        """Return the names of the vectors that each document has."""
        return [self._name, residual_name(self._name)] if held.residual_bytes else [self._name]

    def _unpacked(
        self, ids: Sequence[int | str], rows: list[list[Any]], held: Held
    ) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Turn the engine's vectors into codes, and residuals if they have a width."""
        width = held.residual_bytes
        missing = [one for one, row in zip(ids, rows, strict=True) if None in row]
        if missing:
            what = f"code {self._name!r} with its residual" if width else f"code {self._name!r}"
            raise StoreError(f"no {what} is stored for {shown(missing)}")
        vectors = [row[0] for row in rows]
        codes = stacked([one.indices for one in vectors], [one.values for one in vectors], held.dim)
        return codes, residual_rows([row[1] for row in rows], width) if width else None


def _taken(point: Any, names: Sequence[str]) -> list[Any]:
    """Return a point's vectors, None for one that it lacks; an engine copies them when asked."""
    vectors = point.vector or {}
    return [vectors.get(name) for name in names]


def _hits(points: Sequence[Any]) -> list[Hit]:
    return [
        Hit(hit_id(point.id, point.payload), float(point.score), hit_payload(point.payload))
        for point in points
    ]


def _shared(points: Sequence[Any]) -> list[Hit]:
    """Drop score 0: with a filter the engine scores documents one by one and gives them too."""
    return _hits([point for point in points if point.score])


def _least_score(codes: SparseVectors) -> float | None:
    """Return what a candidate must score to share a latent; negative weights leave it open."""
    return float(np.finfo(np.float32).tiny) if codes.is_nonnegative else None
