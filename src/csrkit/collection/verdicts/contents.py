"""What a collection holds, against what it should: every usable point its own code, no other.

Two questions, both answered by the engine's filter for points without a vector, over all of
them: which points lack a code, and which codes lack a dense vector. A third, whether a code
is that of its dense vector, takes reading both and encoding anew, for a sample or for all.

Codes are compared up to arithmetic: a server keeps codes in float32 and residuals as bytes,
and rounds dense vectors, if at all, before they are read here. What remains is that another
processor may add in another order, which can move the last bits of a value, swap two latents
of equal value at the end of a code, or push a residual across a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from csrkit.collection.home import Page, PointId
from csrkit.collection.homes._points import names_of
from csrkit.collection.verdicts.baseline import PAGE, Noted, dense_digest, payload_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.home import Home
    from csrkit.collection.jobs.backfill import Coder
    from csrkit.vectors import SparseVectors

__all__ = ["Compared", "Coverage", "compare", "cover"]

Fault: TypeAlias = Literal["values", "latents", "residual"]
_CLOSE = 1e-5  # between two values of a code that are the same but for arithmetic
_ENOUGH = 1000  # points named wrong are enough: counting on tells nothing new
_READ_NUMBERS = 1 << 20  # of dense vectors at a time


@dataclass(slots=True)
class Coverage:
    """Which points have a code, and which should.

    Attributes:
        bare: Points with a usable dense vector and without a code, or without its residual.
        rejected: Points that cannot be encoded and have no code.
        orphans: Points with a code and without a dense vector.
    """

    bare: list[PointId] = field(default_factory=list)
    rejected: int = 0
    orphans: list[PointId] = field(default_factory=list)


def cover(home: Home, coder: Coder) -> Coverage:
    """Compare the set of points with a code with the set of those that can have one.

    Args:
        home: The collection; it is only read.
        coder: The codes, and the dense vector they are of.

    Returns:
        What is in one set alone; counting ends at 1,000 of a kind.

    Raises:
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    found = Coverage()
    for name in names_of(coder.codes):
        for page in _pages(home, home.missing(name), coder):
            usable = _usable(page)
            assert page.is_coded is not None  # codes were asked for
            found.bare += _ids(page, usable & ~page.is_coded)
            if name == coder.codes.name:
                found.rejected += int((~usable).sum())
            if len(found.bare) >= _ENOUGH:
                break
    found.bare = list(dict.fromkeys(found.bare))
    for page in _pages(home, home.missing(coder.vector), coder):
        found.orphans += _ids(page, _is_coded(page))
        if len(found.orphans) >= _ENOUGH:
            break
    return found


def _pages(home: Home, listed: Iterable[Sequence[PointId]], coder: Coder) -> Iterator[Page]:
    step = max(1, min(1000, _READ_NUMBERS // coder.model.dim))
    for ids in listed:
        for start in range(0, len(ids), step):
            yield home.read(ids[start : start + step], vector=coder.vector, codes=coder.codes)


def _usable(page: Page) -> NDArray[np.bool_]:
    assert page.vectors is not None  # it was asked for
    return np.asarray(np.isfinite(page.vectors).all(axis=1) & page.vectors.any(axis=1))


def _is_coded(page: Page) -> NDArray[np.bool_]:
    """Tell which points have a code that a search can find, with its residual or without."""
    assert page.codes is not None  # they were asked for
    return np.asarray(page.codes.counts > 0)


def _ids(page: Page, which: NDArray[np.bool_]) -> list[PointId]:
    return [page.ids[row] for row in np.flatnonzero(which).tolist()]


@dataclass(slots=True)
class Compared:
    """Codes that were recomputed, and points that were noted before.

    Attributes:
        looked: Codes that were recomputed.
        faults: How many of them differ from those of their dense vectors, by kind.
        wrong: Ids of such points, the first thousand.
        span: Places, among those that were looked at, of the first and the last wrong one.
        ends: Ids of the two.
        orphans: Points with a code and no usable dense vector, the first thousand.
        noted: Points noted before the job that are still there.
        moved: Those of them with another dense vector.
        altered: Those with another payload.
        stale: Those with another dense vector and a wrong code.
        spoilt: Those with the same dense vector and a wrong code.
    """

    looked: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    wrong: list[PointId] = field(default_factory=list)
    span: tuple[int, int] = (0, 0)
    ends: tuple[PointId, PointId] = (0, 0)
    orphans: list[PointId] = field(default_factory=list)
    noted: int = 0
    moved: list[PointId] = field(default_factory=list)
    altered: list[PointId] = field(default_factory=list)
    stale: int = 0
    spoilt: int = 0


def compare(
    home: Home,
    coder: Coder,
    listed: Iterable[Sequence[PointId]],
    noted: Mapping[PointId, Noted],
    *,
    is_copy: bool = False,
    moved: Callable[[int], None] = lambda points: None,
) -> Compared:
    """Encode points anew and compare, and compare noted points with what they were.

    Args:
        home: The collection; it is only read.
        coder: What makes the codes.
        listed: Pages of ids, in the engine's order.
        noted: Points noted before, by id; those of them that are listed are compared.
        is_copy: Whether the points were noted in a collection that this is a copy of.
        moved: Called with the number of points after each page, for a progress bar.

    Returns:
        What was found.

    Raises:
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    found = Compared()
    for page in _pages(home, listed, coder):
        wrong = _compare_codes(found, coder, page)
        before = [noted[one] for one in page.ids if one in noted]
        if before:
            _compare_noted(found, home, page, before, wrong, is_copy)
        moved(len(page.ids))
    return found


def _compare_codes(found: Compared, coder: Coder, page: Page) -> set[PointId]:
    """Note the codes of a page that are not those of their dense vectors, and return their ids."""
    assert page.is_coded is not None  # codes were asked for
    usable = _usable(page)
    found.orphans += _ids(page, _is_coded(page) & ~usable)[: _ENOUGH - len(found.orphans)]
    rows = np.flatnonzero(usable & page.is_coded)
    kept = _taken(page, rows)
    new, _ = coder.encode(kept)
    wrong: list[PointId] = []
    for row, fault in _faults(new, kept):
        one = kept.ids[row]
        place = found.looked + row
        first = not found.faults
        found.span = (place if first else found.span[0], place)
        found.ends = (one if first else found.ends[0], one)
        found.faults[fault] += 1
        wrong.append(one)
    found.wrong += wrong[: _ENOUGH - len(found.wrong)]
    found.looked += len(rows)
    return set(wrong)


def _taken(page: Page, rows: NDArray[np.int64]) -> Page:
    assert page.vectors is not None
    assert page.codes is not None
    return Page(
        [page.ids[row] for row in rows.tolist()],
        vectors=page.vectors[rows],
        codes=page.codes[rows],
        residuals=None if page.residuals is None else page.residuals[rows],
    )


def _faults(new: Page, stored: Page) -> Iterator[tuple[int, Fault]]:
    """Yield the rows of two pages in which they differ, and how."""
    if not new.ids:
        return
    assert new.codes is not None
    assert stored.codes is not None
    apart = abs(new.codes.to_scipy() - stored.codes.to_scipy())
    suspect = np.asarray(apart.max(axis=1).todense()).ravel() > _CLOSE
    far = np.zeros(len(suspect), bool)
    if new.residuals is not None:
        assert stored.residuals is not None
        bytes_apart = (new.residuals != stored.residuals).sum(axis=1)
        far = bytes_apart > max(2, new.residuals.shape[1] // 50)
    for row in np.flatnonzero(suspect | far).tolist():
        fault = _fault(new.codes[row], stored.codes[row]) if suspect[row] else None
        if fault or far[row]:
            yield row, fault or "residual"


def _fault(new: SparseVectors, stored: SparseVectors) -> Fault | None:
    """Tell how a code differs from another, None if arithmetic explains it."""
    _, mine, theirs = np.intersect1d(
        new.indices, stored.indices, assume_unique=True, return_indices=True
    )
    close = bool((np.abs(new.values[mine] - stored.values[theirs]) <= _CLOSE).all())
    if len(mine) == len(new.indices) == len(stored.indices):
        return None if close else "values"
    alone = np.concatenate([np.delete(new.values, mine), np.delete(stored.values, theirs)])
    least = min(new.values.min(initial=np.inf), stored.values.min(initial=np.inf))
    swapped = len(new.indices) == len(stored.indices) and bool((alone - least <= _CLOSE).all())
    return None if close and swapped else "latents"


def _compare_noted(
    found: Compared,
    home: Home,
    page: Page,
    before: Sequence[Noted],
    wrong: set[PointId],
    is_copy: bool,
) -> None:
    """Compare the points of a page that were noted before with what they were."""
    assert page.vectors is not None
    row_of = {one: row for row, one in enumerate(page.ids)}
    for was in before:
        one, row = was.id, page.vectors[row_of[was.id]]
        is_moved = dense_digest(row) != was.dense and not (is_copy and was.is_near(row))
        found.noted += 1
        if is_moved:
            found.moved.append(one)
        if one in wrong:
            found.stale += is_moved
            found.spoilt += not is_moved
    payload_of = {each.id: each.payload for each in before}
    for start in range(0, len(before), PAGE):
        now = home.read([each.id for each in before[start : start + PAGE]], payload=True)
        assert now.payloads is not None  # they were asked for
        found.altered += [
            one
            for one, payload in zip(now.ids, now.payloads, strict=True)
            if payload_digest(payload) != payload_of[one]
        ]
