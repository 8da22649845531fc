"""What both faces of Qdrant have in common: points as csrkit's types, and fetching them by id.

The embedded engine and the client spell a point alike (``id``, ``score``,
``payload``, ``vector`` with ``indices`` and ``values``) in classes of their own.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import StoreError
from csrkit.stores._checks import Held, kept_residuals
from csrkit.stores._ids import hit_id, hit_payload, known_ids, point_id, shown, stored_id
from csrkit.stores.base import Hit, Ids
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FetchesPoints", "gathered", "hits", "residual_name", "residual_rows", "vectors_of"]


def residual_name(name: str) -> str:
    """Return the name of the dense vector that holds the residuals of the codes ``name``."""
    return f"{name}_residual"


def hits(points: Sequence[Any]) -> list[Hit]:
    """Return the hits of one query.

    Args:
        points: Scored points by falling score.

    Returns:
        The same without those of score 0: with a filter the engine scores
        documents one by one and gives them, without a filter it does not.
    """
    return [
        Hit(hit_id(point.id, point.payload), float(point.score), hit_payload(point.payload))
        for point in points
        if point.score
    ]


def gathered(rows: Sequence[Any], dim: int) -> SparseVectors:
    """Stack sparse vectors, sorting where needed: the engine promises no order of latents.

    Args:
        rows: Objects with ``indices`` and ``values``.
        dim: Width of the codes.

    Returns:
        One row per vector.
    """
    latents = [row.indices for row in rows]  # once: each access may copy
    counts = np.fromiter(map(len, latents), np.int64, len(latents))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = _flat(latents, "q", int(indptr[-1]))
    values = _flat((row.values for row in rows), "f", int(indptr[-1]))
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
    """Chain lists of numbers; struct takes them apart twice as fast as numpy does."""
    return np.frombuffer(struct.pack(f"={size}{kind}", *chain.from_iterable(rows)), f"={kind}")


def vectors_of(records: Iterable[Any]) -> dict[int | str, dict[str, Any]]:
    """Return the named vectors of records, by the engine's id; none for a point without."""
    return {stored_id(record.id): record.vector or {} for record in records}


class FetchesPoints(ABC):
    """Codes and residuals by id, for a store that says what it holds and reads vectors."""

    _name: str  # of the sparse vector
    _batch_size: int  # points per call

    @abstractmethod
    def _held(self) -> Held | None:
        """Return what the first upsert fixed, asking the server if need be; None before it."""

    @abstractmethod
    def _read(self, points: list[int | str], names: list[str], doing: str) -> dict[Any, Any]:
        """Return the named vectors of those of the points that are there, by the engine's id."""

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
        plain = known_ids(ids)
        held = self._held()
        if held is None:
            raise StoreError(
                f"cannot fetch {shown(plain)}: nothing was stored yet, "
                "so the width of the codes is not known"
            )
        width = held.residual_bytes if residuals else 0
        starts = range(0, max(len(plain), 1), self._batch_size)  # of no ids one part of no rows
        batches = [plain[start : start + self._batch_size] for start in starts]
        parts = [self._part(batch, held.dim, width) for batch in batches]
        codes = SparseVectors.concat([part for part, _ in parts])
        return codes, np.concatenate([rest for _, rest in parts]) if width else None

    def _part(
        self, ids: list[int | str], dim: int, width: int
    ) -> tuple[SparseVectors, NDArray[np.uint8]]:
        """Fetch a batch: its codes, and its residuals if they have a width."""
        names = [self._name, residual_name(self._name)] if width else [self._name]
        points = list(map(point_id, ids))
        found = self._read(points, names, f"fetch {shown(ids)}") if points else {}
        rows = [[found.get(point, {}).get(name) for name in names] for point in points]
        missing = [one for one, row in zip(ids, rows, strict=True) if None in row]
        if missing:
            what = f"code {self._name!r} with its residual" if width else f"code {self._name!r}"
            raise StoreError(f"no {what} is stored for {shown(missing)}")
        codes = gathered([row[0] for row in rows], dim)
        return codes, residual_rows([row[1] for row in rows] if width else [], width)
