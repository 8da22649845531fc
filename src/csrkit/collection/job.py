"""`compress` and `Job`: codes beside the dense vectors of a collection that somebody runs.

    job = compress("edge:///srv/shard", vector="dense", k=32)   # fit, add a vector, backfill
    job.cutover()                                               # verify, sweep, mark as live
    job.rollback()                                              # or drop what was added

A job lives in a folder; the same call goes on where a kill, a lost server or a full disk
ended it. It never inserts or deletes a point, nor changes a payload or a dense vector.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrkit.collection.backfill import Backfill, Coder, Swept
from csrkit.collection.home import Home, PointId
from csrkit.collection.homes.opening import open_home
from csrkit.collection.ledger import Ledger, Phase, held
from csrkit.collection.manifest import Manifest
from csrkit.collection.ownership import checked_own, claim, release
from csrkit.collection.pace import Pace
from csrkit.errors import ConfigError, JobError

if TYPE_CHECKING:
    from os import PathLike

    from csrkit.model import CSRModel
    from csrkit.training.config import FitConfig

__all__ = ["Job", "Status", "compress"]

_FIT_BYTES = 256 << 20  # of dense vectors that a model is fitted on
_FIT_ROWS = 100_000
_PASSES = 3  # sweeps for points that are written while the last one runs
_REACHED = list(Phase)


@dataclass(frozen=True, slots=True)
class Status:
    """How far a job is.

    Attributes:
        phase: Its phase.
        url: The collection, without any secret.
        vector: Name of the dense vector.
        name: Name of the sparse vector.
        k: Latents per code.
        fingerprint: That of the model; None until there is one.
        points: Points in the ranges that are done.
        written: Those of them that got a code.
        gone: Those that were deleted meanwhile.
        rejects: Points that cannot be encoded.
        reasons: Some of the rejects, each with its reason.
        ranges_done: Ranges that are done.
        ranges: Ranges listed so far.
        retries: Calls that were repeated.
    """

    phase: str
    url: str
    vector: str
    name: str
    k: int
    fingerprint: str | None
    points: int
    written: int
    gone: int
    rejects: int
    reasons: tuple[tuple[PointId, str], ...]
    ranges_done: int
    ranges: int
    retries: int


class Job:
    """A job in its folder, made by `compress`, opened again by `Job.open`.

    Args:
        home: The collection.
        folder: The job folder.
        manifest: What the job is.
        pace: How fast it may go.
        progress: Whether to show a progress bar on stderr.
    """

    def __init__(
        self,
        home: Home,
        folder: Path,
        manifest: Manifest,
        *,
        pace: Pace | None = None,
        progress: bool = True,
    ) -> None:
        self.home = home
        self.folder = folder
        self.manifest = manifest
        self.ledger = Ledger(folder / "ledger.db")
        self._pace = pace or Pace()
        self._progress = progress
        self._model: CSRModel | None = None

    @classmethod
    def open(
        cls,
        folder: str | PathLike[str],
        *,
        target: Any = None,
        rate: float | None = None,
        progress: bool = True,
    ) -> Job:
        """Open a job that was begun before.

        Args:
            folder: The job folder.
            target: A ``QdrantClient`` or `Home` of the same collection; by default the
                URL in the job's manifest is opened.
            rate: Most points per second; None for no cap.
            progress: Whether to show a progress bar on stderr.

        Returns:
            The job.

        Raises:
            JobError: If the folder holds no job.
            StoreError: If the collection cannot be opened.
        """  # noqa: DOC502  # raised by helpers
        folder = Path(folder)
        manifest = Manifest.read(folder)
        if manifest is None:
            raise JobError(f"no job in {folder}: begin one with `csrkit compress`")
        if target is None:
            target = manifest.url
        collection = None
        if hasattr(target, "update_vectors"):
            collection = manifest.url.rpartition("/")[2]
        home = open_home(target, collection)
        return cls(home, folder, manifest, pace=Pace(rate=rate), progress=progress)

    # -- what it is -------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far it is."""
        return self.ledger.phase

    @property
    def model(self) -> CSRModel:
        """The model of the job.

        Raises:
            JobError: If there is none yet, or another one in the job folder.
        """
        if self._model is None:
            from csrkit.model import load

            if self.manifest.fingerprint is None:
                raise JobError(f"the job in {self.folder} has no model yet: run it first")
            model = load(self.folder / "model")
            if model.fingerprint != self.manifest.fingerprint:
                raise JobError(
                    f"expected the model {self.manifest.fingerprint[:12]} in {self.folder}/model, "
                    f"got {model.fingerprint[:12]}: put the job's own model back"
                )
            self._model = model
        return self._model

    def status(self) -> Status:
        """Return how far the job is; another process may be working on it.

        Returns:
            Phase and sums.
        """
        tally, manifest = self.ledger.tally(), self.manifest
        return Status(
            phase=self.phase.value,
            url=manifest.url,
            vector=manifest.vector,
            name=manifest.name,
            k=manifest.k,
            fingerprint=manifest.fingerprint,
            points=tally.points,
            written=tally.written,
            gone=tally.gone,
            rejects=tally.rejects,
            reasons=tuple(self.ledger.rejects()),
            ranges_done=tally.done,
            ranges=tally.ranges,
            retries=tally.retries,
        )

    # -- the way there ------------------------------------------------------------

    def run(self, *, model: CSRModel | None = None, config: FitConfig | None = None) -> None:
        """Do what is left up to the backfill; nothing if that is done.

        Args:
            model: Model to encode with, if the job has none yet; None fits one to a
                uniform sample of the collection.
            config: Settings of that fit.

        Raises:
            ConfigError: If the collection or the model cannot serve.
            JobError: If the job was rolled back, or somebody else's work is in the way.
            MissingExtra: If a model is to be fitted and torch is not installed.
            StoreError: If the home fails for good; what was acknowledged is kept.
        """  # noqa: DOC502  # raised by helpers
        with self._alone():
            self._refuse_rolled_back()
            if self.phase is Phase.PLANNED:
                self._fit(model, config)
                self.ledger.advance(Phase.FITTED)
            if self.phase is Phase.FITTED:
                claim(self.home, self.manifest)
                self.ledger.advance(Phase.ADDED)
            if self.phase is Phase.ADDED:
                checked_own(self.home, self.manifest)
                self._backfill()
                self.ledger.advance(Phase.BACKFILLED)

    def _refuse_rolled_back(self) -> None:
        if self.phase is Phase.ROLLED_BACK:
            raise JobError(
                f"the job in {self.folder} was rolled back: begin another in a new folder, "
                "with model= to keep its model"
            )

    def _fit(self, model: CSRModel | None, config: FitConfig | None) -> None:
        manifest = self.manifest
        source = self.home.describe().source(manifest.vector)
        if model is None:
            from csrkit.fitting import fit

            rows = min(_FIT_ROWS, _FIT_BYTES // (4 * source.dim))
            sample = self.home.sample(rows, manifest.vector, seed=config.seed if config else 0)
            model = fit(sample.vectors, config=config, progress=self._progress)
        if model.dim != source.dim:
            raise ConfigError(
                f"expected a model of {source.dim} dimensions, as the vector {manifest.vector!r} "
                f"has them, got one of {model.dim}"
            )
        if manifest.k > model.n_latents:
            raise ConfigError(
                f"expected k up to the model's {model.n_latents} latents, got k={manifest.k}"
            )
        model.save(self.folder / "model")
        update = {
            "n_latents": model.n_latents,
            "residual_bytes": model.residual_bytes if manifest.residuals else 0,
            "fingerprint": model.fingerprint,
        }
        self.manifest = manifest.model_copy(update=update)
        self.manifest.write(self.folder)
        self._model = model

    def _backfill(self) -> None:
        with self._worker("backfill", self.ledger.tally().points) as work:
            work.run()
            for _ in range(_PASSES):
                if not work.sweep_missing().written:
                    break

    @contextmanager
    def _worker(self, doing: str, done: int = 0) -> Iterator[Backfill]:
        from tqdm import tqdm

        manifest = self.manifest
        coder = Coder(self.model, manifest.vector, manifest.codes, manifest.k)
        total = self.home.describe().count
        with tqdm(
            total=total, initial=done, desc=doing, unit=" points", disable=not self._progress
        ) as bar:

            def moved(points: int) -> None:
                bar.set_postfix(batch=self._pace.size, retries=self._pace.retries, refresh=False)
                bar.update(points)

            yield Backfill(self.home, coder, self.ledger, self._pace, moved)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with held(self.folder / "job.lock"):
            yield

    # -- afterwards ---------------------------------------------------------------

    def sweep(self, *, stale: bool = True) -> Swept:
        """Encode what was written past the job: points without a code, or with an old one.

        Args:
            stale: Whether to look at every point, not only at those without a code: reads
                and encodes the whole collection, and finds points whose dense vector was
                changed alone.

        Returns:
            How many points were written, gone and rejected.

        Raises:
            JobError: If the backfill is not done, or the vector is not this job's.
            StoreError: If the home fails for good.
        """  # noqa: DOC502  # raised by helpers
        with self._alone():
            self._need(Phase.BACKFILLED, "sweep")
            checked_own(self.home, self.manifest)
            return self._sweep(stale)

    def _sweep(self, stale: bool) -> Swept:
        with self._worker("sweep") as work:
            return work.sweep_stale() if stale else work.sweep_missing()

    def _need(self, phase: Phase, doing: str) -> None:
        self._refuse_rolled_back()
        if _REACHED.index(self.phase) < _REACHED.index(phase):
            raise JobError(
                f"cannot {doing}: the job in {self.folder} is {self.phase.value}, "
                f"expected it to be {phase.value}; run `csrkit compress` again to go on"
            )

    def rollback(self) -> None:
        """Drop the vectors that this job added, and nothing else; harmless to repeat.

        Raises:
            JobError: If the vector is not this job's, or the dense one was dropped.
            StoreError: If the home fails.
        """  # noqa: DOC502  # raised by helpers
        with self._alone():
            if self.phase is Phase.ROLLED_BACK:
                return
            if self.manifest.fingerprint is not None:
                dense = {one.name for one in self.home.describe().dense}
                if self.manifest.vector not in dense:
                    raise JobError(
                        f"the dense vector {self.manifest.vector!r} of {self.manifest.url} is not "
                        "there any more: without the codes nothing could be found. Restore it first"
                    )
                release(self.home, self.manifest)
            self.ledger.advance(Phase.ROLLED_BACK)

    def close(self) -> None:
        """Close the ledger and the home; a client that was passed in stays open."""
        self.ledger.close()
        self.home.close()


def compress(
    target: Any,
    collection: str | None = None,
    *,
    vector: str = "dense",
    name: str = "csr",
    k: int = 32,
    model: CSRModel | str | PathLike[str] | None = None,
    residuals: bool = True,
    job: str | PathLike[str] | None = None,
    config: FitConfig | None = None,
    rate: float | None = None,
    progress: bool = True,
) -> Job:
    """Add codes to a collection that exists, beside its dense vectors, while it serves.

    Reads stored vectors alone: no text, no embedding model. Called again with the same
    arguments after whatever ended it, it goes on.

    Args:
        target: ``qdrant://host:6333/collection`` (``qdrant+https://`` for TLS, the key in
            QDRANT_API_KEY), ``edge://folder`` of a Qdrant Edge shard, or a ``QdrantClient``.
        collection: Name of the collection, with a client.
        vector: Name of the dense vector to encode; "" for an unnamed one.
        name: Name of the sparse vector to add; that of the residuals is ``"<name>_residual"``.
        k: Latents per code, at least 1.
        model: Model or model folder to encode with; None fits one to a uniform sample.
        residuals: Whether to keep what codes leave out beside them, for rescoring.
        job: Job folder; by default ``csrkit-jobs/<collection>.<name>``.
        config: Settings of the fit.
        rate: Most points per second; None for no cap.
        progress: Whether to show progress bars on stderr.

    Returns:
        The job, backfilled: `Job.cutover` is next, or `Job.rollback`.

    Raises:
        ConfigError: If the collection, the model or the arguments cannot serve, or differ
            from those the job folder was begun with.
        FormatError: If the job folder holds something else.
        JobError: If the vector is there and not this job's, or the job cannot go on.
        MissingExtra: If a model is to be fitted and torch is not installed.
        StoreError: If the home fails for good; what was acknowledged is kept.
    """  # noqa: DOC502  # raised by helpers
    given = _loaded(model)
    home = open_home(target, collection)
    try:
        wanted = _wanted(home, vector=vector, name=name, k=k, residuals=residuals)
        folder = Path(job) if job is not None else _default_folder(home.url, name)
        begun = _begun(folder, wanted, given)
        work = Job(home, folder, begun, pace=Pace(rate=rate), progress=progress)
    except BaseException:
        home.close()
        raise
    try:
        work.run(model=given, config=config)
    except BaseException:
        work.close()
        raise
    return work


def _loaded(model: Any) -> CSRModel | None:
    from csrkit.model import CSRModel, load

    return model if model is None or isinstance(model, CSRModel) else load(model)


def _wanted(home: Home, *, vector: str, name: str, k: int, residuals: bool) -> Manifest:
    from csrkit import __version__

    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigError(f"expected k of at least 1, got k={k!r}")
    if not name or name == vector:
        raise ConfigError(f"expected a name for the codes other than {vector!r}, got name={name!r}")
    return Manifest(
        job=secrets.token_hex(8),
        csrkit=__version__,
        url=home.url,
        vector=vector,
        name=name,
        k=k,
        residuals=residuals,
    )


def _default_folder(url: str, name: str) -> Path:
    title = url.rstrip("/").rpartition("/")[2]
    return Path("csrkit-jobs") / re.sub(r"[^\w.-]", "_", f"{title}.{name}")


def _begun(folder: Path, wanted: Manifest, model: CSRModel | None) -> Manifest:
    """Return the manifest of the folder, written if it is free, and refuse another job's."""
    found = Manifest.read(folder)
    if found is None:
        wanted.write(folder)
        return wanted
    for setting in ("url", "vector", "name", "k", "residuals"):
        have, want = getattr(found, setting), getattr(wanted, setting)
        if have != want:
            raise ConfigError(
                f"the job in {folder} was begun with {setting}={have!r}, got {want!r}: go on with "
                "the same, or name another folder as job="
            )
    if model is not None and found.fingerprint not in (None, model.fingerprint):
        raise ConfigError(
            f"the job in {folder} was begun with the model {str(found.fingerprint)[:12]}, got "
            f"{model.fingerprint[:12]}: leave model= out, or name another folder as job="
        )
    return found
