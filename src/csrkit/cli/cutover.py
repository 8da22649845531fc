"""``csrkit cutover``: sweep, verify as ``csrkit verify`` does, and mark the codes as live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from csrkit.cli.collection import DryRun, JobFolder, Rate, _dry, _facts, _lines, _opened
from csrkit.cli.exits import ExitCode, note
from csrkit.cli.gates import (
    Accept,
    By,
    Efforts,
    Filters,
    Full,
    Gates,
    MaxChanged,
    MaxStale,
    MinGroupRecall,
    MinQueryRecall,
    MinRecall,
    QueryK,
    QueryRows,
    Rescore,
    Sample,
    Seed,
)
from csrkit.cli.options import Json, Progress
from csrkit.cli.output import show

if TYPE_CHECKING:
    from csrkit.collection import Cutover, Job, VerifyConfig

__all__ = ["cutover"]


def cutover(
    job: JobFolder,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Whether to verify before.")
    ] = True,
    min_recall: MinRecall = 0.9,
    min_group_recall: MinGroupRecall = None,
    min_query_recall: MinQueryRecall = 0.0,
    by: By = None,
    filter: Filters = None,
    queries: QueryRows = None,
    full: Full = False,
    sample: Sample = 2000,
    k: QueryK = None,
    effort: Efforts = None,
    rescore: Rescore = None,
    max_stale: MaxStale = 0.0,
    max_changed: MaxChanged = 0.2,
    accept: Accept = None,
    seed: Seed = 0,
    rate: Rate = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Sweep, verify, and mark the job ready to search.

    Takes the options of `csrkit verify`. Searches use the codes once their
    caller names them; the dense vector stays. The aliases move to a copy, and
    what writes has to pause meanwhile.
    Exit code 1, and nothing marked, if the verification fails.
    """
    if dry_run:
        did, copy = (
            "sweep, verify, and mark the codes as live",
            "sweep, verify, and move the aliases",
        )
        return _dry(job, did, copy=f"{copy} to the copy", as_json=as_json)
    gates = Gates(
        min_recall=min_recall,
        min_group_recall=min_group_recall,
        min_query_recall=min_query_recall,
        by=by,
        filter=filter,
        queries=queries,
        full=full,
        sample=sample,
        k=k,
        effort=effort,
        rescore=rescore,
        max_stale=max_stale,
        max_changed=max_changed,
        accept=accept,
        seed=seed,
    )
    with _opened(job, "cutover", progress, rate) as work:
        done = _cut_over(work, gates.config(work) if verify else None)
        did = f"cut over, {done.swept.written:,} late points written: search using={done.using!r}"
        if work.manifest.copy_of is not None:
            did += f" by the aliases {', '.join(work.home.describe().aliases)}"
        facts = _facts(job, work.status(), did)
    show(facts, _lines(facts), as_json=as_json)


def _cut_over(work: Job, config: VerifyConfig | None) -> Cutover:
    from csrkit.collection.verdicts.verdict import NotVerified

    try:
        return work.cutover(verify=config or False)
    except NotVerified as error:
        note(f"csrkit: {error}")
        raise typer.Exit(ExitCode.GATE) from error
