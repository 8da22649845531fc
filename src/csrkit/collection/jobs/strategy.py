"""Where the codes go: into the collection itself, or into a copy of it.

A `Strategy` is what differs between the two; the steps of a `Job` are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from csrkit.collection.copies.switching import Copy
from csrkit.collection.facts import Marker
from csrkit.collection.home import Home
from csrkit.collection.homes.opening import open_home, open_pair
from csrkit.collection.jobs.backfill import BATCH_NUMBERS, Backfill, Coder, Swept
from csrkit.collection.jobs.ledger import Ledger
from csrkit.collection.jobs.ownership import checked_own, claim, release
from csrkit.errors import ConfigError, JobError
from csrkit.stores._address import in_url

if TYPE_CHECKING:
    from csrkit.collection.jobs.manifest import Manifest
    from csrkit.collection.jobs.pace import Pace

__all__ = ["InPlace", "Strategy", "reopened", "strategy_of"]


class Strategy(Protocol):
    """Where codes go. Every method raises StoreError if the engine fails for good."""

    @property
    def home(self) -> Home:
        """Where the codes are, or before there are any, what they are made of."""
        ...

    def count(self) -> int:
        """Return how many points a worker goes through."""
        ...

    def claim(self) -> None:
        """Make room for codes, marked as this job's; goes on after a kill.

        Raises:
            JobError: If somebody else's work is in the way.
        """
        ...

    def checked(self) -> Marker:
        """Return the marker, and refuse what is not this job's.

        Returns:
            The marker.

        Raises:
            JobError: If it is another job's, or gone.
        """
        ...

    def worker(
        self, coder: Coder, ledger: Ledger, pace: Pace, moved: Callable[[int], None]
    ) -> Backfill:
        """Return what fills in codes and keeps them up.

        Args:
            coder: What makes the codes.
            ledger: Where it is noted.
            pace: How fast, which the worker may bound.
            moved: Called with the number of points after each batch.

        Returns:
            The worker.
        """
        ...

    def ready(self) -> None:
        """Refuse a cutover that cannot be, before work is done for it.

        Raises:
            JobError: If it cannot be.
        """
        ...

    def go_live(self, sweep: Callable[[], Swept]) -> Swept:
        """Bring every code up to date, and let searches find them.

        Args:
            sweep: Brings codes up to date.

        Returns:
            What the sweeps did.

        Raises:
            JobError: If they do not come to an end.
        """
        ...

    def settle(self) -> None:
        """Look whether anything was lost while searches began to find the codes.

        Raises:
            JobError: If somebody wrote where nobody looks any more.
        """
        ...

    def release(self, confirm: str | None) -> None:
        """Undo what the job added; goes on after a kill.

        Args:
            confirm: Name of what would be lost, typed by a person.

        Raises:
            JobError: If something would be lost, or is not this job's.
        """
        ...

    def drop_original(self, confirm: str | None) -> str | None:
        """Delete the collection that was copied, for good.

        Args:
            confirm: Its name, typed by a person.

        Returns:
            Name of the snapshot that was taken before; None if none was.

        Raises:
            ConfigError: If it is not confirmed, or nothing was copied.
            JobError: If it is still in use.
        """
        ...


def strategy_of(home: Home, manifest: Manifest, ledger: Ledger) -> Strategy:
    """Return the strategy of a job.

    Args:
        home: The collection as it was named.
        manifest: What the job is.
        ledger: How far it is.

    Returns:
        Its strategy.

    Raises:
        ConfigError: If the engine cannot do it.
    """  # noqa: DOC502  # raised by `open_pair`
    if manifest.copy_of is None:
        return InPlace(home, manifest)
    return Copy(open_pair(home, manifest.copy_of, manifest.title), manifest, ledger)


def reopened(manifest: Manifest, target: Any = None) -> Home:
    """Open the collection of a job again.

    Args:
        manifest: The job.
        target: A client or a home of it; None opens its URL.

    Returns:
        The collection as it was named; its copy, if that is all that is left.

    Raises:
        ConfigError: If it is not there.
        StoreError: If it cannot be opened.
    """  # noqa: DOC502  # raised by helpers
    place, _, _ = manifest.url.rpartition("/")

    def opened(url: str) -> Home:
        if hasattr(target, "update_vectors"):  # a client
            return open_home(target, unquote(url.rpartition("/")[2]))
        return open_home(url if target is None else target)

    if manifest.copy_of is None:
        return opened(manifest.url)
    with suppress(ConfigError):
        return opened(manifest.url)
    return opened(f"{place}/{in_url(manifest.title)}")


class InPlace:
    """Codes in the collection itself, beside its dense vectors.

    Args:
        home: The collection.
        manifest: The job.
    """

    def __init__(self, home: Home, manifest: Manifest) -> None:
        self.home = home
        self._manifest = manifest

    def count(self) -> int:
        """Count the points; see `Strategy.count`."""
        return self.home.describe().count

    def claim(self) -> None:
        """Mark the collection, and add the vectors; see `Strategy.claim`."""
        claim(self.home, self._manifest)

    def checked(self) -> Marker:
        """Return the marker; see `Strategy.checked`."""
        return checked_own(self.home, self._manifest)

    def worker(
        self, coder: Coder, ledger: Ledger, pace: Pace, moved: Callable[[int], None]
    ) -> Backfill:
        """Return a backfill; see `Strategy.worker`."""
        pace.limit(BATCH_NUMBERS // coder.model.dim)
        return Backfill(self.home, coder, ledger, pace, moved)

    def ready(self) -> None:
        """Refuse nothing: the name of the collection stays."""

    def go_live(self, sweep: Callable[[], Swept]) -> Swept:
        """Sweep, and mark the codes as live; see `Strategy.go_live`."""
        swept = sweep()
        self.home.mark(self.checked().model_copy(update={"is_live": True}))
        return swept

    def settle(self) -> None:
        """Do nothing: nobody has to look elsewhere."""

    def release(self, confirm: str | None) -> None:
        """Drop the vectors that were added; see `Strategy.release`."""
        vector = self._manifest.vector
        if vector not in {one.name for one in self.home.describe().dense}:
            raise JobError(
                f"the dense vector {vector!r} of {self._manifest.url} is not there any more: "
                "without the codes nothing could be found. Restore it first"
            )
        release(self.home, self._manifest)

    def drop_original(self, confirm: str | None) -> str | None:
        """Refuse: the original is the collection itself; see `Strategy.drop_original`."""
        raise ConfigError(
            f"the codes were added to {self._manifest.url} in place, so there is no original "
            "beside it to drop; dense='drop' drops its dense vector"
        )
