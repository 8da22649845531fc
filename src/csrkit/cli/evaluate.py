"""``csrkit evaluate``: what a codec loses on your data, beside what else would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csrkit.cli.options import Codec, Embeddings, Json, Progress
from csrkit.cli.output import bar_wanted
from csrkit.errors import ConfigError, FormatError, MissingExtra

if TYPE_CHECKING:
    from csrkit.report import Report

__all__ = ["evaluate"]


def evaluate(
    codec: Codec,
    docs: Embeddings,
    queries: Annotated[
        list[str] | None,
        typer.Option(help="File or folder of queries; else documents serve as queries."),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(help="What is relevant, by row: .npy, or lines of query, document, gain."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Class of each document: .npy, or one per line.")
    ] = None,
    query_labels: Annotated[
        Path | None, typer.Option(help="Class of each query, with --queries and --labels.")
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(help="Names between commas, such as 'int8, pq'; 'all', or 'none'."),
    ] = "all",
    k_doc: Annotated[
        int | None,
        typer.Option(help="Latents per stored code; by default those of the query, k by k."),
    ] = None,
    n_queries: Annotated[int, typer.Option(help="Most queries to ask.")] = 1000,
    title: Annotated[str | None, typer.Option(help="Title of the report.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as one page to this file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw quality against cost: .png, .svg or .pdf.")
    ] = None,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Compare a codec with other ways to compress.

    Exact search, quantisers, projections and graphs on the same data, with
    intervals, bytes, latencies and a verdict.
    """
    from csrkit.evaluation import evaluate as run
    from csrkit.model import load

    _check_outputs(html, plot)
    model = load(codec)
    report = run(
        model,
        docs,
        queries or None,
        **_known(queries or None, qrels, labels, query_labels, model.dim),
        baselines=_names(baselines),
        k_doc=k_doc,
        n_queries=n_queries,
        title=title,
        seed=seed,
        progress=bar_wanted(progress),
    )
    if html is not None:
        report.to_html(html)
    if plot is not None:
        report.plot(plot)
    if as_json:
        typer.echo(report.to_json())
        return
    for line in _lines(report):
        typer.echo(line)


def _check_outputs(*paths: Path | None) -> None:
    """Find out before the work whether its end can be written."""
    from importlib.util import find_spec

    wanted = [path for path in paths if path is not None]
    for path in wanted:
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise FormatError(f"cannot write {path}: expected a file in a folder that exists")
    if wanted and find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "report", "csrkit evaluate --html or --plot")


def _names(text: str) -> Sequence[str]:
    from csrkit.baselines import DEFAULT

    if text.strip() in ("all", "none"):
        return DEFAULT if text.strip() == "all" else ()
    return [name.strip() for name in text.split(",")]


def _known(
    queries: list[str] | None,
    qrels: Path | None,
    labels: Path | None,
    query_labels: Path | None,
    dim: int,
) -> dict[str, Any]:
    """Read what is known about relevance, as keywords of `csrkit.evaluate`."""
    from csrkit.cli.judgements import read_labels, read_qrels
    from csrkit.sources import open_source

    if qrels is not None and queries is None:
        raise ConfigError(f"expected --queries with --qrels, got --qrels {qrels} alone")
    return {
        "qrels": qrels and read_qrels(qrels, open_source(queries, dim=dim).n),
        "labels": None if labels is None else read_labels(labels),
        "query_labels": None if query_labels is None else read_labels(query_labels),
    }


def _lines(report: Report) -> Iterator[str]:
    yield report.table()
    yield ""
    yield typer.style("VERDICT", bold=True)
    yield from report.verdict()
