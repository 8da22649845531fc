"""``csrkit search``: queries against a store, with as much work as is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csrkit.cli.options import RESCORE, Codec, Embeddings, Json, Rescoring, StoreUrl
from csrkit.cli.output import one_line, show, width
from csrkit.cli.stores import opened
from csrkit.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.model import CSRModel
    from csrkit.search import Results
    from csrkit.sources import Source
    from csrkit.stores import Hit

__all__ = ["Found", "HitFacts", "SearchFacts", "hit_facts", "hit_lines", "search"]

MOST_LATENTS = 4  # of an explanation, in text


class Effort(StrEnum):
    """The values of ``--effort``; see `csrkit.search.dial`."""

    FAST = "fast"
    BALANCED = "balanced"
    ACCURATE = "accurate"


@dataclass(frozen=True)
class HitFacts:
    """One hit: its id, score and payload (None without one)."""

    id: int | str
    score: float
    payload: Mapping[str, Any] | None


@dataclass(frozen=True)
class SharedFacts:
    """A latent of both codes, its weights in them, and their product."""

    latent: int
    query: float
    document: float
    contribution: float


@dataclass(frozen=True)
class ExplanationFacts:
    """The score of the first stage, and the latents that it is the sum of."""

    score: float
    shared: list[SharedFacts]


@dataclass(frozen=True)
class Found:
    """The hits of one query, best first.

    Attributes:
        query: Row of the query.
        hits: At most ``limit``; documents that share no latent with the query are none.
        explanations: One per hit; None unless asked for.
    """

    query: int
    hits: list[HitFacts]
    explanations: list[ExplanationFacts] | None


@dataclass(frozen=True)
class Promise:
    """Recall that the codec's card measured for the setting, with its 95% interval."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class SearchFacts:
    """What `csrkit search` reports.

    Attributes:
        store: URL of the store.
        k: Most latents per query code.
        candidates: Documents per query that were rescored; None without rescoring.
        rescore: "codes", "dense" or None.
        promised: Recall measured for this setting; None if it was not.
        limit: Most hits per query.
        short: Queries with fewer hits, before any threshold.
        filled: Queries that fell short and were filled at a larger k.
        seconds: Time of encoding and searching all queries.
        results: One entry per query.
    """

    store: str
    k: int
    candidates: int | None
    rescore: str | None
    promised: Promise | None
    limit: int
    short: int
    filled: int
    seconds: float
    results: list[Found]


def search(
    codec: Codec,
    store: StoreUrl,
    queries: Embeddings,
    limit: Annotated[int, typer.Option(help="Most hits per query.")] = 10,
    k: Annotated[
        int | None, typer.Option(help="Latents per query: fewer is faster, more finds more.")
    ] = None,
    effort: Annotated[
        Effort | None, typer.Option(help="Instead of --k; by default balanced.")
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(help="Instead of --k: the cheapest setting that the codec's card promises."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Documents per query that are rescored.")
    ] = None,
    rescore: Annotated[
        Rescoring | None,
        typer.Option(help="Rank candidates by their cosine; by default from the stored codes."),
    ] = None,
    dense: Annotated[
        str | None,
        typer.Option(
            help="Rescore with this dense vector of the store, or with a file of the documents' "
            "embeddings, if the ids are its row numbers.",
        ),
    ] = None,
    score_threshold: Annotated[
        float | None, typer.Option(help="Least cosine of a hit, from -1 to 1.")
    ] = None,
    fill: Annotated[
        bool, typer.Option("--fill", help="Ask queries that fall short again, at a larger k.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the latents that brought each hit up.")
    ] = False,
    text_field: Annotated[str, typer.Option(help="Payload field shown as the text.")] = "text",
    as_json: Json = False,
) -> None:
    """Search a store, with as much work as asked for.

    Queries are embeddings, of the same model as the documents'. --k, --effort and --recall
    exclude each other.
    """  # noqa: DOC501  # the docstring is the help
    from csrkit.model import load
    from csrkit.search import Searcher
    from csrkit.sources import open_source

    model = load(codec)
    source: Source = open_source(queries, dim=model.dim)
    rescoring = rescore or (Rescoring.DENSE if dense else Rescoring.CODES)
    with opened(store, must_exist=True) as index:
        searcher = Searcher(
            model,
            index,
            rescore=RESCORE[rescoring],
            dense=None if dense is None else _dense(dense, model),
        )
        if not index.count():
            raise StoreError(f"{store} is empty: fill it with `csrkit encode ... --store {store}`")
        started = time.perf_counter()
        results = searcher.search(
            source.rows(0, source.n),
            limit=limit,
            k=k,
            effort=None if effort is None else effort.value,
            recall=recall,
            candidates=candidates,
            score_threshold=score_threshold,
            explain=explain,
            fill=fill,
        )
        seconds = time.perf_counter() - started
    facts = _facts(store, results, limit, seconds)
    show(facts, _lines(facts, text_field, score_threshold), as_json=as_json)


class _Rows:
    """The rows of a source as `csrkit.search.Searcher` reads dense vectors."""

    def __init__(self, source: Source) -> None:
        self.shape = (source.n, source.dim)
        self._source = source

    def __getitem__(self, rows: NDArray[Any]) -> NDArray[Any]:
        return self._source.take(rows)


def _dense(dense: str, model: CSRModel) -> str | _Rows:
    """Tell a file of embeddings (FILE or FILE:NAME) from the name of a vector."""
    from csrkit.sources import open_source

    file = dense if Path(dense).exists() else dense.rpartition(":")[0]
    return _Rows(open_source([dense], dim=model.dim)) if file and Path(file).exists() else dense


def _facts(url: str, results: Results, limit: int, seconds: float) -> SearchFacts:
    setting, promised = results.setting, results.promised
    return SearchFacts(
        store=url,
        k=setting.k,
        candidates=setting.candidates,
        rescore=setting.rescore,
        promised=promised and Promise(*promised),
        limit=limit,
        short=results.short,
        filled=results.filled,
        seconds=round(seconds, 4),
        results=[
            Found(query, list(map(hit_facts, hits)), _explained(results, query))
            for query, hits in enumerate(results)
        ],
    )


def hit_facts(hit: Hit) -> HitFacts:
    """Return a hit as it is reported, its score rounded."""
    return HitFacts(hit.id, round(hit.score, 6), hit.payload)


def _explained(results: Results, query: int) -> list[ExplanationFacts] | None:
    if results.explanations is None:
        return None
    return [
        ExplanationFacts(why.score, [SharedFacts(*one) for one in why.shared])
        for why in results.explanations[query]
    ]


def _lines(facts: SearchFacts, text_field: str, threshold: float | None) -> Iterator[str]:
    yield _setting_line(facts)
    for found in facts.results:
        yield typer.style(f"query {found.query}", bold=True)
        if not found.hits:
            yield (
                "  no document shares a latent with this query: try a larger k"
                if threshold is None
                else f"  no document found has a cosine of {threshold} or more"
            )
        reasons = map(_explanation_line, found.explanations or [])
        for line in hit_lines(found.hits, text_field):
            yield line
            yield from islice(reasons, 1)
    if threshold is not None and facts.rescore is None:
        yield f"scores are those of codes; the cosines that they stand for are {threshold} or more"
    if facts.short:
        yield (
            f"{facts.short} of {len(facts.results)} queries have fewer than {facts.limit} hits: "
            "--fill, or a larger k, finds more"
        )


def _setting_line(facts: SearchFacts) -> str:
    words = [f"k = {facts.k}"]
    if facts.rescore is not None:
        words.append(f"{facts.candidates} candidates rescored by {facts.rescore}")
    if facts.promised is not None:
        low, value, high = facts.promised.low, facts.promised.value, facts.promised.high
        words.append(f"measured recall@{facts.limit} {value:.3f} ({low:.3f} to {high:.3f})")
    return ", ".join(words)


def _explanation_line(why: ExplanationFacts) -> str:
    latents = [f"{one.latent} ({one.contribution:.3f})" for one in why.shared[:MOST_LATENTS]]
    more = len(why.shared) - len(latents)
    tail = f" and {more} more" if more > 0 else ""
    line = f"sparse score {why.score:.3f}, latents {', '.join(latents)}{tail}"
    return " " * 9 + one_line(line, width() - 9)


def hit_lines(hits: list[HitFacts], text_field: str) -> Iterator[str]:
    """Lay out hits as lines of score, id and text that fill the terminal.

    Args:
        hits: Best first.
        text_field: Payload field that holds the text.

    Yields:
        One line per hit.
    """
    ids = [one_line(hit.id, 36) for hit in hits]
    wide = max(map(len, ids), default=0)
    for hit, shown in zip(hits, ids, strict=True):
        start = f"  {hit.score:.3f}  {shown:{wide}}  "
        text = (hit.payload or {}).get(text_field, "")
        yield (start + one_line(text, width() - len(start))).rstrip()
