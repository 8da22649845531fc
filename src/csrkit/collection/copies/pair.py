"""`Pair`: a collection and the copy of it that gets codes, as far as a job needs both.

For an engine that cannot add a vector to a collection that exists. Nothing here changes the
original but what names it, `Pair.switch` and `Pair.drop_original`; whether either may be
called is for the job to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from csrkit.collection.facts import CodeVector, Marker
from csrkit.collection.home import Home, Page, PointId

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Pair", "Whole"]


class Whole(NamedTuple):
    """Points with all that they hold.

    Attributes:
        page: Their ids, and the dense vector that is encoded.
        points: Each as its engine gives it, in the same order.
        unread: Ids of points of which something cannot be read, with the reason.
    """

    page: Page
    points: Sequence[Any]
    unread: Mapping[PointId, str]


class Pair(Protocol):
    """Two collections of one engine. Every method raises StoreError if the engine fails."""

    @property
    def original(self) -> str:
        """Name of the original, which is no alias."""
        ...

    @property
    def title(self) -> str:
        """Name of the copy, which may not be there yet."""
        ...

    def source(self) -> Home:
        """Return the original.

        Returns:
            Its home.

        Raises:
            ConfigError: If it is not there (any more).
        """
        ...

    def copy(self) -> Home | None:
        """Return the copy, None if there is no collection of its name."""
        ...

    def has_source(self) -> bool:
        """Tell whether the original is there."""
        ...

    def check(self, *, residuals: bool) -> None:
        """Refuse an original that cannot be copied as it is; reads alone.

        Args:
            residuals: Whether the copy is to keep residuals beside its codes.

        Raises:
            ConfigError: If the copy would not be equal, or nothing could say whose it is.
        """
        ...

    def rivals(self, name: str) -> list[str]:
        """Return the names of other copies of the original that have codes of this name.

        Args:
            name: Name of the sparse vector.

        Returns:
            Collections that another job made.
        """
        ...

    def make(self, marker: Marker) -> None:
        """Make the copy, empty, with the settings of the original, codes and a marker.

        Never takes the place of a collection that is there.

        Args:
            marker: Whose it is, and which vectors it gets besides.
        """
        ...

    def complete(self) -> None:
        """Give the copy the payload indexes of the original; harmless to repeat."""
        ...

    def most(self, numbers: int) -> int:
        """Return how many points a batch may have.

        Args:
            numbers: Numbers that the vectors of a batch may have in all.

        Returns:
            Points, at least 1.
        """
        ...

    def read(self, ids: Sequence[PointId], vector: str) -> Whole:
        """Read points of the original, those that are there.

        Args:
            ids: Ids, each once.
            vector: Name of the dense vector to encode.

        Returns:
            The points, in the order asked for.
        """
        ...

    def write(self, whole: Whole, codes: CodeVector, coded: Page) -> None:
        """Put points into the copy, in place of older ones, and return once that is applied.

        Args:
            whole: The points.
            codes: The vector to set besides.
            coded: Codes, and residuals if the vector has them, of some of the points.

        Raises:
            Busy: If the engine may take it later; part of it may be applied.
        """
        ...

    def unlike(self, whole: Whole, codes: CodeVector) -> tuple[NDArray[np.bool_], Page]:
        """Compare points of the original with those of the copy.

        Args:
            whole: Points of the original.
            codes: The codes of the copy, which the original lacks.

        Returns:
            bool (n,), whether a payload or a vector differs, or the copy lacks the point;
            and the codes of the points that the copy has.
        """
        ...

    def digests(self, whole: Whole) -> NDArray[np.uint64]:
        """Return digests of all that points hold.

        Args:
            whole: The points.

        Returns:
            uint64 (n,).
        """
        ...

    def delete(self, ids: Sequence[PointId]) -> None:
        """Delete points of the copy.

        Args:
            ids: Which; those that are not there are passed over.
        """
        ...

    def obstacle(self) -> str | None:
        """Say why searches of the copy would be poor now.

        Returns:
            Such as that its index is being built; None if it is ready.
        """
        ...

    def switch(self, *, back: bool = False) -> list[str]:
        """Let the aliases of the original lead to the copy, all in one step.

        Args:
            back: The other way round.

        Returns:
            The aliases that were moved, none if there were none.
        """
        ...

    def drop_copy(self) -> None:
        """Delete the copy, for good; harmless to repeat."""
        ...

    def drop_original(self) -> str | None:
        """Delete the original, for good, after a snapshot.

        Returns:
            Name of the snapshot; None if the engine has none.
        """
        ...
