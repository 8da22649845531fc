"""The end of a job: what becomes of the dense vector, and what that saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from csrkit.collection.home import Description, Home
from csrkit.collection.jobs.backfill import Swept
from csrkit.collection.jobs.manifest import Manifest
from csrkit.collection.verdicts.verdict import SWEPT, NotVerified, Verdict
from csrkit.errors import ConfigError, JobError

__all__ = ["Cutover", "Dense", "Saving", "finish_dense", "settled"]

Dense: TypeAlias = Literal["keep", "disk", "drop"]
_PASSES = 3  # verifications of a cutover; a pass that fails longer is written to all the time


class Cutover(NamedTuple):
    """A job that was cut over.

    Attributes:
        swept: What the last sweep wrote, missing codes and old ones.
        using: Name of the vector that searches are to use from now on.
        verdict: What the verification found; None if there was none.
    """

    swept: Swept
    using: str
    verdict: Verdict | None = None


class Saving(NamedTuple):
    """What became of the dense vector.

    Attributes:
        dense: "keep", "disk" or "drop".
        snapshot: Name of the snapshot that was taken before; None if none was.
        bytes_before: Bytes on disk; None if the engine does not tell.
        bytes_after: The same afterwards. The engine frees space when it next optimises.
    """

    dense: Dense
    snapshot: str | None
    bytes_before: int | None
    bytes_after: int | None


def settled(sweep: Callable[[], Swept], verify: Callable[[], Verdict]) -> tuple[Swept, Verdict]:
    """Sweep and verify, again while a sweep mends what is wrong: others write meanwhile.

    Args:
        sweep: Brings every code up to date.
        verify: Verifies.

    Returns:
        What the sweeps wrote, and a verdict that passed.

    Raises:
        NotVerified: If the verdict is another.
    """
    swept = Swept()
    for _ in range(_PASSES):
        swept = swept.plus(sweep())
        verdict = verify()
        if verdict.passed:
            return swept, verdict
        if any(check.name not in SWEPT for check in verdict.failed):
            break
    raise NotVerified(verdict)


def finish_dense(home: Home, manifest: Manifest, dense: Dense, confirm: str | None) -> Saving:
    """Keep the dense vector, keep it on disk, or drop it; harmless to repeat.

    Args:
        home: The collection.
        manifest: The job, whose codes are complete.
        dense: What is to become of it.
        confirm: Name of the collection as its description gives it, typed by a person;
            needed to drop.

    Returns:
        What was done.

    Raises:
        ConfigError: If dropping is not confirmed, or the engine cannot keep it on disk.
        JobError: If points would be left that no search finds.
    """
    if dense not in ("keep", "disk", "drop"):
        raise ConfigError(f"expected dense to be 'keep', 'disk' or 'drop', got {dense!r}")
    before, snapshot = home.disk_bytes(), None
    if dense == "disk" and not home.move_to_disk(manifest.vector):
        raise ConfigError(f"{home.url}: this engine cannot move a vector that exists to disk")
    if dense == "drop":
        now = home.describe()
        _check_drop(home, now, manifest, confirm)
        if manifest.vector in {one.name for one in now.dense}:  # else a kill came after the drop
            snapshot = home.snapshot()
            home.drop_dense(manifest.vector)
    return Saving(dense, snapshot, before, home.disk_bytes())


def _check_drop(home: Home, now: Description, manifest: Manifest, confirm: str | None) -> None:
    if confirm != now.title:
        raise ConfigError(
            f"dropping {manifest.vector!r} of {home.url} cannot be undone: to do it, pass the "
            f"name of the collection, confirm={now.title!r} (--confirm), got {confirm!r}"
        )
    bare = next(home.missing(manifest.name, size=10), [])
    if bare:
        raise JobError(
            f"{home.url} has points without a code, such as {bare}, which nothing would find "
            f"without {manifest.vector!r}: repair or delete them, then `csrkit sweep`"
        )
