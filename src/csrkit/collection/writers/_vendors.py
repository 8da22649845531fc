"""Points as each vendor spells them, and the two calls that write them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from csrkit.collection.home import Home, PointId
from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from csrkit.collection.homes.edge import EdgeHome
    from csrkit.collection.homes.qdrant import QdrantHome
    from csrkit.stores._retry import Retry
    from csrkit.vectors import SparseVectors

__all__ = ["Vendor", "vendor_of"]


class Vendor(Protocol):
    """How an engine wants its points."""

    def sparse(self, codes: SparseVectors) -> list[Any]:
        """Spell codes."""
        ...

    def point(self, one: PointId, vectors: dict[str, Any], payload: dict[str, Any] | None) -> Any:
        """Spell a whole point."""
        ...

    def vectors(self, one: PointId, vectors: dict[str, Any], payload: Any = None) -> Any:
        """Spell vectors of a point that exists."""
        ...

    def upsert(self, points: list[Any], doing: str, wait: bool) -> None:
        """Insert or replace points."""
        ...

    def update_vectors(self, points: list[Any], doing: str, wait: bool) -> None:
        """Set vectors of points that exist."""
        ...


def vendor_of(home: Home, retry: Retry) -> Vendor:
    """Return how the engine of a home is written to.

    Args:
        home: The collection.
        retry: How patiently a server is asked again.

    Returns:
        The vendor.

    Raises:
        ConfigError: If it is no home of csrkit's own.
    """
    from csrkit.collection.homes.edge import EdgeHome
    from csrkit.collection.homes.qdrant import QdrantHome

    if isinstance(home, EdgeHome):
        return _Shard(home)
    if isinstance(home, QdrantHome):
        return _Server(home, retry)
    raise ConfigError(
        f"expected a QdrantHome or an EdgeHome to write to, got {type(home).__name__}"
    )


class _Server:
    def __init__(self, home: QdrantHome, retry: Retry) -> None:
        from qdrant_client import models

        from csrkit.stores._collection import Collection

        self._models = models
        self._home = Collection(home.client, home.title, "", retry)

    def sparse(self, codes: SparseVectors) -> list[Any]:
        from csrkit.collection.homes._spelling import vectors_of

        return list(vectors_of(codes))

    def point(self, one: PointId, vectors: dict[str, Any], payload: dict[str, Any] | None) -> Any:
        return self._models.PointStruct(id=one, vector=vectors, payload=payload)

    def vectors(self, one: PointId, vectors: dict[str, Any], payload: Any = None) -> Any:
        return self._models.PointVectors(id=one, vector=vectors)

    def upsert(self, points: list[Any], doing: str, wait: bool) -> None:
        home = self._home
        home.write(doing, lambda: [home.client.upsert(home.title, points, wait=wait)])

    def update_vectors(self, points: list[Any], doing: str, wait: bool) -> None:
        home = self._home
        home.write(doing, lambda: [home.client.update_vectors(home.title, points, wait=wait)])


class _Shard:
    def __init__(self, home: EdgeHome) -> None:
        from csrkit.stores._engine import edge_module

        self._edge, self._home = edge_module(), home

    def sparse(self, codes: SparseVectors) -> list[Any]:
        from csrkit.stores._engine import sparse

        return list(sparse(codes))

    def _spelled(self, vector: Any) -> Any:
        """Spell the client's sparse vectors as the engine's, and arrays as lists."""
        if hasattr(vector, "indices") and hasattr(vector, "values"):
            return self._edge.SparseVector(list(vector.indices), list(vector.values))
        return vector.tolist() if hasattr(vector, "tolist") else vector

    def point(self, one: PointId, vectors: dict[str, Any], payload: dict[str, Any] | None) -> Any:
        spelled = {name: self._spelled(vector) for name, vector in vectors.items()}
        return self._edge.Point(one, spelled, payload)

    def vectors(self, one: PointId, vectors: dict[str, Any], payload: Any = None) -> Any:
        spelled = {name: self._spelled(vector) for name, vector in vectors.items()}
        return self._edge.PointVectors(one, spelled)

    def upsert(self, points: list[Any], doing: str, wait: bool) -> None:
        self._home._update(doing, self._edge.UpdateOperation.upsert_points(points))

    def update_vectors(self, points: list[Any], doing: str, wait: bool) -> None:
        self._home._update(doing, self._edge.UpdateOperation.update_vectors(points))
