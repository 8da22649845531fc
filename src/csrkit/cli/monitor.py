"""``csrkit monitor``: for a clock to run, with an exit code to raise the alarm by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csrkit.cli.exits import ExitCode
from csrkit.cli.options import Json
from csrkit.cli.output import one_line, show
from csrkit.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from csrkit.collection.home import Home, PointId
    from csrkit.collection.monitors.health import Health, Latents, Quality

__all__ = ["monitor"]


def monitor(
    job: Annotated[Path, typer.Argument(help="Job folder.", show_default=False)],
    where: Annotated[
        str | None,
        typer.Option(metavar="FIELD=VALUE", help="Draw from points with this in their payload."),
    ] = None,
    since: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="FIELD VALUE",
            help="Draw from points whose field is at least this number or ISO 8601 time.",
        ),
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="Draw from the ids in this file, one a line.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Points to draw.")] = 1000,
    queries: Annotated[
        int, typer.Option(help="Of them, to search with: an exact search each. 0: no recall.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of the draws; a date makes each day differ.")] = 0,
    max_missing: Annotated[float, typer.Option(help="Share of points without a code.")] = 0.0,
    max_stale: Annotated[float, typer.Option(help="Share of codes that are not theirs.")] = 0.0,
    max_fvu_ratio: Annotated[float, typer.Option(help="FVU, against the reference's.")] = 2.0,
    max_recall_drop: Annotated[float, typer.Option(help="Recall below the reference's.")] = 0.05,
    min_recall: Annotated[
        float | None, typer.Option(help="Least recall@10.", show_default="none")
    ] = None,
    max_load_ratio: Annotated[
        float, typer.Option(help="Busiest latent and posting cost, against the fit's.")
    ] = 1.5,
    max_dead: Annotated[float, typer.Option(help="Share of dead latents above the fit's.")] = 0.1,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Keep this run as the reference of later ones; by default the first good one.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for missing and stale codes, and for drift.

    For a clock to run: exit code 1 if a threshold is crossed. Writes nothing to
    the collection. No engine notes when a point was written: without --where,
    --since or --ids all points have the same chance to be drawn.
    """  # noqa: DOC501  # the docstring is the help
    from csrkit.collection.jobs.job import Job
    from csrkit.collection.monitors.health import MonitorConfig
    from csrkit.collection.monitors.monitoring import monitor as run

    config = MonitorConfig(
        sample=sample,
        queries=queries,
        seed=seed,
        max_missing=max_missing,
        max_stale=max_stale,
        max_fvu_ratio=max_fvu_ratio,
        max_recall_drop=max_recall_drop,
        min_recall=min_recall,
        max_load_ratio=max_load_ratio,
        max_dead=max_dead,
    )
    listed = None if ids is None else _listed(ids)
    work = Job.open(job, progress=False)
    try:
        chosen, which = _chosen(work.home, where, since, ids)
        health = run(work, config, ids=listed, filter=chosen, which=which, keep=keep)
    finally:
        work.close()
    show(health, _lines(health), as_json=as_json)
    if not health.ok:
        raise typer.Exit(ExitCode.GATE)


def _chosen(
    home: Home, where: str | None, since: tuple[str, str] | None, ids: Path | None
) -> tuple[Any, str | None]:
    """Return the vendor's filter, and which points are meant in words."""
    from csrkit.collection.monitors import recent

    if sum(one is not None for one in (where, since, ids)) > 1:
        raise ConfigError("expected at most one of --where, --since and --ids")
    if where is not None:
        return recent.where(home, where), f"points with {where}"
    if since is not None:
        return recent.since(home, *since), f"points with {since[0]} since {since[1]}"
    return None, None if ids is None else f"points of {ids}"


def _listed(path: Path) -> list[PointId]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
        return [int(one) if one.isascii() and one.isdecimal() else one for one in lines]
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read the ids in {path}: {error}") from error


def _lines(health: Health) -> Iterator[str]:
    state = "ok" if health.ok else "ATTENTION"
    yield one_line(f"{state}: {health.url}, {health.points:,} points, {health.which}", 200)
    yield (
        f"  codes      {health.missing:,} missing, {health.stale:,} of {health.looked:,} stale, "
        f"{health.uncodable:,} points cannot have one"
    )
    if health.seen is not None:
        yield f"  drawn      {_quality(health.seen)}"
    if health.reference is not None:
        yield f"  reference  {_quality(health.reference)}"
        yield f"             ({health.against})"
    if health.latents is not None:
        yield f"  latents    {_latents(health.latents)}"
    if health.fitted is not None:
        yield f"  at the fit {_latents(health.fitted)}"
    for note in health.notes:
        yield f"  {note}"
    if health.is_kept:
        yield "  This run was kept as the reference of later ones."
    for finding in health.findings:
        yield f"  {finding.name.upper()}: {finding.sentence}"


def _quality(one: Quality) -> str:
    low, value, high = one.fvu
    words = f"{one.points:,} points, FVU {value:.3f} [{low:.3f}, {high:.3f}]"
    if one.recall is None:
        return words
    low, value, high = one.recall
    return f"{words}, recall@10 {value:.3f} [{low:.3f}, {high:.3f}] of {one.queries} queries"


def _latents(one: Latents) -> str:
    return (
        f"busiest in {one.load:.1%} of the codes, {one.dead:.1%} dead, "
        f"posting cost {one.posting_cost:.3f}"
    )
