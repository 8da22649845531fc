"""The verbs of a job on a collection that exists: compress, status, sweep, rollback, finalize.

``--dry-run`` says what would be done and writes nothing, not even a job folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from csrkit.cli.exits import Interrupted
from csrkit.cli.options import Json, Progress
from csrkit.cli.output import amount, bar_wanted, one_line, show, width

if TYPE_CHECKING:
    from csrkit.collection import Job, Status

__all__ = ["compress", "finalize", "rollback", "status", "sweep"]

JobFolder = Annotated[Path, typer.Argument(help="Job folder.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Rate = Annotated[float | None, typer.Option(help="Most points per second.", show_default="no cap")]


class DenseFate(StrEnum):
    """What becomes of the dense vector."""

    KEEP = "keep"
    DISK = "disk"
    DROP = "drop"


class Place(StrEnum):
    """Where the codes go."""

    AUTO = "auto"
    IN_PLACE = "in_place"
    COPY = "copy"


@dataclass(frozen=True)
class JobFacts:
    """What every verb of a job reports.

    Attributes:
        job: Job folder.
        did: What was done, or would be.
        dry_run: Whether nothing was written.
        phase: Phase of the job; None if there is none yet.
        url: The collection.
        vector: Name of the dense vector.
        name: Name of the sparse vector.
        k: Latents per code.
        copy: Name of the copy that gets the codes; None if they are added in place.
        points: Points in the ranges of the backfill that are done; 0 for a sweep.
        written: Points that got a code, by the backfill or by this sweep.
        gone: Points that were deleted meanwhile.
        rejects: Points that cannot be encoded.
        reasons: Some of the rejects, each with its reason.
        retries: Calls that were repeated.
        bytes_before: Bytes on disk before `finalize`; None if not measured.
        bytes_after: Bytes on disk after it.
        snapshot: Name of the snapshot taken before.
        notes: What else is to be known, in words.
    """

    job: str
    did: str
    dry_run: bool
    phase: str | None
    url: str
    vector: str
    name: str
    k: int
    copy: str | None = None
    points: int = 0
    written: int = 0
    gone: int = 0
    rejects: int = 0
    reasons: tuple[tuple[int | str, str], ...] = ()
    retries: int = 0
    bytes_before: int | None = None
    bytes_after: int | None = None
    snapshot: str | None = None
    notes: tuple[str, ...] = ()


def _facts(folder: Path, status: Status, did: str) -> JobFacts:
    return JobFacts(
        job=str(folder),
        did=did,
        dry_run=False,
        phase=status.phase,
        url=status.url,
        vector=status.vector,
        name=status.name,
        k=status.k,
        copy=status.copy,
        points=status.points,
        written=status.written,
        gone=status.gone,
        rejects=status.rejects,
        reasons=status.reasons,
        retries=status.retries,
    )


def _lines(facts: JobFacts) -> Iterator[str]:
    yield one_line(("would " if facts.dry_run else "") + facts.did, 200)
    if facts.phase is not None:
        yield f"  phase    {facts.phase}"
    yield f"  target   {facts.url}, {facts.vector!r} -> {facts.name!r}, k = {facts.k}"
    if facts.copy:
        yield f"  copy     {facts.copy}"
    if facts.points:
        yield (
            f"  points   {facts.points:,} done, {facts.written:,} written, {facts.gone:,} gone, "
            f"{facts.rejects:,} rejected, {facts.retries:,} retries"
        )
    for one, reason in facts.reasons:
        yield f"           {one_line(one, 40)}: {one_line(reason, 100)}"
    if facts.bytes_before is not None and facts.bytes_after is not None:
        yield f"  on disk  {amount(facts.bytes_before)} before, {amount(facts.bytes_after)} after"
    if facts.snapshot:
        yield f"  snapshot {facts.snapshot}"
    for one in facts.notes:
        yield from wrap(one, width(), initial_indent="- ", subsequent_indent="  ")


def compress(
    target: Annotated[
        str,
        typer.Argument(
            help="qdrant://HOST:PORT/COLLECTION (qdrant+https:// for TLS, key in "
            "QDRANT_API_KEY) or edge://FOLDER of a Qdrant Edge shard.",
            show_default=False,
        ),
    ],
    vector: Annotated[str, typer.Option(help="Dense vector to encode.")] = "dense",
    name: Annotated[str, typer.Option(help="Sparse vector to add.")] = "csr",
    k: Annotated[int, typer.Option(min=1, help="Latents per code.")] = 32,
    model: Annotated[
        Path | None, typer.Option(help="Codec folder; without it one is fitted to a sample.")
    ] = None,
    residuals: Annotated[
        bool, typer.Option(help="Keep what codes leave out, for rescoring.")
    ] = True,
    strategy: Annotated[
        Place,
        typer.Option(
            help="Add the codes in place, or to a copy, to which the aliases move at the cutover; "
            "auto copies where the server adds no vector (before Qdrant 1.18)."
        ),
    ] = Place.AUTO,
    job: Annotated[
        Path | None,
        typer.Option(help="Job folder.", show_default="csrkit-jobs/COLLECTION.NAME"),
    ] = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Add codes to a collection that exists, beside its dense vectors.

    The same command goes on after whatever ended it. Next: `csrkit cutover JOB`,
    or `csrkit rollback JOB`, which drops what was added and nothing else.
    """
    from csrkit.collection.jobs.compressing import compress as run
    from csrkit.collection.jobs.compressing import foreseen
    from csrkit.collection.plans.target import collection_of, outlined

    if dry_run:
        seen = foreseen(
            target, vector=vector, name=name, k=k, residuals=residuals, strategy=strategy.value
        )
        did = f"add {name!r} to {seen.found.count:,} points, beside {vector!r}"
        if seen.manifest.copy_of is not None:
            did = f"copy {seen.manifest.copy_of!r} to {did}, into a collection of its own"
            if not seen.found.aliases:
                did += "; no alias leads to it, and a cutover needs one"
        url = seen.manifest.url
        found = collection_of(seen.found, url, vector, name)
        said = [seen.warning] if seen.warning else []
        notes = (*said, *outlined(found, k, residuals), _kept_in(job or seen.folder))
        facts = JobFacts(str(job or seen.folder), did, True, None, url, vector, name, k)
        facts = replace(facts, notes=notes)
    else:
        with _resumable("compress"):
            work = run(
                target,
                vector=vector,
                name=name,
                k=k,
                model=model,
                residuals=residuals,
                strategy=strategy.value,
                job=job,
                rate=rate,
                progress=bar_wanted(progress),
            )
        did = f"added {name!r}" if work.manifest.copy_of is None else f"copied, with {name!r}"
        facts = _facts(work.folder, work.status(), f"{did}; next: cutover, or rollback")
        if job is None:
            facts = replace(facts, notes=(_kept_in(work.folder),))
        work.close()
    show(facts, _lines(facts), as_json=as_json)


def _kept_in(folder: Path) -> str:
    return f"job folder {folder.absolute()}: the other verbs take it, and a second run from here"


@contextmanager
def _resumable(verb: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; what was acknowledged is kept: "
            f"run the same `csrkit {verb}` again to go on"
        ) from None


@contextmanager
def _opened(
    folder: Path, verb: str, progress: bool | None = False, rate: float | None = None
) -> Iterator[Job]:
    from csrkit.collection.jobs.job import Job

    job = Job.open(folder, progress=bar_wanted(progress), rate=rate)
    try:
        with _resumable(verb):
            yield job
    finally:
        job.close()


def status(job: JobFolder, as_json: Json = False) -> None:
    """Show how far a job is, also while it runs."""
    from csrkit.collection.jobs.status import read_status

    facts = _facts(job, read_status(job), f"job {job}")
    show(facts, _lines(facts), as_json=as_json)


def _dry(folder: Path, did: str, *, copy: str | None = None, as_json: bool) -> None:
    """Say what would be done, in other words if the job made a copy."""
    from csrkit.collection.jobs.status import read_status

    status = read_status(folder)
    facts = replace(_facts(folder, status, (status.copy and copy) or did), dry_run=True)
    show(facts, _lines(facts), as_json=as_json)


def sweep(
    job: JobFolder,
    missing_only: Annotated[
        bool, typer.Option("--missing-only", help="Only points without a code: much quicker.")
    ] = False,
    rate: Rate = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Encode points that lack a code, or whose code is stale."""
    if dry_run:
        return _dry(job, "encode points without a code or with an old one", as_json=as_json)
    with _opened(job, "sweep", progress, rate) as work:
        swept = work.sweep(stale=not missing_only)
        did = f"swept: {swept.written:,} points written, {swept.rejects:,} cannot be encoded"
        facts = _facts(job, work.status(), did)
    facts = replace(facts, points=0, written=swept.written, gone=swept.gone)  # not the backfill's
    show(facts, _lines(facts), as_json=as_json)


def rollback(
    job: JobFolder,
    confirm: Annotated[
        str | None,
        typer.Option(help="Name of the copy, typed to give up what was written to it since."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Drop what the job added, and nothing else.

    That is its vectors; or its copy, once the aliases are back.
    """
    if dry_run:
        did, copy = "drop what the job added, and nothing else", "delete the copy, and nothing else"
        return _dry(job, did, copy=f"move the aliases back, {copy}", as_json=as_json)
    with _opened(job, "rollback") as work:
        work.rollback(confirm=confirm)
        facts = _facts(job, work.status(), "rolled back: dropped what the job had added")
    show(facts, _lines(facts), as_json=as_json)


def finalize(
    job: JobFolder,
    dense: Annotated[
        DenseFate, typer.Option(help="What becomes of the dense vector.")
    ] = DenseFate.KEEP,
    drop_original: Annotated[
        bool, typer.Option("--drop-original", help="Delete the collection that was copied.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option(help="Name of the collection, typed to drop its dense vector, or itself."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Keep the dense vector, move it to disk, or drop it.

    Or drop the collection that was copied.
    """
    did = "delete the original" if drop_original else f"{dense.value} the dense vector"
    if dry_run:
        return _dry(job, f"finalize: {did}", as_json=as_json)
    with _opened(job, "finalize") as work:
        saving = work.finalize(dense.value, drop_original=drop_original, confirm=confirm)
        facts = replace(
            _facts(job, work.status(), f"finalized: {did}"),
            bytes_before=saving.bytes_before,
            bytes_after=saving.bytes_after,
            snapshot=saving.snapshot,
        )
    untold = "  on disk  this engine does not tell: look at the volume of the server"
    lines = [*_lines(facts), *([untold] if saving.bytes_after is None else [])]
    show(facts, lines, as_json=as_json)
