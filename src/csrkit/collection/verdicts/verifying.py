"""`verify`: is what a job wrote right, complete, and good enough to search by?

    marker, model                   whose the codes are
    coded points, orphaned codes    two sets of ids that have to be one
    codes                           recomputed from the dense vectors as they are now
    dense vectors, payloads, ...    as they were before the job
    recall                          overall, of the worst queries, and within each filter

It reads and writes nothing. A check that fails says what is wrong and what to do.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.collection.home import id_order
from csrkit.collection.jobs.backfill import Coder
from csrkit.collection.verdicts import checking, recall_checks
from csrkit.collection.verdicts.baseline import PAGE
from csrkit.collection.verdicts.contents import compare, cover
from csrkit.collection.verdicts.drawing import draw
from csrkit.collection.verdicts.searched import Asked, finder, judge
from csrkit.collection.verdicts.verdict import Check, Searched, Verdict, VerifyConfig
from csrkit.errors import ConfigError, JobError
from csrkit.search.queries import as_queries, unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.home import Description, Home, PointId
    from csrkit.collection.jobs.manifest import Manifest
    from csrkit.collection.verdicts.baseline import Baseline
    from csrkit.collection.verdicts.searched import Finder
    from csrkit.model import CSRModel

__all__ = ["verify"]

_NAME = 120  # characters of a group's name: a payload may hold a book
_NAMES = checking.NAMES | {recall_checks.RECALL, recall_checks.FLOOR}


def verify(
    home: Home,
    manifest: Manifest,
    model: CSRModel,
    baseline: Baseline | None,
    config: VerifyConfig,
    *,
    moved: Callable[[int], None] = lambda points: None,
) -> Verdict:
    """Verify what a job wrote; nothing is written.

    Args:
        home: The collection; a key that may only read is enough.
        manifest: The job.
        model: Its model.
        baseline: What the collection was before; None if that was not noted.
        config: What to look at, and the gates.
        moved: Called with the number of points after each page of codes, for a progress bar.

    Returns:
        The verdict.

    Raises:
        ConfigError: If the settings do not fit the collection.
        JobError: If its dense vector is gone, so that nothing is left to compare with.
        ShapeError: If the queries are not (q, dim), or one is zero or not finite.
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    began = time.monotonic()
    for name in config.accept:
        if name not in _NAMES and not name.startswith(f"{recall_checks.RECALL} of "):
            raise ConfigError(f"expected accept to name checks, of {sorted(_NAMES)}, got {name!r}")
    work = _Work(home, manifest, model, baseline, config, home.describe())
    if manifest.vector not in {one.name for one in work.now.dense}:
        raise JobError(
            f"{home.url} has no dense vector {manifest.vector!r} any more: nothing is left to "
            "verify the codes against"
        )
    work.find_out(moved)
    checks = [
        replace(check, accepted=not check.passed and check.name in config.accept)
        for check in work.checks
    ]
    return Verdict(
        **checking.subject(manifest, work.now),
        compared=work.compared,
        queries="documents" if config.queries is None else "given",
        seconds=time.monotonic() - began,
        checks=tuple(checks),
        searches=tuple(work.searches),
        notes=tuple(work.notes),
    )


@dataclass(frozen=True)
class _Group:
    """Points that are judged apart.

    Attributes:
        name: Their name.
        filter: The vendor's filter.
        sampled: Those of them that a sample of all has.
        is_named: Whether the caller named them, so that there should be some.
    """

    name: str
    filter: Any
    sampled: Sequence[PointId] = ()
    is_named: bool = False


@dataclass
class _Work:
    """A verification under way.

    Attributes:
        home: The collection.
        manifest: The job.
        model: Its model.
        baseline: What the collection was before.
        config: What to look at.
        now: What the collection is.
    """

    home: Home
    manifest: Manifest
    model: CSRModel
    baseline: Baseline | None
    config: VerifyConfig
    now: Description

    def __post_init__(self) -> None:
        self.checks: list[Check] = []
        self.searches: list[Searched] = []
        self.notes: list[str] = []
        self.compared = 0
        self.sample: list[PointId] = []

    def find_out(self, moved: Callable[[int], None]) -> None:
        manifest, config = self.manifest, self.config
        self.checks.append(checking.of_marker(self.home.marker(manifest.name), manifest, self.now))
        if self.baseline is None:
            self.notes.append("What the collection was before the job was not noted.")
        else:
            self.checks += checking.of_settings(self.baseline, self.now, manifest)
        if not checking.has_vectors(manifest, self.now):
            return  # there is nothing else to look at
        n = max(config.sample, config.n_queries)
        self.sample = draw(self.home, n, manifest.vector, count=self.now.count, seed=config.seed)
        self._contents(moved)
        if self.sample:
            self._search()

    # -- contents -----------------------------------------------------------------

    def _contents(self, moved: Callable[[int], None]) -> None:
        manifest, config = self.manifest, self.config
        coder = Coder(self.model, manifest.vector, manifest.codes, manifest.k)
        noted = {} if self.baseline is None else {one.id: one for one in self.baseline.points}
        some = sorted({*self.sample, *noted}, key=id_order)
        listed = self.home.ids() if config.full else [some]
        coverage = cover(self.home, coder)
        is_copy = manifest.copy_of is not None
        found = compare(self.home, coder, listed, noted, is_copy=is_copy, moved=moved)
        self.compared = found.looked
        self.checks += checking.of_coverage(coverage, found, manifest)
        self.checks.append(checking.of_codes(found, config, manifest))
        if self.baseline is not None:
            self.checks += checking.of_noted(found, self.baseline, config)

    # -- searches -------------------------------------------------------------------

    def _search(self) -> None:
        config = self.config
        search = finder(
            self.home,
            self.model,
            self.manifest.vector,
            self.manifest.codes,
            self.manifest.k,
            config,
        )
        given = _given(config, self.model.dim)
        asked = given or self._documents(self._some(self.sample, config.n_queries))
        results = judge(search, asked, "all", config.min_recall)
        self.searches += results
        self.checks += recall_checks.of_recall(results, config)
        groups: list[list[Searched]] = []
        for group in self._groups():
            found = self._search_within(search, given, group)
            groups += [found] if found else []
        for found in sorted(groups, key=lambda one: one[-1].recall.value):  # the worst first
            self.searches += found
            self.checks.append(recall_checks.of_group(found[-1], config))

    def _search_within(self, search: Finder, given: Asked | None, group: _Group) -> list[Searched]:
        config, ids = self.config, self._members(group)
        if not ids and group.is_named:
            self.checks.append(recall_checks.of_nothing(group.name, config))
            return []
        asked = given or self._documents(ids)
        found: list[Searched] = []
        if len(asked.rows):
            found = judge(search, asked, group.name, config.least_group, group.filter)
        if not found:
            self.notes.append(f"{group.name}: too few points to search among.")
        return found

    def _members(self, group: _Group) -> list[PointId]:
        """Draw points of a group, out of the sample if it has enough, else out of them all."""
        n = self.config.group_queries
        if len(group.sampled) >= n:
            return self._some(group.sampled, n)
        return draw(
            self.home,
            n,
            self.manifest.vector,
            count=self.now.count,
            seed=self.config.seed,
            filter=group.filter,
        )

    def _groups(self) -> Iterator[_Group]:
        """Yield the filters that were named, then one for each value of the field."""
        named = dict(self.config.filters or {})
        for name, filter in named.items():
            yield _Group(name, filter, is_named=True)
        if self.config.by is None:
            return
        for value, ids in self._values(self.config.by):
            name = f"{self.config.by}={value}"[:_NAME]
            if name not in named:
                yield _Group(name, self.home.matching(self.config.by, value), sampled=ids)

    def _values(self, field: str) -> list[tuple[str | int | bool, list[PointId]]]:
        """Return the values of a field in the sample with its points, the most frequent first."""
        having: dict[tuple[bool, str | int | bool], list[PointId]] = defaultdict(list)
        for start in range(0, len(self.sample), PAGE):
            page = self.home.read(self.sample[start : start + PAGE], payload=True)
            for one, payload in zip(page.ids, page.payloads or [], strict=True):
                found = _values_at(payload, field.split("."))
                for key in {(isinstance(value, bool), value) for value in found}:  # True is not 1
                    having[key].append(one)
        if not having:
            raise ConfigError(
                f"expected by= to name a payload field with texts, whole numbers or truth values, "
                f"got {field!r}, which none of {len(self.sample)} points has"
            )
        order = sorted(having, key=lambda key: -len(having[key]))[: self.config.most_groups]
        if len(having) > len(order):
            self.notes.append(
                f"{field!r} has at least {len(having):,} values; the {len(order):,} most "
                "frequent were judged. Others can be named as filters."
            )
        return [(key[1], having[key]) for key in order]

    def _documents(self, ids: Sequence[PointId]) -> Asked:
        page = self.home.read(ids, vector=self.manifest.vector)
        rows = page.vectors
        assert rows is not None  # they were asked for
        usable = np.flatnonzero(np.isfinite(rows).all(axis=1) & rows.any(axis=1))
        return Asked(rows[usable], [page.ids[row] for row in usable.tolist()])

    def _some(self, ids: Sequence[PointId], n: int) -> list[PointId]:
        """Draw from a sample again."""
        rng = np.random.default_rng(self.config.seed)
        rows = np.sort(rng.permutation(len(ids))[:n])
        return [ids[row] for row in rows.tolist()]


def _given(config: VerifyConfig, dim: int) -> Asked | None:
    """Return the queries that were given, checked; None if documents are to stand in."""
    if config.queries is None:
        return None
    rows: NDArray[Any] = as_queries(config.queries, dim)
    unit_rows(rows)  # refuse what has no direction
    if config.qrels is not None and len(config.qrels) != len(rows):
        raise ConfigError(
            f"expected one entry of qrels per query, got {len(config.qrels)} for {len(rows)}"
        )
    return Asked(rows.astype(np.float32), qrels=config.qrels)


def _values_at(found: Any, path: Sequence[str]) -> Iterator[str | int | bool]:
    """Yield what a filter on the field would match, in lists and nested objects too."""
    if isinstance(found, list):
        for one in found:
            yield from _values_at(one, path)
    elif path:
        if isinstance(found, dict):
            with suppress(KeyError):
                yield from _values_at(found[path[0]], path[1:])
    elif isinstance(found, str) or (isinstance(found, int) and -(2**63) <= found < 2**63):
        yield found
