"""``csrkit search``: queries against a store, k chosen now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csrkit.cli.options import Codec, Embeddings, Json, StoreUrl
from csrkit.cli.output import one_line, show, width
from csrkit.cli.stores import opened
from csrkit.errors import StoreError

if TYPE_CHECKING:
    from csrkit.sources import Source
    from csrkit.stores import Hit
    from csrkit.vectors import SparseVectors

__all__ = ["Found", "HitFacts", "SearchFacts", "hit_lines", "search"]


@dataclass(frozen=True)
class HitFacts:
    """One hit: its id, score and payload (None without one)."""

    id: int | str
    score: float
    payload: Mapping[str, Any] | None


@dataclass(frozen=True)
class Found:
    """The hits of one query, best first.

    Attributes:
        query: Row of the query.
        hits: At most ``limit``; documents that share no latent with the query are none.
    """

    query: int
    hits: list[HitFacts]


@dataclass(frozen=True)
class SearchFacts:
    """What `csrkit search` reports.

    Attributes:
        store: URL of the store.
        k: Most latents per query code.
        limit: Most hits per query.
        seconds: Time of encoding and searching all queries.
        results: One entry per query.
    """

    store: str
    k: int
    limit: int
    seconds: float
    results: list[Found]


def search(
    codec: Codec,
    store: StoreUrl,
    queries: Embeddings,
    k: Annotated[
        int | None,
        typer.Option(help="Latents per query: fewer is faster; by default the codec's longest k."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Most hits per query.")] = 10,
    text_field: Annotated[str, typer.Option(help="Payload field shown as the text.")] = "text",
    as_json: Json = False,
) -> None:
    """Search a store, k chosen now.

    Queries are embeddings, of the same model as the documents'.
    """
    from csrkit.model import load
    from csrkit.sources import open_source

    model = load(codec)
    source: Source = open_source(queries, dim=model.dim)
    started = time.perf_counter()
    codes = model.encode(source.rows(0, source.n), k=k)
    found = _hits(store, codes, limit)
    facts = SearchFacts(
        store=store,
        k=model.ladder[-1] if k is None else k,
        limit=limit,
        seconds=round(time.perf_counter() - started, 4),
        results=[Found(query, list(map(_facts, hits))) for query, hits in enumerate(found)],
    )
    show(facts, _lines(facts, text_field), as_json=as_json)


def _hits(url: str, codes: SparseVectors, limit: int) -> list[list[Hit]]:
    with opened(url, must_exist=True) as store:
        if not store.count():
            raise StoreError(f"{url} is empty: fill it with `csrkit encode ... --store {url}`")
        return store.search(codes, limit=limit)


def _facts(hit: Hit) -> HitFacts:
    return HitFacts(hit.id, round(hit.score, 6), hit.payload)


def _lines(facts: SearchFacts, text_field: str) -> Iterator[str]:
    for found in facts.results:
        yield typer.style(f"query {found.query}, k = {facts.k}", bold=True)
        if not found.hits:
            yield "  no document shares a latent with this query: try a larger k"
        yield from hit_lines(found.hits, text_field)


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
