"""``csrkit verify``: is what a job wrote right, complete, and good enough to search by?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csrkit.cli.collection import JobFolder, _opened
from csrkit.cli.exits import ExitCode
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
from csrkit.cli.output import one_line, table
from csrkit.errors import FormatError

if TYPE_CHECKING:
    from csrkit.collection import Check, Verdict

__all__ = ["verdict_lines", "verify"]

_STAGES = {"sparse": "codes alone", "codes": "rescored by codes", "dense": "rescored by vectors"}


def verify(
    job: JobFolder,
    min_recall: MinRecall = 0.9,
    min_group_recall: MinGroupRecall = None,
    min_query_recall: MinQueryRecall = 0.0,
    by: By = None,
    filter: Filters = None,
    queries: QueryRows = None,
    qrels: Annotated[
        Path | None,
        typer.Option(help="What is relevant: lines of query row, point id, gain; with --queries."),
    ] = None,
    full: Full = False,
    sample: Sample = 2000,
    k: QueryK = None,
    effort: Efforts = None,
    rescore: Rescore = None,
    max_stale: MaxStale = 0.0,
    max_changed: MaxChanged = 0.2,
    accept: Accept = None,
    seed: Seed = 0,
    report: Annotated[Path | None, typer.Option(help="Write the verdict as one HTML page.")] = None,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Check a job's codes, and what they find.

    Codes are recomputed from the dense vectors, ids compared, and searches
    with the exact ones of the engine. A read-only key is enough. Exit code 1
    if anything is wrong, or a gate is not reached.
    """
    _check_output(report)
    gates = Gates(
        min_recall=min_recall,
        min_group_recall=min_group_recall,
        min_query_recall=min_query_recall,
        by=by,
        filter=filter,
        queries=queries,
        qrels=qrels,
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
    with _opened(job, "verify", progress) as work:
        verdict = work.verify(gates.config(work))
    if report is not None:
        verdict.to_html(report)
    for line in [verdict.to_json()] if as_json else verdict_lines(verdict):
        typer.echo(line)
    _end(verdict)


def _check_output(path: Path | None) -> None:
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise FormatError(f"cannot write {path}: expected a file in a folder that exists")


def _end(verdict: Verdict) -> None:
    if not verdict.passed:
        raise typer.Exit(ExitCode.GATE)


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Spell a verdict for a terminal.

    Args:
        verdict: Any.

    Yields:
        Lines: every check, every search, and what failed in words.
    """
    bad, many = len(verdict.failed), len(verdict.checks)
    yield f"{bad} of {many} checks failed" if bad else f"passed: all {many} checks"
    yield f"  target   {verdict.url}, {verdict.vector!r} -> {verdict.name!r}, k = {verdict.k}"
    yield f"  looked   {verdict.points:,} points, {verdict.compared:,} codes recomputed"
    yield ""
    rows = [
        [_state(one), one_line(one.name, 40), one_line(one.found, 60)] for one in verdict.checks
    ]
    yield from table(("", "check", "found"), rows)
    if verdict.searches:
        yield ""
        yield from _searches(verdict)
    for check in verdict.checks:
        if not check.passed:
            yield ""
            yield f"{_state(check)}: {one_line(check.sentence, 2000)}"
    for note in verdict.notes:
        yield f"note: {one_line(note, 200)}"


def _state(check: Check) -> str:
    return "ok" if check.passed else "accepted" if check.accepted else "FAILED"


def _searches(verdict: Verdict) -> Iterator[str]:
    rows = [
        [
            one_line(one.name, 40),
            f"{_STAGES[one.stage]}, {one.setting}",
            f"{one.queries:,}",
            f"{one.recall.value:.3f}",
            f"{one.recall.low:.3f} - {one.recall.high:.3f}",
            f"{one.floor:.3f}",
            "" if one.ndcg is None else f"{one.ndcg.value:.3f}",
            "" if one.exact_ndcg is None else f"{one.exact_ndcg.value:.3f}",
        ]
        for one in verdict.searches
    ]
    header = ["searched", "by", "queries", "recall@10", "95%", "worst 5%", "nDCG@10", "exact"]
    shown = len(header) if any(one.ndcg for one in verdict.searches) else len(header) - 2
    yield from table(header[:shown], [row[:shown] for row in rows])
