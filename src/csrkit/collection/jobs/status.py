"""`Status`: how far a job is, read from its folder alone, while another process works on it."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from csrkit.collection.home import PointId
from csrkit.collection.jobs.ledger import Ledger
from csrkit.collection.jobs.manifest import Manifest, job_folder
from csrkit.errors import JobError

__all__ = ["Status", "begun", "read_status"]


@dataclass(frozen=True, slots=True)
class Status:
    """How far a job is.

    Attributes:
        job: Id of the job.
        phase: Its phase.
        url: The collection, without any secret.
        vector: Name of the dense vector.
        name: Name of the sparse vector.
        k: Latents per code.
        copy: Name of the copy that gets the codes; None if they are added in place.
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

    job: str
    phase: str
    url: str
    vector: str
    name: str
    k: int
    copy: str | None
    fingerprint: str | None
    points: int
    written: int
    gone: int
    rejects: int
    reasons: tuple[tuple[PointId, str], ...]
    ranges_done: int
    ranges: int
    retries: int

    @classmethod
    def of(cls, manifest: Manifest, ledger: Ledger) -> Status:
        """Put together what the two files of a job say.

        Args:
            manifest: What the job is.
            ledger: How far it is.

        Returns:
            The status.
        """
        tally = ledger.tally()
        return cls(
            job=manifest.job,
            phase=ledger.phase.value,
            url=manifest.url,
            vector=manifest.vector,
            name=manifest.name,
            k=manifest.k,
            copy=None if manifest.copy_of is None else manifest.title,
            fingerprint=manifest.fingerprint,
            points=tally.points,
            written=tally.written,
            gone=tally.gone,
            rejects=tally.rejects,
            reasons=tuple(ledger.rejects()),
            ranges_done=tally.done,
            ranges=tally.ranges,
            retries=tally.retries,
        )


def begun(folder: str | PathLike[str]) -> Manifest:
    """Read the manifest of a job.

    Args:
        folder: The job folder.

    Returns:
        The manifest.

    Raises:
        ConfigError: If it cannot be the name of a folder.
        JobError: If there is none.
    """  # noqa: DOC502  # raised by helpers
    manifest = Manifest.read(job_folder(folder))
    if manifest is None:
        raise JobError(
            f"no job in {str(folder)!r}: name its folder, by default csrkit-jobs/COLLECTION.csr, "
            "or begin one with `csrkit compress`"
        )
    return manifest


def read_status(folder: str | PathLike[str]) -> Status:
    """Read how far a job is, without opening the collection.

    Args:
        folder: The job folder.

    Returns:
        The status.

    Raises:
        FormatError: If the folder holds something else.
        JobError: If it holds no job, or the ledger cannot be read.
    """  # noqa: DOC502  # raised by helpers
    manifest = begun(folder)
    ledger = Ledger(Path(folder) / "ledger.db")
    try:
        return Status.of(manifest, ledger)
    finally:
        ledger.close()
