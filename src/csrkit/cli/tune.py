"""``csrkit tune``: measure what each setting of a search gives, and keep it with the codec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from csrkit.cli.options import Codec, Embeddings, Json, Progress
from csrkit.cli.output import bar_wanted, show, table

if TYPE_CHECKING:
    from csrkit.model import Calibration, Card, Measured
    from csrkit.model.card import Rescore
    from csrkit.stores import Store

__all__ = ["MapFacts", "SettingFacts", "TuneFacts", "tune"]

HEADER = ["k", "candidates", "recall", "interval", "worst 5%", "ms", "effort"]
SEARCHES: dict[Rescore, str] = {
    "codes": "searches that rescore by the stored codes, or not at all (-)",
    "dense": "searches that rescore by dense vectors (--dense), or not at all (-)",
}
EFFORTS: tuple[Literal["fast", "balanced", "accurate"], ...] = ("fast", "balanced", "accurate")


@dataclass(frozen=True)
class SettingFacts:
    """A setting and what was measured of it; see `csrkit.model.Measured`.

    Attributes:
        k: Latents of the query code.
        candidates: Hits rescored; None without rescoring.
        rescore: "codes", "dense" or None.
        recall: Mean recall at limit.
        low: Lower end of its interval, which holds with those of all settings.
        high: Upper end.
        worst: Mean recall of the worst 5% of queries.
        posting_cost: Postings visited per query and document.
        ms: Median milliseconds of a query alone.
        cost: Milliseconds by a model of all settings.
        short: Share of queries with fewer hits than limit.
    """

    k: int
    candidates: int | None
    rescore: str | None
    recall: float
    low: float
    high: float
    worst: float
    posting_cost: float
    ms: float
    cost: float
    short: float


@dataclass(frozen=True)
class EffortFacts:
    """What an effort chooses.

    Attributes:
        effort: "fast", "balanced" or "accurate".
        rescore: How the searcher rescores: "codes" or "dense".
        setting: The setting.
    """

    effort: str
    rescore: str
    setting: SettingFacts


@dataclass(frozen=True)
class MapFacts:
    """How well scores became cosines.

    Attributes:
        k: Latents of the query code.
        rescore: "codes", or None for sparse scores.
        pairs: Held-out pairs.
        mean_error: Mean absolute error in cosine.
        p95_error: Absolute error that 95% stay below.
    """

    k: int
    rescore: str | None
    pairs: int
    mean_error: float
    p95_error: float


@dataclass(frozen=True)
class TuneFacts:
    """What `csrkit tune` reports.

    Attributes:
        codec: Folder whose card.json was written.
        fingerprint: Of the model.
        k_doc: Latents per stored code.
        residuals: Whether residual bits were stored.
        refitted: Whether the stored codes were refitted.
        n_docs: Documents searched.
        n_queries: Queries measured with.
        queries: "given" or "documents".
        limit: Hits per query.
        store: Type of the store.
        measured: Every setting.
        efforts: What each effort chooses, by how the searcher rescores.
        calibrations: Every map from scores to cosines.
    """

    codec: str
    fingerprint: str
    k_doc: int
    residuals: bool
    refitted: bool
    n_docs: int
    n_queries: int
    queries: str
    limit: int
    store: str
    measured: list[SettingFacts]
    efforts: list[EffortFacts]
    calibrations: list[MapFacts]


def tune(
    codec: Codec,
    docs: Embeddings,
    queries: Annotated[
        list[str] | None,
        typer.Option(help="File or folder of real queries; else documents stand in for them."),
    ] = None,
    k_doc: Annotated[
        int | None, typer.Option(help="Latents per stored code; by default the longest k.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Hits per query, the depth of recall.")] = 10,
    n_queries: Annotated[int, typer.Option(help="Most queries to measure with.")] = 500,
    dense: Annotated[bool, typer.Option(help="Measure rescoring by the dense vectors too.")] = True,
    residuals: Annotated[bool, typer.Option(help="Store residual bits, or refitted codes.")] = True,
    store: Annotated[
        str | None,
        typer.Option(
            help="Measure in this empty store, which is filled: memory: or one made before. "
            "By default Qdrant's engine, in a temporary folder."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of queries.")] = 0,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Measure what searches with a codec find and cost.

    Writes card.json into the codec's folder, by which a search then chooses its
    setting for a recall or an effort. The codes stay as they are.
    """
    from csrkit.model import load
    from csrkit.tuning import tune as tune_model

    with _opened(store) as index:
        model = tune_model(
            load(codec),
            docs,
            queries or None,
            k_doc=k_doc,
            limit=limit,
            dense=dense,
            residuals=residuals,
            n_queries=n_queries,
            store=index,
            seed=seed,
            progress=bar_wanted(progress),
        )
    model.save(codec)
    assert model.card is not None
    show(_facts(model.card, codec), _lines(model.card, codec), as_json=as_json)


@contextmanager
def _opened(url: str | None) -> Iterator[Store | None]:
    from csrkit.cli.stores import opened

    if url is None:
        yield None
        return
    with opened(url, must_exist=True) as store:  # a mistyped one is not to be made and filled
        yield store


def _facts(card: Card, codec: Path) -> TuneFacts:
    return TuneFacts(
        codec=str(codec),
        fingerprint=card.fingerprint,
        k_doc=card.k_doc,
        residuals=card.residuals,
        refitted=card.refitted,
        n_docs=card.n_docs,
        n_queries=card.n_queries,
        queries=card.queries,
        limit=card.limit,
        store=card.store,
        measured=[_setting(row) for row in card.measured],
        efforts=[
            EffortFacts(effort, rescore, _setting(card.effort(effort, rescore=rescore)))
            for rescore in _rescores(card)
            for effort in EFFORTS
        ],
        calibrations=[_map(one) for one in card.calibrations],
    )


def _setting(row: Measured) -> SettingFacts:
    low, recall, high = row.recall
    return SettingFacts(
        k=row.setting.k,
        candidates=row.setting.candidates,
        rescore=row.setting.rescore,
        recall=recall,
        low=low,
        high=high,
        worst=row.worst,
        posting_cost=row.posting_cost,
        ms=row.ms,
        cost=row.cost,
        short=row.short,
    )


def _map(one: Calibration) -> MapFacts:
    return MapFacts(one.k, one.rescore, one.pairs, one.mean_error, one.p95_error)


def _rescores(card: Card) -> list[Rescore]:
    """List the ways to rescore that were measured, the one of a plain search first."""
    return sorted({row.setting.rescore for row in card.measured if row.setting.rescore})


def _lines(card: Card, codec: Path) -> Iterator[str]:
    yield f"{codec}: {card.summary()}"
    for rescore in _rescores(card):
        yield ""
        yield SEARCHES[rescore]
        yield from table(HEADER, list(_cells(card, rescore)))
    yield ""
    yield "shown: settings that no cheaper one reaches; intervals hold together, with 95%"
    yield f"ms: median of one query alone, BLAS on one thread, in {card.store}"
    sparse = [one for one in card.calibrations if one.rescore is None]
    if sparse:
        errors = ", ".join(f"{one.mean_error:.3f} at k={one.k}" for one in sparse)
        yield f"score_threshold without rescoring: cosines off by {errors} (mean)"


def _cells(card: Card, rescore: Rescore) -> Iterator[list[str]]:
    efforts = {name: card.effort(name, rescore=rescore) for name in EFFORTS}
    for row in card.frontier(rescore=rescore):
        low, recall, high = row.recall
        yield [
            str(row.setting.k),
            str(row.setting.candidates or "-"),
            f"{recall:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{row.worst:.3f}",
            f"{row.ms:.2f}",
            ", ".join(name for name, chosen in efforts.items() if chosen == row),
        ]
