"""`monitor`: do codes still fit what is written to a collection? For a clock to run.

    missing     points that no search by codes finds
    stale       codes of dense vectors that were changed since
    drift       FVU and recall@10 of the points drawn, against a reference
    balance     busiest latent, dead latents, posting cost, against what the fit saw

It writes nothing to the collection. No engine notes when a point was written: which points
are drawn is for the caller to say, by a filter or by ids; by default all have the same chance,
and a few new points of another kind drown among the old ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.collection.homes._points import drawn, usable_page
from csrkit.collection.jobs.backfill import Coder
from csrkit.collection.monitors import findings
from csrkit.collection.monitors.health import Health, Latents, MonitorConfig, Quality, Reference
from csrkit.collection.verdicts.contents import compare
from csrkit.collection.verdicts.drawing import draw
from csrkit.collection.verdicts.searched import Asked, finder, judge
from csrkit.collection.verdicts.verdict import VerifyConfig
from csrkit.errors import ConfigError, JobError
from csrkit.metrics import bootstrap_interval, latent_loads
from csrkit.search.queries import unit_rows
from csrkit.stores._points import residual_name
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.home import Description, Home, Page, PointId
    from csrkit.collection.jobs.job import Job
    from csrkit.collection.jobs.manifest import Manifest
    from csrkit.model import CSRModel

__all__ = ["monitor"]

_READ = 10_000  # points without a code that are read, to see whether they can have one
_PAGE = 1000  # points read at a time
_UNIFORM = "all points alike"


def monitor(
    job: Job,
    config: MonitorConfig | None = None,
    *,
    ids: Sequence[PointId] | None = None,
    filter: Any = None,
    which: str | None = None,
    keep: bool | None = None,
) -> Health:
    """Look at a collection with codes; nothing is written to it.

    FVU and recall are compared with the last run that was kept, or, with ``ids`` or ``filter``
    and none kept, with a uniform sample of the same collection.

    Args:
        job: A job whose codes were added.
        config: What to look at, and the thresholds.
        ids: Points to draw from, such as those written last; ids that are gone are left out.
        filter: The vendor's filter of the points to draw from; see `Home.matching`.
        which: The same in words, for the report.
        keep: Whether to keep this run as the reference of later ones, in the job folder, such
            as one of new points that are searched well. None keeps the first uniform one of
            100 points or more, with recall and without findings.

    Returns:
        What was found, and the thresholds that were crossed.

    Raises:
        ConfigError: If both ids and filter are given, or no point is among them.
        JobError: If the vector is not this job's (any more), or there are no codes yet.
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    if ids is not None and filter is not None:
        raise ConfigError("expected ids= or filter=, got both")
    is_uniform = ids is None and filter is None
    _refuse_other(job)
    work = _Work(job, config or MonitorConfig(), job.home.describe())
    work.look(ids, filter, is_uniform)
    health = work.health(which or (_UNIFORM if is_uniform else "the points given"))
    is_good = health.ok and health.seen is not None and health.seen.recall is not None
    is_good = is_good and len(work.every) >= findings.LEAST
    if keep or (keep is None and is_uniform and work.kept is None and is_good):
        return _kept(job, health)
    return health


def _refuse_other(job: Job) -> None:
    """Refuse a collection whose codes are not this job's; a server's read-only key is enough."""
    manifest = job.manifest
    marker = job.home.marker(manifest.name)
    if marker is None or (marker.job, marker.fingerprint) != (manifest.job, manifest.fingerprint):
        raise JobError(
            f"{job.home.url} has no codes {manifest.name!r} of the job in {job.folder}, which is "
            f"{job.phase.value}: name the job that added them, or go on with this one by "
            "`csrkit compress`"
        )


def _kept(job: Job, health: Health) -> Health:
    if health.seen is None:
        return health
    now = datetime.now(UTC).isoformat(timespec="seconds")
    assert job.manifest.fingerprint is not None  # or the marker would have been another's
    reference = Reference(
        fingerprint=job.manifest.fingerprint, at=now, which=health.which, quality=health.seen
    )
    reference.write(job.folder)
    return replace(health, is_kept=True)


@dataclass
class _Work:
    """A run under way.

    Attributes:
        job: The job.
        config: What to look at.
        now: What the collection is.
    """

    job: Job
    config: MonitorConfig
    now: Description
    missing: int = 0
    torn: int = 0
    uncodable: int = 0
    looked: int = 0
    stale: int = 0
    seen: Quality | None = None
    reference: Quality | None = None
    against: str = ""
    latents: Latents | None = None
    fitted: Latents | None = None
    notes: list[str] = field(default_factory=list)
    every: list[PointId] = field(default_factory=list)

    def __post_init__(self) -> None:
        manifest = self.job.manifest
        self.home: Home = self.job.home
        self.manifest: Manifest = manifest
        self.model: CSRModel = self.job.model
        self.coder = Coder(self.model, manifest.vector, manifest.codes, manifest.k)
        self.has_dense = any(one.name == manifest.vector for one in self.now.dense)
        self.kept = Reference.read(self.job.folder)

    def look(self, ids: Sequence[PointId] | None, filter: Any, is_uniform: bool) -> None:
        self._count_missing()
        self.every = every = self._drawn(None)
        self._latents(every)
        if not self.has_dense:
            self.notes.append(
                f"The dense vector {self.manifest.vector!r} was dropped, so nothing tells whether "
                "codes are stale, or what they leave out."
            )
            return
        chosen = every
        if ids is not None:
            chosen = drawn([list(dict.fromkeys(ids))], self.config.sample, self.config.seed)
        elif filter is not None:
            chosen = self._drawn(filter)
        found = compare(self.home, self.coder, [list(dict.fromkeys([*chosen, *every]))], {})
        self.looked, self.stale = found.looked, sum(found.faults.values())
        self.seen = self._quality(chosen)
        if self.seen is None and not is_uniform:
            raise ConfigError(
                f"expected points with a vector {self.manifest.vector!r} among those given, found "
                f"none in {self.home.url}: see to the filter or the ids"
            )
        self._compare_with(None if is_uniform else every)

    def _drawn(self, filter: Any) -> list[PointId]:
        config, vector = self.config, self.manifest.vector if self.has_dense else self.manifest.name
        return draw(
            self.home,
            config.sample,
            vector,
            count=self.now.count,
            seed=config.seed,
            filter=filter,
        )

    # -- codes ----------------------------------------------------------------------

    def _count_missing(self) -> None:
        """Count points without a code; those that can have none are told apart, as far as read."""
        read = 0
        for ids in self.home.missing(self.manifest.name):
            self.missing += len(ids)
            some = ids[: max(0, _READ - read)] if self.has_dense else []
            if some:
                usable = len(usable_page(self.home, some, self.manifest.vector).ids)
                self.uncodable += len(some) - usable
                read += len(some)
        if self.manifest.residual_bytes:
            rest = residual_name(self.manifest.name)
            without = sum(len(page) for page in self.home.missing(rest))
            self.torn = max(0, without - self.missing)
        self.missing -= self.uncodable

    def _latents(self, ids: Sequence[PointId]) -> None:
        codes = self._stored(ids)
        if len(codes) < 2:
            self.notes.append("There are too few codes to see how latents are used.")
            return
        loads, n = latent_loads(codes), len(codes)
        fired = loads * n
        pairs = float((fired * (fired - 1)).sum()) / (n * (n - 1))  # of two codes, never itself
        busiest = int(loads.argmax())
        dead = float((loads == 0).mean())
        self.latents = Latents(n, busiest, float(loads[busiest]), dead, pairs)
        self.fitted = _fitted(self.model, self.manifest.k, n)
        if self.fitted is None:
            self.notes.append(
                f"The model does not tell how latents were used at k={self.manifest.k}."
            )

    def _stored(self, ids: Sequence[PointId]) -> SparseVectors:
        """Return the codes of those of the points that have one."""
        parts = [SparseVectors.from_dense(np.zeros((0, self.model.n_latents)))]
        for start in range(0, len(ids), _PAGE):
            page = self.home.read(ids[start : start + _PAGE], codes=self.manifest.codes)
            assert page.codes is not None  # they were asked for
            parts.append(page.codes[np.flatnonzero(page.codes.counts)])
        return SparseVectors.concat(parts)

    # -- drift ------------------------------------------------------------------------

    def _quality(self, ids: Sequence[PointId]) -> Quality | None:
        page = usable_page(self.home, ids, self.manifest.vector)
        if not page.ids:
            return None
        assert page.vectors is not None  # they were asked for
        fvu = bootstrap_interval(unexplained(self.model, page.vectors, self.manifest.k))
        recall, setting, queries = self._recall(page)
        return Quality(len(page.ids), fvu, recall, queries, setting)

    def _recall(self, page: Page) -> tuple[Any, str, int]:
        """Search with some of the points, each left out of its own results."""
        n = min(self.config.queries, len(page.ids))
        if not n:
            return None, "", 0
        assert page.vectors is not None
        rows = np.random.default_rng(self.config.seed).permutation(len(page.ids))[:n]
        asked = Asked(page.vectors[rows], [page.ids[row] for row in rows.tolist()])
        manifest = self.manifest
        search = finder(
            self.home, self.model, manifest.vector, manifest.codes, manifest.k, VerifyConfig()
        )
        found = judge(search, asked, "monitored", None)
        if not found:
            return None, "", 0
        last = found[-1]
        return last.recall, f"{last.setting}, {last.stage}", last.queries

    def _compare_with(self, every: Sequence[PointId] | None) -> None:
        if self.kept is not None and self.kept.fingerprint == self.manifest.fingerprint:
            self.reference = self.kept.quality
            self.against = f"the run of {self.kept.at[:16]}, {self.kept.which}"
        elif every is not None:
            self.reference = self._quality(every)
            self.against = "a uniform sample of now"
        if self.reference is None:
            self.notes.append("There is nothing yet to compare FVU and recall with.")
            return
        settings = {one.setting for one in (self.reference, self.seen) if one and one.recall}
        if len(settings) > 1:
            self.notes.append(
                f"Recalls are not compared, as searches differ: {' and '.join(sorted(settings))}."
            )

    # -- the result ---------------------------------------------------------------------

    def health(self, which: str) -> Health:
        manifest = self.manifest
        health = Health(
            job=manifest.job,
            phase=self.job.phase.value,
            url=self.home.url,
            name=manifest.name,
            which=which,
            points=self.now.count,
            missing=self.missing,
            torn=self.torn,
            uncodable=self.uncodable,
            looked=self.looked,
            stale=self.stale,
            seen=self.seen,
            reference=self.reference,
            against=self.against,
            latents=self.latents,
            fitted=self.fitted,
            is_kept=False,
            findings=(),
            notes=tuple(self.notes),
        )
        return findings.judged(health, self.config, str(self.job.folder))


def unexplained(model: CSRModel, rows: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """Measure what decoded codes leave out; the mean is the FVU.

    ::

        e_i = |x_i - x_hat_i|^2 / mean_j |x_j - b_pre|^2        x of norm 1

    Args:
        model: The model.
        rows: float32 (n, dim), none of them zero.
        k: Latents per code.

    Returns:
        float64 (n,), one value per row.
    """
    unit = unit_rows(rows)
    errors = np.square(unit - model.decode(model.encode(unit, k=k)), dtype=np.float64).sum(axis=1)
    variance = np.square(unit - model.pre_bias, dtype=np.float64).sum(axis=1).mean()
    return np.asarray(errors / max(float(variance), 1e-12))


def _fitted(model: CSRModel, k: int, n: int) -> Latents | None:
    """Return what n codes of what the fit saw would show; None where the model does not tell."""
    if k not in model.ladder:
        return None
    loads = model.loads[model.ladder.index(k)].astype(np.float64)
    if not loads.any() or loads.min() < 0 or loads.max() > 1:  # never measured
        return None
    busiest = int(loads.argmax())
    dead = float(((1 - loads) ** n).mean())
    return Latents(n, busiest, float(loads[busiest]), dead, float(loads @ loads))
