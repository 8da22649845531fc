"""`Job`: its steps, in order, each of which goes on where a kill ended it.

    planned -> fitted -> added -> backfilled -> verified -> cutover -> finalized
                                                      any -> rolled_back

Until it is finalised it never inserts or deletes a point, nor changes a payload or a
dense vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrkit.collection.home import Home
from csrkit.collection.jobs import modelling
from csrkit.collection.jobs.backfill import Backfill, Coder, Swept
from csrkit.collection.jobs.finishing import Cutover, Dense, Saving, finish_dense, settled
from csrkit.collection.jobs.ledger import Ledger, Phase, held
from csrkit.collection.jobs.manifest import Manifest
from csrkit.collection.jobs.pace import Pace
from csrkit.collection.jobs.status import Status, begun
from csrkit.collection.jobs.strategy import reopened, strategy_of
from csrkit.collection.verdicts.baseline import Baseline
from csrkit.collection.verdicts.verdict import Verdict, VerifyConfig
from csrkit.errors import ConfigError, JobError

if TYPE_CHECKING:
    from os import PathLike

    from csrkit.model import CSRModel
    from csrkit.training.config import FitConfig

__all__ = ["Job"]

_PASSES = 3  # sweeps for points that are written while the last one runs
_REACHED = list(Phase)


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
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.db")
        self._opened = home
        self._be(manifest)
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
        manifest, folder = begun(folder), Path(folder)
        home = reopened(manifest, target)
        return cls(home, folder, manifest, pace=Pace(rate=rate), progress=progress)

    # -- what it is -------------------------------------------------------------

    def _be(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._strategy = strategy_of(self._opened, manifest, self.ledger)

    @property
    def home(self) -> Home:
        """The collection with the codes: the one that was named, or the copy of it once made."""
        return self._strategy.home

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
            self._model = modelling.stored(self.folder, self.manifest)
        return self._model

    def status(self) -> Status:
        """Return how far the job is; another process may be working on it.

        Returns:
            Phase and sums.
        """
        return Status.of(self.manifest, self.ledger)

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
                if Baseline.read(self.folder) is None:  # else a kill came between the two
                    Baseline.of(self._opened, self.manifest.vector).write(self.folder)
                self._strategy.claim()
                self.ledger.advance(Phase.ADDED)
            if self.phase is Phase.ADDED:
                self._strategy.checked()
                self._backfill()
                self.ledger.advance(Phase.BACKFILLED)
            else:
                self._strategy.checked()  # what was done may have been undone by others

    def _refuse_rolled_back(self) -> None:
        if self.phase is Phase.ROLLED_BACK:
            raise JobError(
                f"the job in {self.folder} was rolled back: begin another in a new folder, job= "
                "(--job), and keep its model if you want with model= (--model) "
                f"{self.folder / 'model'}"
            )

    def _fit(self, model: CSRModel | None, config: FitConfig | None) -> None:
        if model is None and self.manifest.fingerprint is not None:
            model = self.model  # a kill came before the ledger knew of it, or the ledger was lost
        model = modelling.chosen(self.home, self.manifest, model, config, progress=self._progress)
        modelling.keep(model, self.folder)
        self._be(modelling.with_model(self.manifest, model))
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
        total = self._strategy.count()
        with tqdm(
            total=total, initial=done, desc=doing, unit=" points", disable=not self._progress
        ) as bar:

            def moved(points: int) -> None:
                bar.set_postfix(batch=self._pace.size, retries=self._pace.retries, refresh=False)
                bar.update(points)

            yield self._strategy.worker(coder, self.ledger, self._pace, moved)

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
            self._strategy.checked()
            return self._sweep(stale)

    def _sweep(self, stale: bool) -> Swept:
        self.home.describe().source(self.manifest.vector)  # refuse if it was dropped
        with self._worker("sweep") as work:
            return work.sweep_stale() if stale else work.sweep_missing()

    def _need(self, phase: Phase, doing: str) -> None:
        self._refuse_rolled_back()
        if _REACHED.index(self.phase) < _REACHED.index(phase):
            raise JobError(
                f"cannot {doing}: the job in {self.folder} is {self.phase.value}, "
                f"expected it to be {phase.value}; run `csrkit compress` again to go on"
            )

    def verify(self, config: VerifyConfig | None = None) -> Verdict:
        """Check what the job wrote, content and not counts, and measure what searches find.

        Only reads the collection: a read-only key is enough.

        Args:
            config: What to look at, and the gates.

        Returns:
            The verdict; `Verdict.failed` says what is wrong.

        Raises:
            ConfigError: If the settings do not fit the collection.
            JobError: If the backfill is not done, or nothing is left to compare with.
            ShapeError: If the given queries are not (q, dim), or one is zero or not finite.
            StoreError: If the home fails for good.
        """  # noqa: DOC502  # raised by helpers
        with self._alone():
            self._need(Phase.BACKFILLED, "verify")
            return self._verify(config or VerifyConfig())

    def _verify(self, config: VerifyConfig) -> Verdict:
        from tqdm import tqdm

        from csrkit.collection.verdicts.verifying import verify

        if not isinstance(config, VerifyConfig):
            raise ConfigError(f"expected a VerifyConfig of what to verify, got {config!r}")
        total = self.home.describe().count if config.full else None
        with tqdm(total=total, desc="verify", unit=" points", disable=not self._progress) as bar:
            verdict = verify(
                self.home,
                self.manifest,
                self.model,
                Baseline.read(self.folder),
                config,
                moved=bar.update,
            )
        if verdict.passed:
            self._reach(Phase.VERIFIED)
        elif self.phase is Phase.VERIFIED:
            self.ledger.advance(Phase.BACKFILLED)
        return verdict

    def cutover(self, *, verify: bool | VerifyConfig = True) -> Cutover:
        """Encode what was written late, verify the job, and let searches find the codes.

        In place nothing else changes: a search uses the codes when its caller names them, and
        the dense vector stays. Aliases move to a copy.

        Args:
            verify: Whether to verify, or what to look at and the gates: as `verify` does, after
                every code was brought up to date.

        Returns:
            What the sweeps wrote, the name to search by, and the verdict.

        Raises:
            JobError: If the backfill is not done, or the vector is not this job's; as
                `NotVerified` with the verdict if that failed. Nothing is live then. Also if
                the original of a copy was written to meanwhile; the copy is live then.
            StoreError: If the home fails for good.
        """  # noqa: DOC502  # raised by helpers
        with self._alone():
            self._need(Phase.BACKFILLED, "cut over")
            self._strategy.checked()
            self._strategy.ready()
            swept, verdict, is_fresh = Swept(), None, False
            if verify is not False:
                config = VerifyConfig() if verify is True else verify
                swept, verdict = settled(
                    lambda: self._sweep(stale=True), lambda: self._verify(config)
                )
                is_fresh = self.manifest.copy_of is None  # a copy is compared to the end
            late = self._strategy.go_live(lambda: self._sweep(stale=not is_fresh))
            self._reach(Phase.CUTOVER)
            self._strategy.settle()
            return Cutover(swept.plus(late), self.manifest.name, verdict)

    def finalize(
        self,
        dense: Dense = "keep",
        *,
        drop_original: bool = False,
        confirm: str | None = None,
    ) -> Saving:
        """Decide what becomes of the dense vector, and measure what that saves.

        Args:
            dense: "keep" it as it is, keep it on "disk", or "drop" it, for good; a
                snapshot is taken before where the engine has snapshots.
            drop_original: Whether to delete the collection that was copied, for good; a
                snapshot is taken before. Not together with a dense vector.
            confirm: Name of the collection whose vector is dropped or that is deleted, typed
                by a person.

        Returns:
            What was done, and the bytes on disk before and after.

        Raises:
            ConfigError: If dropping is not confirmed, or the engine cannot do it.
            JobError: If the job was not cut over, the vector is not this job's, or points
                would be left that no search finds.
            StoreError: If the home fails for good.
        """  # noqa: DOC502  # raised by helpers
        with self._alone():
            self._need(Phase.CUTOVER, "finalize")
            self._strategy.checked()
            if drop_original and dense == "keep":
                saving = Saving(dense, self._strategy.drop_original(confirm), None, None)
            elif drop_original:
                raise ConfigError(f"expected drop_original alone, got dense={dense!r} with it")
            else:
                saving = finish_dense(self.home, self.manifest, dense, confirm)
            self._reach(Phase.FINALIZED)
            return saving

    def _reach(self, phase: Phase) -> None:
        """Note a phase, unless the job is further: a cutover may be repeated."""
        if _REACHED.index(self.phase) < _REACHED.index(phase):
            self.ledger.advance(phase)

    def rollback(self, *, confirm: str | None = None) -> None:
        """Drop what this job added, and nothing else; harmless to repeat.

        That is its vectors; or its copy, after the aliases were moved back.

        Args:
            confirm: Name of the copy, typed by a person; needed to give up what was written
                to it since the cutover.

        Raises:
            JobError: If the vector is not this job's, the dense one was dropped, or a copy
                holds what the original does not.
            StoreError: If the home fails.
        """  # noqa: DOC502  # raised by helpers
        with self._alone():
            if self.phase is Phase.ROLLED_BACK:
                return
            if self.manifest.fingerprint is not None:
                self._strategy.release(confirm)
            self.ledger.advance(Phase.ROLLED_BACK)

    def close(self) -> None:
        """Close the ledger and the home; a client that was passed in stays open."""
        self.ledger.close()
        self._opened.close()
