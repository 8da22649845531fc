"""Encode the points of a home: range by range, and afterwards what was missed or changed.

    ids -> dense vectors -> codes, residuals -> update_vectors

A batch is read, encoded and written before the next, so memory does not depend on the size
of the collection. A point without a usable dense vector is noted and passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from csrkit.collection.home import Busy, CodeVector, Home, Page, PointId, id_order
from csrkit.collection.jobs.ledger import Ledger, Range
from csrkit.collection.jobs.pace import Pace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.model import CSRModel

__all__ = ["BATCH_NUMBERS", "Backfill", "Coder", "Part", "Swept", "same_codes", "taken"]

T = TypeVar("T")
BATCH_NUMBERS = 1 << 20  # of a batch of vectors: both engines give each as a Python float
RANGE_POINTS = 4096  # what a kill can cost again
_SETTLE = 5  # times a point is encoded anew because it changed under our hands
_CLOSE = 1e-5  # what the arithmetic of another machine may change in a value of a code


@dataclass(frozen=True, slots=True)
class Coder:
    """Turns what was read into what is to be written.

    Attributes:
        model: The model.
        vector: Name of the dense vector.
        codes: The sparse vector.
        k: Latents per code.
    """

    model: CSRModel
    vector: str
    codes: CodeVector
    k: int

    def encode(self, page: Page) -> tuple[Page, dict[PointId, str]]:
        """Encode the points that can be encoded.

        Args:
            page: Points with vectors.

        Returns:
            Those points with codes, and residuals if the vector keeps them; and the
            others, with the reason.
        """
        rows = page.vectors
        assert rows is not None  # it was read for this
        finite = np.asarray(np.isfinite(rows).all(axis=1))
        is_usable = finite & rows.any(axis=1)
        rejects = {
            page.ids[row]: f"the vector {self.vector!r} is zero"
            if finite[row]
            else f"the vector {self.vector!r} is missing, or holds NaN or infinity"
            for row in np.flatnonzero(~is_usable).tolist()
        }
        ids = page.ids
        if rejects:
            ids = [ids[row] for row in np.flatnonzero(is_usable).tolist()]
            rows = rows[is_usable]
        codes = self.model.encode(rows, k=self.k)
        residuals = None
        if self.codes.residual_bytes:
            residuals = self.model.encode_residuals(rows, codes)
        return Page(ids, codes=codes, residuals=residuals), rejects


class Swept(NamedTuple):
    """What a pass over the collection did.

    Attributes:
        written: Points that got a code.
        gone: Points that were deleted between listing and writing.
        rejects: Points that cannot be encoded.
    """

    written: int = 0
    gone: int = 0
    rejects: int = 0

    def plus(self, other: Swept) -> Swept:
        """Return the sums of two passes.

        Args:
            other: Another pass.

        Returns:
            Both together.
        """
        return Swept(*map(sum, zip(self, other, strict=True)))


@dataclass(slots=True)
class Part:
    """What was done to the points of a range or page.

    Attributes:
        written: Points that got a code.
        gone: How many were deleted meanwhile.
        rejects: Points that cannot be encoded, with the reason.
        seen: Points that were looked at, whether or not they were written: what an earlier
            pass noted of them is out of date.
    """

    written: set[PointId] = field(default_factory=set)
    gone: int = 0
    rejects: dict[PointId, str] = field(default_factory=dict)
    seen: set[PointId] = field(default_factory=set)


class Backfill:
    """Writes codes into a home at a pace, and notes it in a ledger.

    Args:
        home: The collection.
        coder: What makes the codes.
        ledger: Where it is noted.
        pace: How fast.
        moved: Called with the number of points after each batch, for a progress bar.
    """

    def __init__(
        self,
        home: Home,
        coder: Coder,
        ledger: Ledger,
        pace: Pace,
        moved: Callable[[int], None] = lambda points: None,
    ) -> None:
        self._home, self._coder, self._ledger, self._pace = home, coder, ledger, pace
        self._moved = moved

    # -- ranges -----------------------------------------------------------------

    def run(self) -> None:
        """Work on every range that is not done, then on the ids behind the last one.

        Raises:
            JobError: If the ledger cannot be written.
            StoreError: If the home fails for good.
        """
        for one in self._ledger.unfinished():
            self._ledger.attempt(one)
            self._range(one, self._listed(one))
        for ids in self._home.ids(self._ledger.frontier(), size=RANGE_POINTS):
            self._range(self._ledger.begin(ids[0], ids[-1], len(ids)), ids)

    def _listed(self, one: Range) -> list[PointId]:
        """Return the ids that are in a range now, its first among them if it still exists."""
        ids = [one.first]  # if it is gone, reading leaves it out
        for page in self._home.ids(one.first, size=RANGE_POINTS):
            ids += [each for each in page if id_order(each) <= id_order(one.last)]
            if id_order(page[-1]) >= id_order(one.last):
                break
        return ids

    def _range(self, one: Range, ids: Sequence[PointId]) -> None:
        part = Part()
        self._write(ids, part)
        self._ledger.finish(one, len(part.written), part.gone, part.rejects)

    def _write(self, ids: Sequence[PointId], part: Part) -> None:
        """Encode and write in batches whose size follows the pace."""
        self._paced(ids, lambda some: self._batch(some, part))

    def _batch(self, some: Sequence[PointId], part: Part) -> None:
        """Read, encode and write some points."""
        read = self._home.read(some, vector=self._coder.vector)
        page, rejects = self._coder.encode(read)
        gone = set(self._home.write(self._coder.codes, page) if page.ids else [])
        part.written.update(one for one in page.ids if one not in gone)
        part.gone += len(some) - len(read.ids) + len(gone)
        part.rejects |= rejects

    def _paced(self, ids: Sequence[PointId], batch: Callable[[Sequence[PointId]], None]) -> None:
        start, retries = 0, self._pace.retries
        while start < len(ids):
            part = ids[start : start + self._pace.size]
            began = self._pace.now()
            try:
                batch(part)
            except Busy as error:
                self._pace.failed(error)
                continue
            start += len(part)
            self._moved(len(part))
            self._pace.done(len(part), self._pace.now() - began)
        self._ledger.count_retries(self._pace.retries - retries)

    # -- sweeps -----------------------------------------------------------------

    def sweep_missing(self) -> Swept:
        """Encode the points that have no code, such as those written since.

        Returns:
            What was done.

        Raises:
            JobError: If the ledger cannot be written.
            StoreError: If the home fails for good.
        """
        return self._swept(self._home.missing(self._coder.codes.name), self._write)

    def sweep_stale(self) -> Swept:
        """Encode every point anew, and write those whose code is not that of its dense vector.

        Returns:
            What was done.

        Raises:
            JobError: If the ledger cannot be written.
            StoreError: If the home fails for good.
        """
        return self._swept(self._home.ids(size=RANGE_POINTS), self._renew)

    def _swept(
        self,
        pages: Iterable[T],
        work: Callable[[T, Part], None],
    ) -> Swept:
        total = Swept()
        for page in pages:
            part = Part()
            work(page, part)
            if part.written or part.rejects or part.seen:
                self._ledger.settle(part.written | part.seen, part.rejects)
            total = total.plus(Swept(len(part.written), part.gone, len(part.rejects)))
        return total

    def _renew(self, ids: Sequence[PointId], part: Part) -> None:
        def batch(some: Sequence[PointId]) -> None:
            for _ in range(_SETTLE):  # what was written is looked at again: it may have changed
                page, rejects = self._stale(some)
                part.rejects |= rejects
                if not page.ids:
                    return
                gone = set(self._home.write(self._coder.codes, page))
                part.gone += len(gone)
                some = [one for one in page.ids if one not in gone]
                part.written.update(some)

        self._paced(ids, batch)
        part.seen.update(ids)

    def _stale(self, ids: Sequence[PointId]) -> tuple[Page, dict[PointId, str]]:
        """Return new codes for those of the points whose stored ones are not theirs."""
        coder = self._coder
        read = self._home.read(ids, vector=coder.vector, codes=coder.codes)
        page, rejects = coder.encode(read)
        place = {one: row for row, one in enumerate(read.ids)}
        rows = np.array([place[one] for one in page.ids], np.int64)
        return taken(page, np.flatnonzero(~same_codes(page, read, rows))), rejects


def same_codes(new: Page, stored: Page, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each new code whether it is stored already.

    Args:
        new: Points that were encoded.
        stored: Points as they were read, with codes.
        rows: int64 (n,), where each new one is among the stored.

    Returns:
        bool (n,).
    """
    assert new.codes is not None  # it was encoded
    assert stored.codes is not None  # and this was read
    assert stored.is_coded is not None
    same = stored.is_coded[rows]
    if not len(rows):
        return same
    apart = abs(new.codes.to_scipy() - stored.codes[rows].to_scipy())
    same &= np.asarray(apart.max(axis=1).todense()).ravel() <= _CLOSE
    if new.residuals is not None:
        assert stored.residuals is not None  # the vector keeps them
        same &= (new.residuals == stored.residuals[rows]).all(axis=1)
    return same


def taken(page: Page, rows: NDArray[np.int64]) -> Page:
    """Return some points of a page of codes.

    Args:
        page: Points with codes.
        rows: int64 (n,), which.

    Returns:
        Those, with their residuals if there are any.
    """
    assert page.codes is not None  # it was encoded
    residuals = None if page.residuals is None else page.residuals[rows]
    ids = [page.ids[row] for row in rows.tolist()]
    return Page(ids, codes=page.codes[rows], residuals=residuals)
