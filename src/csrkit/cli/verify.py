"""``csrkit verify``: is what a job wrote right, complete, and good enough to search by?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csrkit.cli.collection import JobFolder, _opened
from csrkit.cli.exits import ExitCode
from csrkit.cli.options import Json, Progress
from csrkit.cli.output import one_line, table
from csrkit.cli.search import Effort, Rescoring
from csrkit.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from csrkit.collection import Check, Home, Verdict

__all__ = ["verdict_lines", "verify"]

_STAGES = {"sparse": "codes alone", "codes": "rescored by codes", "dense": "rescored by vectors"}


def verify(
    job: JobFolder,
    min_recall: Annotated[
        float, typer.Option(help="Gate: lower end of the overall recall@10.")
    ] = 0.9,
    min_group_recall: Annotated[
        float | None,
        typer.Option(
            help="Gate: mean recall@10 of each filter and value.", show_default="0.05 below"
        ),
    ] = None,
    min_query_recall: Annotated[
        float, typer.Option(help="Gate: mean recall@10 of the worst 5% of the queries.")
    ] = 0.0,
    by: Annotated[
        str | None, typer.Option(help="Payload field, such as tenant: judge each value apart.")
    ] = None,
    filter: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE to judge apart; may be repeated.")
    ] = None,
    queries: Annotated[
        list[str] | None, typer.Option(help="File of query vectors; else documents serve.")
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(help="What is relevant: lines of query row, point id, gain; with --queries."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Recompute every code, not only a sample.")
    ] = False,
    sample: Annotated[int, typer.Option(help="Codes to recompute without --full.")] = 2000,
    k: Annotated[int | None, typer.Option(help="Latents of a query's code.")] = None,
    effort: Annotated[Effort | None, typer.Option(help="Effort of the searches.")] = None,
    rescore: Annotated[
        Rescoring | None,
        typer.Option(help="How candidates are rescored.", show_default="by what the job keeps"),
    ] = None,
    max_stale: Annotated[float, typer.Option(help="Gate: share of codes that may differ.")] = 0.0,
    max_changed: Annotated[
        float, typer.Option(help="Gate: share of points that others may have changed.")
    ] = 0.2,
    accept: Annotated[
        list[str] | None, typer.Option(help="Check whose failure is accepted; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Write the verdict as one HTML page.")] = None,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Check a job's codes, and what they find.

    Codes are recomputed from the dense vectors, ids compared, and searches
    with the exact ones of the engine. A read-only key is enough. Exit code 1
    if anything is wrong, or a gate is not reached.
    """
    from csrkit.collection.verdict import VerifyConfig

    _check_output(report)
    with _opened(job, "verify", progress) as work:
        rows = None if queries is None else _queries(queries, work.model.dim)
        config = VerifyConfig(
            min_recall=min_recall,
            min_group_recall=min_group_recall,
            min_query_recall=min_query_recall,
            max_stale=max_stale,
            max_changed=max_changed,
            accept=tuple(accept or ()),
            full=full,
            sample=sample,
            seed=seed,
            k=k,
            effort=None if effort is None else effort.value,
            rescore="auto" if rescore is None else rescore.value,
            queries=rows,
            qrels=None if qrels is None else _qrels(qrels, 0 if rows is None else len(rows)),
            by=by,
            filters=_filters(work.home, filter or []),
        )
        verdict = work.verify(config)
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


def _queries(paths: list[str], dim: int) -> Any:
    from csrkit.sources import open_source

    source = open_source(paths, dim=dim)
    return source.rows(0, source.n)


def _qrels(path: Path, n: int) -> list[dict[int | str, float]]:
    """Read judgements by row of the queries and id of the point."""
    if not path.is_file():
        raise FormatError(f"no file of judgements at {path}")
    gains: list[dict[int | str, float]] = [{} for _ in range(n)]
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = line.split()
        if not words or (number == 1 and not words[0].isdecimal()):
            continue  # a header
        try:
            query, point, gain = int(words[0]), words[-2], float(words[-1])
            gains[query][int(point) if point.isdecimal() else point.lower()] = gain
        except (ValueError, IndexError) as error:
            raise FormatError(
                f"{path}, line {number}: expected query row, point id and gain, with rows from 0 "
                f"to {n - 1}, got {line!r}"
            ) from error
    return gains


def _filters(home: Home, given: list[str]) -> Mapping[str, Any]:
    filters = {}
    for one in given:
        field, is_pair, text = one.partition("=")
        if not (field and is_pair):
            raise ConfigError(f"expected --filter FIELD=VALUE, such as tenant=acme, got {one!r}")
        filters[one] = home.matching(field, _value(text))
    return filters


def _value(text: str) -> str | int | bool:
    """Read a whole number, true or false, or a JSON text; anything else is the text itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    is_whole = isinstance(found, int) and -(2**63) <= found < 2**63  # as engines have them
    return found if isinstance(found, str) or is_whole else text


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
