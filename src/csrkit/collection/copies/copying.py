"""Copy a collection into one that has codes, for a server that cannot add a vector in place.

::

    original --ids--> read whole --> encode --> upsert --> copy      range by range
             <------------- compare, until a pass finds nothing       at the cutover
    aliases:  original ==> copy                                       in one step

The original is only read. Until the aliases are moved the copy follows it, deletions too;
from then on the copy is the collection, and nothing is carried over any more. So whoever
writes has to pause from the last comparison until the aliases are moved; a pass that still
finds changes refuses to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.collection.copies.pair import Pair, Whole
from csrkit.collection.copies.traces import Trace, bucket_of
from csrkit.collection.home import Home, Page, PointId, id_order
from csrkit.collection.jobs import backfill
from csrkit.collection.jobs.backfill import Backfill, Coder, Part, Swept, same_codes, taken
from csrkit.collection.jobs.ledger import Ledger
from csrkit.collection.jobs.pace import Pace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.facts import CodeVector

__all__ = ["Both", "Copying", "Drift", "beside", "drift_of", "left_behind", "listed"]

_BATCH = 256  # points that are compared at a time, where nothing sets a pace
_NAMED = 5  # ids that a message names


class Both(NamedTuple):
    """The ids of a stretch of two collections.

    Attributes:
        ids: Those of the original.
        copied: Those of the copy.
    """

    ids: list[PointId]
    copied: list[PointId]


def beside(originals: Iterable[list[PointId]], copies: Iterable[list[PointId]]) -> Iterator[Both]:
    """Go through the ids of two collections together, holding a few pages of them.

    Args:
        originals: Pages of rising ids.
        copies: The same of the other collection.

    Yields:
        Stretches that begin and end at the same ids.
    """
    rest: list[PointId] = []
    more = iter(copies)
    for ids in originals:
        last = id_order(ids[-1])
        while not rest or id_order(rest[-1]) <= last:
            page = next(more, None)
            if page is None:
                break
            rest += page
        inside = [one for one in rest if id_order(one) <= last]
        rest = rest[len(inside) :]
        yield Both(ids, inside)
    if rest:
        yield Both([], rest)
    for page in more:
        yield Both([], page)


def listed(home: Home, size: int) -> Iterator[list[PointId]]:
    """List all ids, and ask again behind the last: an answer may have been cut short.

    Args:
        home: The collection.
        size: Most ids per page.

    Yields:
        Pages of rising ids.
    """
    after: PointId | None = None
    is_over = False
    while not is_over:
        is_over = True
        for page in home.ids(after, size=size):
            after, is_over = page[-1], False
            yield page


class Copying(Backfill):
    """Writes whole points with their codes into a copy, and lets it follow the original.

    Args:
        pair: The original and the copy, which has been made.
        coder: What makes the codes.
        ledger: Where it is noted.
        pace: How fast.
        moved: Called with the number of points after each batch.

    Attributes:
        trace: Of the points of the original as they were last compared with the copy.
    """

    def __init__(
        self,
        pair: Pair,
        coder: Coder,
        ledger: Ledger,
        pace: Pace,
        moved: Callable[[int], None] = lambda points: None,
    ) -> None:
        super().__init__(pair.source(), coder, ledger, pace, moved)
        self._pair = pair
        self.trace = Trace()

    def _batch(self, some: Sequence[PointId], part: Part) -> None:
        """Copy some points, with a code where one can be made."""
        whole, coded = self._read(some, part)
        part.written.update(coded.ids)
        part.gone += len(some) - len(whole.page.ids)
        if whole.page.ids:
            self._pair.write(whole, self._coder.codes, coded)

    def _read(self, some: Sequence[PointId], part: Part) -> tuple[Whole, Page]:
        whole = self._pair.read(some, self._coder.vector)
        coded, rejects = self._coder.encode(whole.page)
        part.rejects |= {**rejects, **whole.unread}
        return whole, coded

    # -- following --------------------------------------------------------------------

    def sweep_missing(self) -> Swept:
        """Copy points that the copy lacks, and delete those that the original has no more.

        Looks at ids alone.

        Returns:
            What was done; ``gone`` counts deletions.

        Raises:
            JobError: If the ledger cannot be written.
            StoreError: If a collection fails for good.
        """  # noqa: DOC502  # raised by helpers
        return self._swept(self._both(), self._fill)

    def sweep_stale(self) -> Swept:
        """Compare every point, payload, vectors and code, and copy those that differ.

        Returns:
            What was done; ``gone`` counts deletions.

        Raises:
            JobError: If the ledger cannot be written.
            StoreError: If a collection fails for good.
        """  # noqa: DOC502  # raised by helpers
        self.trace = Trace()
        return self._swept(self._both(), self._match)

    def _both(self) -> Iterator[Both]:
        copy = self._pair.copy()
        assert copy is not None  # it was made
        size = backfill.RANGE_POINTS
        return beside(listed(self._home, size), listed(copy, size))

    def _fill(self, both: Both, part: Part) -> None:
        self._remove(both, part)
        there = set(both.copied)
        new = [one for one in both.ids if one not in there]
        self._write(new, part)
        part.written.update(one for one in part.rejects if one in new)

    def _match(self, both: Both, part: Part) -> None:
        self._remove(both, part)
        self._paced(both.ids, lambda some: self._renewed(some, part))

    def _remove(self, both: Both, part: Part) -> None:
        """Delete from the copy what the original has no more; look twice before."""
        extra = sorted(set(both.copied) - set(both.ids), key=id_order)
        if extra:
            back = set(self._home.read(extra).ids)
            extra = [one for one in extra if one not in back]
            self._paced(extra, self._pair.delete)
            part.gone += len(extra)

    def _renewed(self, some: Sequence[PointId], part: Part) -> None:
        whole, coded = self._read(some, part)
        if not whole.page.ids:
            return  # what vanished just now is removed in the next pass
        self.trace.add(whole.page.ids, self._pair.digests(whole))
        differs, stored = self._pair.unlike(whole, self._coder.codes)
        rows = np.flatnonzero(differs | _stale(whole, coded, stored))
        if rows.size:
            changed = [whole.page.ids[row] for row in rows.tolist()]
            self._pair.write(_some(whole, rows), self._coder.codes, _of(coded, set(changed)))
            part.written.update(changed)


def _stale(whole: Whole, coded: Page, stored: Page) -> NDArray[np.bool_]:
    """Tell for each point whether the copy has another code than it should, or one too many."""
    assert stored.is_coded is not None  # codes were asked for
    place = {one: row for row, one in enumerate(stored.ids)}
    new = taken(coded, np.flatnonzero([one in place for one in coded.ids]))
    same = same_codes(new, stored, np.array([place[one] for one in new.ids], np.int64))
    wrong = {one for one, row in place.items() if stored.is_coded[row]} - set(coded.ids)
    wrong |= {one for one, is_same in zip(new.ids, same, strict=True) if not is_same}
    return np.array([one in wrong for one in whole.page.ids], bool)


def _some(whole: Whole, rows: NDArray[np.int64]) -> Whole:
    ids = [whole.page.ids[row] for row in rows.tolist()]
    return Whole(Page(ids), [whole.points[row] for row in rows.tolist()], whole.unread)


def _of(coded: Page, ids: set[PointId]) -> Page:
    return taken(coded, np.flatnonzero([one in ids for one in coded.ids]))


class Drift(NamedTuple):
    """How a copy differs from its original, codes aside.

    Attributes:
        changed: Points that the original lacks or has otherwise.
        deleted: Points that the copy lacks.
        ids: Some of both.
    """

    changed: int = 0
    deleted: int = 0
    ids: tuple[PointId, ...] = ()


def left_behind(pair: Pair, codes: CodeVector, vector: str, trace: Trace) -> Drift:
    """Find what was written to an original after it was compared for the last time.

    Args:
        pair: The original and its copy, to which the aliases lead by now.
        codes: The codes of the copy, which are not compared.
        vector: Name of the dense vector that is encoded.
        trace: Of the original as it was compared.

    Returns:
        How the copy differs in the points that may have been written; nothing if none was.
    """
    now = Trace()
    for ids in listed(pair.source(), backfill.RANGE_POINTS):
        for start in range(0, len(ids), _BATCH):
            whole = pair.read(ids[start : start + _BATCH], vector)
            now.add(whole.page.ids, pair.digests(whole))
    buckets = now.differs_in(trace)
    if not buckets:
        return Drift()
    return drift_of(pair, codes, vector, lambda one: bucket_of(one) in buckets)


def drift_of(
    pair: Pair,
    codes: CodeVector,
    vector: str,
    is_asked: Callable[[PointId], bool] = lambda one: True,
) -> Drift:
    """Compare a copy that was written to with its original.

    Args:
        pair: Both.
        codes: The codes of the copy, which are not compared.
        vector: Name of the dense vector that is encoded.
        is_asked: Which points to compare; by default all.

    Returns:
        How they differ.
    """
    copy = pair.copy()
    assert copy is not None  # it was made
    found = Drift()
    size = backfill.RANGE_POINTS
    for ids, copied in beside(listed(pair.source(), size), listed(copy, size)):
        here, there = set(filter(is_asked, ids)), set(filter(is_asked, copied))
        changed = sorted(there - here, key=id_order)
        deleted = sorted(here - there, key=id_order)
        shared = sorted(here & there, key=id_order)
        for start in range(0, len(shared), _BATCH):
            whole = pair.read(shared[start : start + _BATCH], vector)
            if whole.page.ids:
                rows = np.flatnonzero(pair.unlike(whole, codes)[0])
                changed += [whole.page.ids[row] for row in rows.tolist()]
        found = Drift(
            found.changed + len(changed),
            found.deleted + len(deleted),
            (*found.ids, *changed, *deleted)[:_NAMED],
        )
    return found
