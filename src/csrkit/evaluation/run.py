"""`evaluate`: every way to search, one after the other, on the same data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from csrkit.baselines import DEFAULT, least_docs, methods
from csrkit.baselines.base import engine
from csrkit.errors import ConfigError
from csrkit.evaluation.built import Built
from csrkit.evaluation.csr import coded, lexical, refitted
from csrkit.evaluation.machine import machine
from csrkit.evaluation.measure import TIMED, measured
from csrkit.evaluation.published import NAME, library, published
from csrkit.evaluation.stored import TELLS_BLOCKS, embedded
from csrkit.evaluation.trial import Known, Trial, trial
from csrkit.model import CSRModel
from csrkit.model.encoder import check_encoder
from csrkit.report import Report, Row
from csrkit.tensors import is_whole

if TYPE_CHECKING:
    from csrkit.baselines import Method
    from csrkit.search import HeadEncoder, SearchEncoder

__all__ = ["evaluate"]


def evaluate(
    model: CSRModel | HeadEncoder,
    docs: Any,
    queries: Any = None,
    *,
    qrels: Any = None,
    labels: Any = None,
    query_labels: Any = None,
    baselines: Sequence[str] = DEFAULT,
    k_doc: int | None = None,
    n_queries: int = 1000,
    title: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Measure a model beside other ways to compress the same embeddings.

    Documents are held in memory as float32, and one index beside them at a time. Indexes are
    built on all cores; latencies are of one query at a time on one thread, from the dense
    query to the row numbers: encoding and rescoring are in them. No card is written: what
    ``recall=`` of a search reads is measured by `csrkit.tune`.

    Args:
        model: The model. Best not fitted on the queries. Or a `csrkit.search.HeadEncoder` of
            ``docs``, such as a `csrkit.joint.Side`, whose codes do not decode.
        docs: Rows (n, dim): whatever `csrkit.fit` takes. Lengths do not matter, similarity is
            the cosine.
        queries: Rows (q, dim), likewise. None: documents serve as queries, each left out of
            its own results, and the report says so; real queries may be harder.
        qrels: What is relevant to each of ``queries``, by row number of ``docs``: one row,
            several rows, or a mapping of rows to gains; None or nothing where it is unknown.
            Adds nDCG@10 and MRR@10 over the queries that have judgements.
        labels: One class per document. Adds 1-NN accuracy.
        query_labels: One class per query; with labels and queries only.
        baselines: Names out of `csrkit.baselines.DEFAULT`, in the order to be measured;
            () measures the codes alone. "sentence-transformers" is one more, not in the
            default: it trains that library's CSR, once per k (extras ``bench`` and ``train``).
        k_doc: Latents per stored code, for queries at each rung up to it. None: documents
            and queries both at each rung, one after the other. Each has two stores: of codes
            with residual bits, and of refitted codes, which are rescored alone.
        n_queries: Most queries to ask, drawn at random. More narrow the intervals.
        title: Of the report.
        seed: Of all draws.
        progress: Show a progress bar on stderr.

    Returns:
        The report: baselines first, then the codes of each rung.

    Raises:
        ConfigError: If a setting is out of range, there are too few documents or queries, or
            judgements or labels cannot be used.
        ShapeError: If an array has the wrong shape or contents.
        MissingExtra: If the extra ``report`` is not installed.

    Examples:
        >>> import csrkit, numpy
        >>> rows = numpy.random.default_rng(0).normal(size=(300, 8))
        >>> config = csrkit.FitConfig(n_latents=32, ladder=(2, 4), steps=5)
        >>> model = csrkit.fit(rows, config=config, progress=False)
        >>> report = evaluate(model, rows, baselines=["int8"], n_queries=50, progress=False)
        >>> [f"{row.name} {row.setting}" for row in report.rows][:3]
        ['int8 exact scan, range per dimension', 'csr k=2', 'csr + bits k=2, 100 candidates']
    """
    if hasattr(model, "evaluable"):
        raise ConfigError(
            f"expected a model of embeddings, got {type(model).__name__}, which takes texts: call "
            "csrkit.evaluate(*retriever.evaluable(docs, queries))"
        )
    check_encoder(model)
    if not is_whole(seed) or seed < 0:
        raise ConfigError(f"expected a seed of at least 0, got {seed=}")
    rungs = _rungs(model, k_doc)
    known = Known(qrels, labels, query_labels)
    plan = _plan(baselines, model.dim)
    data = trial(docs, queries, model.dim, known, n_queries, seed)
    _refuse_few(baselines, len(data.docs))
    builds = [
        _Build(name, _built(method, data, seed)) for name, group in plan.items() for method in group
    ]
    if NAME in baselines:
        builds += [_Build(NAME, published(model, data, k, seed=seed)) for k, _ in rungs]
    for k, ks in rungs:
        if not isinstance(model, CSRModel):
            builds.append(_Build(f"lexical k={k}", lexical(model, data, k, ks)))
            continue
        builds.append(_Build(f"csr k={k}", coded(model, data, k, ks)))
        builds.append(_Build(f"csr + codes k={k}", refitted(model, data, k, ks)))
    return Report(
        title=f"{len(data.docs)} embeddings of {model.dim} dimensions" if title is None else title,
        n_docs=len(data.docs),
        n_queries=len(data.queries),
        dim=model.dim,
        queries=data.kind,
        seed=seed,
        machine=machine(),
        rows=tuple(_rows(builds, data, seed, progress)),
        notes=tuple(_notes(data, decodes=isinstance(model, CSRModel))),
    )


class _Build(NamedTuple):
    """Something to build and then to ask.

    Attributes:
        label: Its name, for the progress bar.
        context: Builds when entered, and lets go of it all when left.
    """

    label: str
    context: AbstractContextManager[Built]


def _rungs(model: SearchEncoder, k_doc: int | None) -> list[tuple[int, list[int]]]:
    """Pair each k of documents with the k of the queries that search them."""
    if k_doc is None:
        return [(k, [k]) for k in model.ladder]
    if not is_whole(k_doc) or not 1 <= k_doc <= model.n_latents:
        raise ConfigError(
            f"expected k_doc from 1 to n_latents={model.n_latents}, got k_doc={k_doc!r}"
        )
    return [(k_doc, [k for k in model.ladder if k <= k_doc] or [k_doc])]


def _plan(baselines: Sequence[str], dim: int) -> dict[str, Sequence[Method]]:
    """Look all names up before the work, and import what it needs: no part of a build."""
    if isinstance(baselines, str) or not isinstance(baselines, Iterable):
        raise ConfigError(f"expected a list of baselines, got {baselines!r}: [{baselines!r}]?")
    if NAME in baselines:
        library()
    plan = {name: methods(name, dim) for name in baselines if name != NAME}
    if plan:
        engine()
    return plan


def _refuse_few(baselines: Sequence[str], n_docs: int) -> None:
    """Find out before the work whether the end of it can be done."""
    for name in baselines:
        if n_docs < least_docs(name):
            raise ConfigError(
                f"expected at least {least_docs(name)} documents for the baseline {name!r}, "
                f"got {n_docs}: leave it out"
            )


@contextmanager
def _built(method: Method, data: Trial, seed: int) -> Iterator[Built]:
    started = time.perf_counter()
    ways = method.build(data.docs, seed=seed)
    seconds = time.perf_counter() - started
    # faiss keeps all of it in memory
    yield Built(seconds, [replace(way, resident=way.index.footprint.per_vector) for way in ways])


def _rows(builds: Sequence[_Build], data: Trial, seed: int, progress: bool) -> Iterator[Row]:
    from tqdm import tqdm

    with tqdm(builds, desc="evaluate", unit="build", disable=not progress) as bar:
        for build in bar:
            bar.set_postfix_str(build.label)
            with build.context as built:
                for way in built.ways:
                    yield measured(way, data, build_seconds=built.seconds, seed=seed)


def _notes(data: Trial, *, decodes: bool) -> Iterator[str]:
    """Yield what a reader must know, one sentence each."""
    if data.own is not None:
        yield (
            "Documents served as queries, each left out of its own results; "
            "real queries may be harder."
        )
    yield (
        f"Times are of one query at a time on one thread, from the dense query to row numbers, "
        f"over {min(TIMED, len(data.queries))} queries; indexes were built on all cores."
    )
    yield (
        "Bytes per vector count the code, an id of 8 bytes, postings, graphs and retained "
        "originals; what is kept once, such as codebooks and the CSR model, is stated apart."
    )
    if not decodes:
        yield (
            "The codes are those of a lexical head, stored at each k and asked at the same: "
            "they decode to nothing, and are rescored by float32 vectors or not at all."
        )
    else:
        yield (
            '"csr + codes" is a store of its own: of refitted codes (CSRModel.refit) without '
            "residual bits; the other rows share one of codes with bits."
        )
    yield from _engine_notes()
    if data.subsets:
        yield (
            "Filters keep a random share of the documents; faiss applies them while it walks a "
            "graph, and engines that scan under strict filters find more there."
        )


def _engine_notes() -> Iterator[str]:
    if not embedded():
        yield (
            "CSR codes were searched in MemoryStore, the reference in Python, because "
            "qdrant-edge-py is not installed: its times and bytes are not those of an engine."
        )
        return
    yield (
        "CSR codes were searched in Qdrant's embedded engine, and their bytes are what it "
        "takes on disk for vectors and ids, plus 12 bytes per posting where it keeps these in "
        "memory; payloads and log are not counted. Baselines are bare arrays of faiss, to "
        "which an engine would add."
    )
    if not TELLS_BLOCKS:
        yield (
            "This system does not tell what a file takes on disk, so bytes of CSR codes are the "
            "lengths of the engine's files, which it makes longer than what is in them."
        )
