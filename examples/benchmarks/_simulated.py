"""A collection of any size that holds nothing: for what a job takes beside its engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from csrkit.collection import CodeVector, DenseVector, Description, Marker, Page
from csrkit.collection.homes._points import page_of


class Record(NamedTuple):
    """A record as an engine gives it."""

    id: int
    vector: Any
    payload: Any = None


class Simulated:
    """A collection of any size whose vectors are drawn when they are read; see `Home`."""

    url = "simulated://collection"

    def __init__(self, points: int, dim: int) -> None:
        self.points, self.dim, self.written = points, dim, 0
        self._markers: dict[str, Marker] = {}
        self._names: set[str] = set()

    def describe(self) -> Description:
        dense = (DenseVector("dense", self.dim, "Cosine"),)
        names = tuple(sorted(self._names))
        return Description("Simulated", None, "it", self.points, dense, names, (), (), True)

    def ids(
        self, after: Any = None, *, size: int = 4096, filter: Any = None
    ) -> Iterator[list[Any]]:
        for start in range(0 if after is None else after + 1, self.points, size):
            yield list(range(start, min(start + size, self.points)))

    def missing(self, name: str, after: Any = None, *, size: int = 4096) -> Iterator[list[Any]]:
        return iter(())

    def sample(self, n: int, vector: str, *, seed: int = 0) -> Page:
        drawn = np.random.default_rng(seed).choice(self.points, min(n, self.points), replace=False)
        return self.read(drawn.tolist(), vector=vector)

    def read(
        self,
        ids: Sequence[Any],
        *,
        vector: str | None = None,
        codes: CodeVector | None = None,
        payload: bool = False,
    ) -> Page:
        rows = np.random.default_rng(int(ids[0])).random((len(ids), self.dim), np.float32).tolist()
        records = [Record(one, {"dense": row}) for one, row in zip(ids, rows, strict=True)]
        return page_of(ids, records, vector and (vector, self.dim), None, payload)

    def add(self, codes: CodeVector) -> None:
        self._names.add(codes.name)

    def write(self, codes: CodeVector, page: Page) -> list[Any]:
        self.written += len(page.ids)
        return []

    def drop(self, codes: CodeVector) -> None:
        self._names.discard(codes.name)

    def marker(self, name: str) -> Marker | None:
        return self._markers.get(name)

    def mark(self, marker: Marker) -> None:
        self._markers[marker.name] = marker

    def unmark(self, name: str) -> None:
        self._markers.pop(name, None)

    def close(self) -> None:
        pass

    def _not_here(self, *arguments: Any, **options: Any) -> Any:
        raise SystemExit("a backfill needs none of this")

    exact = sparse = matching = snapshot = move_to_disk = drop_dense = disk_bytes = _not_here
