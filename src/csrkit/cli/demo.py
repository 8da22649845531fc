"""``csrkit demo``: the whole job on real embeddings and real text, in two minutes.

Fit a codec, store the codes in Qdrant's engine with their texts, ask three
questions at several k, and measure what each k gives and costs, without and with
rescoring of candidates by their codes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from csrkit.cli.exits import watched_interrupts
from csrkit.cli.options import Json, Progress, whole_numbers
from csrkit.cli.output import bar_wanted, one_line, show, table, width
from csrkit.cli.search import HitFacts, hit_facts
from csrkit.cli.stores import opened

if TYPE_CHECKING:
    from csrkit.cli.demodata import DemoData
    from csrkit.cli.measure import Row
    from csrkit.model import CSRModel
    from csrkit.search import Searcher
    from csrkit.stores import Store
    from csrkit.training.config import FitConfig
    from csrkit.vectors import SparseVectors

__all__ = ["Answer", "DemoFacts", "demo"]

SHOWN = 2  # hits per question and setting
STEPS = 500  # about a minute on two cores; recall still rises slowly after it


@dataclass(frozen=True)
class Answer:
    """The best hits of one question at one k; candidates is None without rescoring."""

    question: str
    k: int
    candidates: int | None
    hits: list[HitFacts]


@dataclass(frozen=True)
class DemoFacts:
    """What `csrkit demo` reports.

    Attributes:
        documents: Number of documents.
        queries: Number of judged queries.
        dim: Width of the embeddings.
        n_latents: Width of the codes.
        k_stored: Latents per stored code.
        steps: Training steps.
        fit_s: Time of the fit, in seconds.
        encode_s: Time of encoding all documents, residual bits included.
        store_s: Time of storing them with their texts.
        disk_bytes: Bytes per document of the store's folder, all in; None if it is not here.
        answers: Best hits of the questions, by question: each k, then the smallest rescored.
        rows: Exact dense search (k is None), then each k, then each k with rescoring.
    """

    documents: int
    queries: int
    dim: int
    n_latents: int
    k_stored: int
    steps: int
    fit_s: float
    encode_s: float
    store_s: float
    disk_bytes: float | None
    answers: list[Answer]
    rows: list[Row]


class _Filled(NamedTuple):
    """A store, what it holds, and what it took."""

    codes: SparseVectors
    encode_s: float
    store_s: float
    disk_bytes: float | None


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder of demo data; by default the one shipped.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps; more is better, slower.")] = STEPS,
    k: Annotated[str, typer.Option(help="The k to ask and to measure at.")] = "4,16,64",
    store: Annotated[
        str | None,
        typer.Option(help="Keep the codes in this store; by default a temporary edge://."),
    ] = None,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Run the whole job on shipped data: two minutes."""
    from csrkit.cli.demodata import default_folder, load_data
    from csrkit.cli.fit import settings
    from csrkit.cli.measure import measured
    from csrkit.search import Searcher

    ladder = whole_numbers(k, "--k")
    config = settings(None, {"steps": steps})
    say = partial(typer.echo, err=as_json)  # stdout belongs to the JSON object
    loaded = load_data(data or default_folder())
    n, dim = loaded.docs.shape
    with _store(store) as (index, folder):  # first: what is missing shows before the long fit
        say(f"{n} texts, embeddings of {dim} dimensions; {len(loaded.queries)} judged queries\n")
        model, fit_s = _fitted(loaded, config, bar_wanted(progress), say)
        model.encode(loaded.asked[:0], k=max(ladder))  # refuses a k out of range
        filled = _fill(loaded, model, index, folder, say)
        searcher = Searcher(model, index)
        answers = _answers(loaded, searcher, ladder)
        _say_answers(answers, say)
        say(f"measuring with {len(loaded.queries)} queries ...\n")
        rows = measured(loaded, searcher, filled.codes, ladder)
    facts = DemoFacts(
        documents=n,
        queries=len(loaded.queries),
        dim=dim,
        n_latents=model.n_latents,
        k_stored=model.ladder[-1],
        steps=model.config.provenance.steps,
        fit_s=round(fit_s, 3),
        encode_s=round(filled.encode_s, 3),
        store_s=round(filled.store_s, 3),
        disk_bytes=filled.disk_bytes,
        answers=answers,
        rows=rows,
    )
    show(facts, _lines(facts), as_json=as_json)


def _fitted(
    data: DemoData, config: FitConfig, progress: bool, say: Callable[[str], None]
) -> tuple[CSRModel, float]:
    from csrkit.fitting import fit

    say(f"fit     {config.steps} steps ...")
    started = time.perf_counter()
    with watched_interrupts() as interrupts:
        model = fit(data.docs, config=config, progress=progress)
    if interrupts:
        raise KeyboardInterrupt  # fit would go on with the weights so far, a demo ends
    seconds = time.perf_counter() - started
    rungs = ", ".join(map(str, model.ladder))
    say(f"        {model.n_latents} latents, one codec for k = {rungs}: {seconds:.1f} s")
    return model, seconds


@contextmanager
def _store(url: str | None) -> Iterator[tuple[Store, Path | None]]:
    """Open the store asked for, or an embedded one in a folder that goes away."""
    if url is not None:
        with opened(url) as store:
            yield store, None
        return
    with tempfile.TemporaryDirectory(prefix="csrkit-demo-") as folder:
        index = Path(folder) / "index"
        with opened(f"edge://{index}") as store:
            yield store, index


def _fill(
    data: DemoData,
    model: CSRModel,
    store: Store,
    folder: Path | None,
    say: Callable[[str], None],
) -> _Filled:
    from csrkit.stores.base import ResidualStore

    started = time.perf_counter()
    codes = model.encode(data.docs)
    residuals = model.encode_residuals(data.docs, codes)
    encode_s = time.perf_counter() - started
    say(
        f"encode  {len(codes)} codes of up to {model.ladder[-1]} latents, {model.residual_bytes} "
        f"bytes of residual bits: {encode_s:.1f} s"
    )
    started = time.perf_counter()
    if isinstance(store, ResidualStore):
        store.upsert(range(len(codes)), codes, data.payloads, residuals=residuals)
    else:
        store.upsert(range(len(codes)), codes, data.payloads)
    store_s = time.perf_counter() - started
    say(
        f"store   {store.count()} codes with their texts in {type(store).__name__}: {store_s:.1f} s"
    )
    disk = None if folder is None else round(_disk_bytes(folder) / len(codes), 1)
    return _Filled(codes, encode_s, store_s, disk)


def _disk_bytes(folder: Path) -> int:
    """Count the bytes that the disk gave: the engine's files are larger than their contents."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def _answers(data: DemoData, searcher: Searcher, ladder: tuple[int, ...]) -> list[Answer]:
    from csrkit.model.card import Setting
    from csrkit.search.dial import CANDIDATES

    settings = [*map(Setting, ladder), Setting(min(ladder), CANDIDATES, "codes")]
    found = [searcher.run(data.asked, setting, limit=SHOWN) for setting in settings]
    return [
        Answer(text, setting.k, setting.candidates, list(map(hit_facts, hits[row])))
        for row, text in enumerate(data.questions)
        for setting, hits in zip(settings, found, strict=True)
    ]


def _say_answers(answers: list[Answer], say: Callable[[str], None]) -> None:
    previous = None
    for answer in answers:
        if answer.question != previous:
            say("\n" + typer.style(one_line(answer.question, width()), bold=True))
        previous = answer.question
        label = f"k = {answer.k}" + ("" if answer.candidates is None else " *")
        texts = list(map(_hit_text, answer.hits)) or ["no document shares a latent with it"]
        for text in texts:
            say(f"  {label:8} {text}")
            label = ""
    rescored = [answer for answer in answers if answer.candidates is not None]
    for answer in rescored[:1]:
        say(f"\n* {answer.candidates} candidates of k = {answer.k}, rescored by their codes")
    say("")


def _hit_text(hit: HitFacts) -> str:
    text: Any = (hit.payload or {}).get("text", hit.id)
    return f"{hit.score:.2f}  {one_line(text, width() - 17)}"


def _lines(facts: DemoFacts) -> Iterator[str]:
    header = ["k", "rescored", "recall@10", "nDCG@10", "posting cost", "bytes/vector", "ms/query"]
    yield from table(header, [_cells(row) for row in facts.rows])
    yield ""
    yield "rescored      candidates ranked again by their codes and residual bits, without any"
    yield "              dense vector"
    yield "recall@10     overlap with the ten nearest by exact dense search"
    yield "nDCG@10       against the one text judged relevant to each query"
    yield "posting cost  postings that a query visits, per document of the index"
    yield f"bytes/vector  the vector alone: 4 per dimension, or 8 per latent; k = {facts.k_stored}"
    yield "              is stored once, and each query chooses its own k"
    if facts.disk_bytes is not None:
        yield (
            f"              (all of the store's folder: {facts.disk_bytes:.0f} bytes per document, "
            "with text, postings and log)"
        )
    yield "ms/query      median of one query at a time, encoded and searched; dense is exact,"
    yield "              in numpy"


def _cells(row: Row) -> list[str]:
    return [
        "dense" if row.k is None else str(row.k),
        "-" if row.candidates is None else str(row.candidates),
        f"{row.recall:.3f}",
        f"{row.ndcg:.3f}",
        "-" if row.posting_cost is None else f"{row.posting_cost:.3f}",
        f"{row.vector_bytes:.0f}",
        f"{row.ms:.2f}",
    ]
