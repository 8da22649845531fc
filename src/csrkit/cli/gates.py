"""What ``verify`` looks at and its gates: options that ``cutover`` takes too.

So a job that passed with some options is cut over with the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csrkit.cli.options import Rescoring
from csrkit.cli.search import Effort
from csrkit.errors import FormatError

if TYPE_CHECKING:
    from csrkit.collection import Home, Job, VerifyConfig

__all__ = [
    "Accept",
    "By",
    "Efforts",
    "Filters",
    "Full",
    "Gates",
    "MaxChanged",
    "MaxStale",
    "MinGroupRecall",
    "MinQueryRecall",
    "MinRecall",
    "QueryK",
    "QueryRows",
    "Rescore",
    "Sample",
    "Seed",
]

MinRecall = Annotated[float, typer.Option(help="Gate: lower end of the overall recall@10.")]
MinGroupRecall = Annotated[
    float | None,
    typer.Option(help="Gate: mean recall@10 of each filter and value.", show_default="0.05 below"),
]
MinQueryRecall = Annotated[
    float, typer.Option(help="Gate: mean recall@10 of the worst 5% of the queries.")
]
By = Annotated[
    str | None, typer.Option(help="Payload field, such as tenant: judge each value apart.")
]
Filters = Annotated[
    list[str] | None, typer.Option(help="FIELD=VALUE to judge apart; may be repeated.")
]
QueryRows = Annotated[
    list[str] | None, typer.Option(help="File of query vectors; else documents serve.")
]
Full = Annotated[bool, typer.Option("--full", help="Recompute every code, not only a sample.")]
Sample = Annotated[int, typer.Option(help="Codes to recompute without --full.")]
QueryK = Annotated[int | None, typer.Option(help="Latents of a query's code.")]
Efforts = Annotated[Effort | None, typer.Option(help="Effort of the searches.")]
Rescore = Annotated[
    Rescoring | None,
    typer.Option(help="How candidates are rescored.", show_default="by what the job keeps"),
]
MaxStale = Annotated[float, typer.Option(help="Gate: share of codes that may differ.")]
MaxChanged = Annotated[
    float, typer.Option(help="Gate: share of points that others may have changed.")
]
Accept = Annotated[
    list[str] | None, typer.Option(help="Check whose failure is accepted; may be repeated.")
]
Seed = Annotated[int, typer.Option(help="Of all draws.")]


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Options as they were given.

    Attributes:
        min_recall: As of `VerifyConfig`, as are all without a word here.
        min_group_recall: The same.
        min_query_recall: The same.
        by: The same.
        filter: Conditions such as "tenant=acme".
        queries: Files of query vectors.
        qrels: File of judgements.
        full: As of `VerifyConfig`.
        sample: The same.
        k: The same.
        effort: The same.
        rescore: The same.
        max_stale: The same.
        max_changed: The same.
        accept: The same.
        seed: The same.
    """

    min_recall: float
    min_group_recall: float | None
    min_query_recall: float
    by: str | None
    filter: list[str] | None
    queries: list[str] | None
    qrels: Path | None = None
    full: bool
    sample: int
    k: int | None
    effort: Effort | None
    rescore: Rescoring | None
    max_stale: float
    max_changed: float
    accept: list[str] | None
    seed: int

    def config(self, work: Job) -> VerifyConfig:
        """Read what the options name.

        Args:
            work: The job.

        Returns:
            What to verify.

        Raises:
            ConfigError: If a number is out of its range, or a filter is none.
            FormatError: If a file cannot be read.
            ShapeError: If the queries are not as wide as the model.
        """  # noqa: DOC502  # raised by helpers
        from csrkit.collection.verdicts.verdict import VerifyConfig

        rows = None if self.queries is None else _queries(self.queries, work.model.dim)
        asked = 0 if rows is None else len(rows)
        return VerifyConfig(
            min_recall=self.min_recall,
            min_group_recall=self.min_group_recall,
            min_query_recall=self.min_query_recall,
            max_stale=self.max_stale,
            max_changed=self.max_changed,
            accept=tuple(self.accept or ()),
            full=self.full,
            sample=self.sample,
            seed=self.seed,
            k=self.k,
            effort=None if self.effort is None else self.effort.value,
            rescore="auto" if self.rescore is None else self.rescore.value,
            queries=rows,
            qrels=None if self.qrels is None else _qrels(self.qrels, asked),
            by=self.by,
            filters=_filters(work.home, self.filter or []),
        )


def _queries(paths: list[str], dim: int) -> Any:
    from csrkit.sources import open_source

    source = open_source(paths, dim=dim)
    return source.rows(0, source.n)


def _qrels(path: Path, n: int) -> list[dict[int | str, float]]:
    """Read judgements by row of the queries and id of the point."""
    if not path.is_file():
        raise FormatError(f"no file of judgements at {path}")
    gains: list[dict[int | str, float]] = [{} for _ in range(n)]
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except ValueError as error:
        raise FormatError(f"{path} is not text of judgements: {error}") from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or (number == 1 and not words[0].lstrip("-").isdecimal()):
            continue  # a header
        try:
            query, point, gain = range(n).index(int(words[0])), words[-2], float(words[-1])
            gains[query][int(point) if point.isdecimal() else point.lower()] = gain
        except (ValueError, IndexError) as error:
            raise FormatError(
                f"{path}, line {number}: expected query row, point id and gain, with rows from 0 "
                f"to {n - 1}, got {line!r}"
            ) from error
    return gains


def _filters(home: Home, given: list[str]) -> Mapping[str, Any]:
    from csrkit.collection.monitors.recent import where

    return {one: where(home, one) for one in given}
