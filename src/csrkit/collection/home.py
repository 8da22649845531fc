"""`Home`: one collection of one engine, as far as a job needs it; and the types that flow.

A job reads ids, reads vectors by id, adds one named sparse vector, and sets it on points
that are there. Nothing in this protocol inserts a point, deletes one, or changes a payload
or a dense vector, so no mistake above it can. What destroys (`Home.drop`, `Home.drop_dense`)
names what it destroys; whether it may is for the job to decide, by the `Marker`.

Ids are the engine's own, whole numbers and UUIDs in lower case, in the engine's order:
numbers by size, then UUIDs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from csrkit.collection.facts import CodeVector, DenseVector, Description, Marker
from csrkit.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from csrkit.stores.base import Hit
    from csrkit.vectors import SparseVectors

__all__ = [
    "Busy",
    "CodeVector",
    "DenseVector",
    "Description",
    "Home",
    "Marker",
    "Page",
    "PointId",
    "id_order",
]

PointId: TypeAlias = int | str


def id_order(one: PointId) -> tuple[bool, PointId]:
    """Return the sort key of an id: the engine lists numbers first, then UUIDs."""
    return isinstance(one, str), one


class Busy(StoreError):
    """The engine cannot take a call now and may later: 429, 503, a time-out, a lost connection.

    Args:
        message: What was refused, and the engine's words.
        wait_s: Seconds that the engine asks to wait, 0 if it names none.
    """

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Page(NamedTuple):
    """Some points as they were when they were read, all fields in the order of ``ids``.

    Attributes:
        ids: Their ids.
        vectors: float32 (n, dim), the dense vector; a row of NaN where a point has none,
            or the engine gives none that can be read. None if not asked for.
        codes: n codes, empty where a point has none; None if not asked for.
        is_coded: bool (n,), whether the point has a code, and a residual if the vector has
            them; None if codes were not asked for.
        residuals: uint8 (n, residual_bytes), zero where there is none; None if not asked
            for, or the vector keeps none.
        payloads: One JSON object per point; None if not asked for.
    """

    ids: list[PointId]
    vectors: NDArray[np.float32] | None = None
    codes: SparseVectors | None = None
    is_coded: NDArray[np.bool_] | None = None
    residuals: NDArray[np.uint8] | None = None
    payloads: list[dict[str, Any]] | None = None


@runtime_checkable
class Home(Protocol):
    """One collection of one engine. Every method raises StoreError if the engine fails."""

    @property
    def url(self) -> str:
        """Where it is, without any secret: ``qdrant://host:port/docs``, ``edge:///folder``."""
        ...

    def describe(self) -> Description:
        """Return what the collection is now."""
        ...

    def ids(
        self, after: PointId | None = None, *, size: int = 4096, filter: Any = None
    ) -> Iterator[list[PointId]]:
        """List ids in the engine's order, a page at a time.

        Args:
            after: Begin behind this id, which need not exist.
            size: Most ids per page.
            filter: The vendor's filter, as `matching` makes one; None lists all.

        Returns:
            Pages of ids, rising; points that are written meanwhile may be among them.
        """
        ...

    def missing(
        self, name: str, after: PointId | None = None, *, size: int = 4096
    ) -> Iterator[list[PointId]]:
        """List the ids of points without the named vector, a page at a time.

        Args:
            name: Name of a vector of the collection.
            after: Begin behind this id.
            size: Most ids per page.

        Returns:
            Pages of ids, rising.
        """
        ...

    def sample(self, n: int, vector: str, *, seed: int = 0) -> Page:
        """Read dense vectors of points drawn uniformly, without reading the whole collection.

        Args:
            n: Points wanted; fewer come if there are fewer with the vector.
            vector: Name of the dense vector.
            seed: Seed of the draw, where the engine leaves the draw to the caller.

        Returns:
            A page with vectors, each point once, rows of NaN and zero left out.
        """
        ...

    def read(
        self,
        ids: Sequence[PointId],
        *,
        vector: str | None = None,
        codes: CodeVector | None = None,
        payload: bool = False,
    ) -> Page:
        """Read points by id, those that are there, in the order asked for.

        Args:
            ids: Ids, each once.
            vector: Dense vector to read.
            codes: Codes to read, with their residuals if they have any.
            payload: Whether to read payloads.

        Returns:
            A page; ids that are not there (any more) are left out.
        """
        ...

    def add(self, codes: CodeVector) -> None:
        """Add the sparse vector to the collection, and the one of residuals; harmless to repeat.

        Args:
            codes: What to add.

        Raises:
            ConfigError: If this engine cannot add a vector to a collection that exists.
        """
        ...

    def write(self, codes: CodeVector, page: Page) -> list[PointId]:
        """Set codes and residuals on points, and return once that is applied.

        A point that is gone is not made again. One attempt: what may pass is `Busy`.

        Args:
            codes: The vector to set.
            page: Ids with codes, and residuals if the vector has them.

        Returns:
            Ids that do not exist (any more).

        Raises:
            Busy: If the engine may take it later; part of it may be applied.
        """
        ...

    def drop(self, codes: CodeVector) -> None:
        """Remove the sparse vector and its residuals from all points; harmless to repeat.

        Args:
            codes: What to remove.
        """
        ...

    def exact(
        self, queries: NDArray[np.float32], vector: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search a dense vector by the engine's own exact search.

        Args:
            queries: float32 (q, dim).
            vector: Name of the dense vector.
            limit: Most hits per query.
            filter: The vendor's filter; see `matching`.

        Returns:
            Hits without payloads, the best first.
        """
        ...

    def sparse(
        self, queries: SparseVectors, name: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search the sparse vector.

        Args:
            queries: q codes.
            name: Name of the sparse vector.
            limit: Most hits per query.
            filter: The vendor's filter.

        Returns:
            Hits without payloads, the best first; an empty code finds nothing.
        """
        ...

    def matching(self, field: str, value: str | int | bool) -> Any:
        """Return the vendor's filter of points whose payload field has the value.

        Args:
            field: Name of the field.
            value: What it has to be.

        Returns:
            The filter, for `exact` and `sparse`.
        """
        ...

    def marker(self, name: str) -> Marker | None:
        """Return who added the sparse vector.

        Args:
            name: Name of the sparse vector.

        Returns:
            The marker; None if the vector carries none of csrkit's.
        """
        ...

    def mark(self, marker: Marker) -> None:
        """Write a marker, in place of an older one of the same vector.

        Args:
            marker: The marker.
        """
        ...

    def unmark(self, name: str) -> None:
        """Remove a marker; harmless to repeat.

        Args:
            name: Name of the sparse vector.
        """
        ...

    def snapshot(self) -> str | None:
        """Take a snapshot of the collection.

        Returns:
            Its name; None if the engine has no snapshots.
        """
        ...

    def move_to_disk(self, vector: str) -> bool:
        """Keep a dense vector on disk from now on.

        Args:
            vector: Its name.

        Returns:
            False if the engine offers no such setting for a vector that exists.
        """
        ...

    def drop_dense(self, vector: str) -> None:
        """Remove a dense vector from all points, for good.

        Args:
            vector: Its name.
        """
        ...

    def disk_bytes(self) -> int | None:
        """Return the bytes on disk as allocated, None if the engine does not tell."""
        ...

    def close(self) -> None:
        """Release what is held; a client that was passed in stays open."""
        ...
