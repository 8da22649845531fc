"""`Copy`: the strategy of a job whose codes go into a copy, to which aliases move at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from csrkit.collection.copies.copying import Copying, drift_of, left_behind
from csrkit.collection.facts import Marker
from csrkit.collection.home import Home
from csrkit.collection.jobs.backfill import BATCH_NUMBERS, Backfill, Coder, Swept
from csrkit.collection.jobs.ledger import Ledger, Phase
from csrkit.collection.jobs.ownership import checked_own, refuse_taken
from csrkit.errors import ConfigError, JobError

if TYPE_CHECKING:
    from csrkit.collection.copies.pair import Pair
    from csrkit.collection.jobs.manifest import Manifest
    from csrkit.collection.jobs.pace import Pace

__all__ = ["Copy"]

_PASSES = 3  # comparisons at a cutover before the collection is said to be written to


class Copy:
    """Codes in a copy; see `csrkit.collection.jobs.strategy.Strategy`.

    Args:
        pair: The collection and its copy.
        manifest: The job.
        ledger: How far it is.
    """

    def __init__(self, pair: Pair, manifest: Manifest, ledger: Ledger) -> None:
        self.pair = pair
        self._manifest, self._ledger = manifest, ledger
        self._made: Home | None = None
        self._last: Copying | None = None

    @property
    def home(self) -> Home:
        """The copy, or before it is made, the original."""
        return self._own() or self.pair.source()

    def _own(self) -> Home | None:
        """Return the copy if it is there and this job's."""
        if self._made is None:
            found = self.pair.copy()
            marker = found.marker(self._manifest.name) if found else None
            if marker is not None and marker.job == self._manifest.job:
                self._made = found
        return self._made

    def count(self) -> int:
        """Count the points of what is read; see `Strategy.count`."""
        return (self.home if self._is_live() else self.pair.source()).describe().count

    def claim(self) -> None:
        """Make the copy, empty; see `Strategy.claim`."""
        name = self._manifest.name
        if self.pair.copy() is None:
            refuse_taken(self.pair.source().describe(), self._manifest)
            rivals = self.pair.rivals(name)
            if rivals:
                raise JobError(
                    f"{self.pair.original} has a copy with codes {name!r} already, {rivals[0]}, of "
                    "another job: go on with that job's folder, or roll it back first"
                )
            self.pair.make(self._manifest.marker)
        if self._own() is None:
            raise JobError(
                f"there is a collection {self.pair.title!r} that carries no marker of this job, "
                "and nothing is overwritten: begin in another job folder, which has another name"
            )
        self.pair.complete()

    def checked(self) -> Marker:
        """Return the marker of the copy; see `Strategy.checked`."""
        self._made = None
        own = self._own()
        if own is None:
            raise JobError(
                f"the copy {self.pair.title!r} is not there any more, or carries no marker of this "
                "job: roll this job back, and begin another"
            )
        return checked_own(own, self._manifest)

    def worker(
        self, coder: Coder, ledger: Ledger, pace: Pace, moved: Callable[[int], None]
    ) -> Backfill:
        """Return what copies; once live, what keeps the copy up; see `Strategy.worker`."""
        if self._is_live():
            pace.limit(BATCH_NUMBERS // coder.model.dim)
            return Backfill(self.home, coder, ledger, pace, moved)
        pace.limit(self.pair.most(BATCH_NUMBERS))
        self._last = Copying(self.pair, coder, ledger, pace, moved)
        return self._last

    def _is_live(self) -> bool:
        """Tell whether aliases were moved, also if a kill kept that out of the ledger."""
        if self._ledger.phase in (Phase.CUTOVER, Phase.FINALIZED):
            return True
        own = self._own()
        marker = own.marker(self._manifest.name) if own else None
        return bool(own and marker and marker.is_live and own.describe().aliases)

    def ready(self) -> None:
        """Refuse a copy to which nothing can be switched; see `Strategy.ready`."""
        if self._is_live():
            return
        source = self.pair.source().describe()
        if not source.aliases:
            raise JobError(
                f"{self.pair.original!r} is used by its own name, which cannot be moved to the "
                f"copy {self.pair.title!r}: make an alias that leads to it, let every service "
                "search and write by the alias, and cut over again"
            )
        obstacle = self.pair.obstacle()
        if obstacle:
            raise JobError(
                f"not cut over: the copy {self.pair.title!r} is not ready, {obstacle}: "
                "cut over again when it is"
            )

    def go_live(self, sweep: Callable[[], Swept]) -> Swept:
        """Compare until nothing differs, and move the aliases; see `Strategy.go_live`."""
        swept = sweep()
        if self._is_live():
            return swept
        last = swept
        for _ in range(_PASSES - 1):
            if not last.written and not last.gone:
                break
            last = sweep()
            swept = swept.plus(last)
        if last.written or last.gone:
            raise JobError(
                f"not cut over: {self.pair.original!r} is being written to, {last.written} points "
                f"were written and {last.gone} deleted while the copy was compared with it; "
                "pause what writes until the aliases are moved, and cut over again"
            )
        self.home.mark(self.checked().model_copy(update={"is_live": True}))
        self.pair.switch()
        return swept

    def settle(self) -> None:
        """Look whether the original was written to meanwhile; see `Strategy.settle`."""
        if self._last is None:
            return  # a kill came between: what compared is gone
        manifest, trace, self._last = self._manifest, self._last.trace, None
        found = left_behind(self.pair, manifest.codes, manifest.vector, trace)
        if found.ids:
            raise JobError(
                f"cut over, but {self.pair.original!r} was written to after it was compared, "
                f"points such as {list(found.ids)}: what writes did not pause. The aliases lead to "
                f"{self.pair.title!r} now: write those points again by them, or roll back"
            )

    def release(self, confirm: str | None) -> None:
        """Move the aliases back, and delete the copy; see `Strategy.release`."""
        if self._own() is None:
            return  # nothing was made, or all of it is deleted
        if not self.pair.has_source():
            raise JobError(
                f"{self.pair.original!r} is not there any more: without the copy "
                f"{self.pair.title!r} nothing would be left. Restore it first"
            )
        if self._is_live() and confirm != self.pair.title:
            self._refuse_loss()
        self.pair.switch(back=True)
        self.pair.drop_copy()

    def _refuse_loss(self) -> None:
        drift = drift_of(self.pair, self._manifest.codes, self._manifest.vector)
        if drift.changed or drift.deleted:
            raise JobError(
                f"since the cutover {drift.changed} points were written to {self.pair.title!r} and "
                f"{drift.deleted} deleted, such as {list(drift.ids)}, which {self.pair.original!r} "
                "does not know: make the same changes there, or give them up with "
                f"confirm={self.pair.title!r} (--confirm)"
            )

    def drop_original(self, confirm: str | None) -> str | None:
        """Delete the original; see `Strategy.drop_original`."""
        if confirm != self.pair.original:
            raise ConfigError(
                f"deleting the collection {self.pair.original!r} cannot be undone: to do it, pass "
                f"its name, confirm={self.pair.original!r} (--confirm), got {confirm!r}"
            )
        if not self.pair.has_source():
            return None  # it is done
        aliases = self.pair.source().describe().aliases
        if aliases:
            raise JobError(
                f"{self.pair.original!r} is still in use, by its aliases {list(aliases)}: "
                "cut over again, which moves them, or delete them"
            )
        return self.pair.drop_original()
