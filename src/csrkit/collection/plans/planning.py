"""`plan`: what compressing a collection would do, measured on a sample; nothing is written.

    print(csrkit.plan("qdrant://localhost:6333/docs", k=(16, 32)))

It reads a uniform sample, fits a model to half of it (or takes one), searches the other
half, and weighs codes in Qdrant's embedded engine in a temporary folder. A key that may
only read is enough.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.collection.home import Home
from csrkit.collection.homes.opening import open_home
from csrkit.collection.plans.facts import (
    Backfill,
    Candidate,
    Collection,
    Expected,
    Fitted,
    Plan,
    Reach,
    Rival,
    Sampled,
)
from csrkit.collection.plans.growth import LIMIT, Found, expected
from csrkit.collection.plans.rivals import copy_bytes, rivals_found
from csrkit.collection.plans.sampling import Drawn, Parts, draw, parted
from csrkit.collection.plans.searching import EFFORTS, searched
from csrkit.collection.plans.target import check_distance, chosen_ks, found_collection
from csrkit.collection.plans.verdict import headroom, judged, options
from csrkit.collection.plans.weighing import Weighed, weigh
from csrkit.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from csrkit.model import CSRModel
    from csrkit.training.config import FitConfig

__all__ = ["plan"]

SAMPLE, QUERIES = 20_000, 200
EPOCHS = 20  # of the short fit, where the steps are not given
LEAST_STEPS = 100


def plan(
    target: Any,
    collection: str | None = None,
    *,
    vector: str = "dense",
    name: str = "csr",
    k: int | Sequence[int] | None = None,
    model: CSRModel | str | PathLike[str] | None = None,
    queries: Any = None,
    sample: int = SAMPLE,
    n_queries: int = QUERIES,
    config: FitConfig | None = None,
    free_disk: int | None = None,
    free_ram: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Plan:
    """Measure on a sample what compressing a collection would give, and write nothing.

    Reads a uniform sample and nothing else. A model is fitted to half of it, briefly, and
    the other half is searched, so that recall is that of rows the model has not seen; if
    the sample is the whole collection, all of it is searched. What is found there is more
    than in the whole collection, so recall is given as a range; see
    `csrkit.collection.plans.growth`.

    Args:
        target: ``qdrant://host:6333/collection`` (``qdrant+https://`` for TLS, the key in
            QDRANT_API_KEY), ``edge://folder`` of a Qdrant Edge shard, or a ``QdrantClient``.
        collection: Name of the collection, with a client.
        vector: Name of the dense vector; "" for an unnamed one.
        name: Name of the sparse vector that would be added.
        k: Latents per code to compare, each from 1 and small enough to save anything; None
            for 16, 32 and 64, as far as they are.
        model: Model or model folder to measure; None fits one.
        queries: Rows (q, dim), real queries, whatever `csrkit.fit` takes. None: documents
            stand in for them, and real queries may find less.
        sample: Most points to read, at least 400. More narrow the range of recall.
        n_queries: Most queries to ask, at least 20.
        config: Settings of the fit; without ``steps`` it makes 20 passes over its rows.
        free_disk: Bytes that are free on the server's disk, if you know.
        free_ram: The same of its memory.
        seed: Of all draws but those of a server.
        progress: Whether to show progress bars on stderr.

    Returns:
        The plan; print it.

    Raises:
        ConfigError: If the collection, the vector, k or the arguments cannot serve.
        FormatError: If the model or the queries cannot be read.
        MissingExtra: If a model is to be fitted and torch is not installed.
        ShapeError: If the queries are not (q, dim) finite, non-zero numbers.
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"expected a seed from 0, got seed={seed!r}")
    given = _loaded(model)
    _require(given)
    home = open_home(target, collection)
    try:
        source = found_collection(home, vector, name)
        _check_model(given, source)
        ks = chosen_ks(k, source, given.n_latents if given else None)
        asked = _queries(queries, source.dim)
        drawn = draw(home, source, sample, seed)
        notes = [*_found_notes(home, source), *filter(None, [check_distance(source, drawn.rows)])]
        free = _free_disk(home) if free_disk is None else free_disk
    finally:
        if home is not target:  # a shard is locked while it is open, so not for longer than this
            home.close()
    parts = parted(drawn, asked, n_queries, fits=given is None, seed=seed)
    model_used, fitted = (given, _given(given)) if given else _fit(parts, ks, config, progress)
    trial = _Trial(source, drawn, parts, model_used, ks)
    reach, candidates, rivals, weighed = _measured(trial, seed, progress)
    listed = options(source, weighed.dense, candidates, rivals)
    need = headroom(source, listed, free, free_ram)
    verdict = judged(listed, need)
    sampled = _sampled(trial, fitted, seed)
    return Plan(
        collection=source,
        sample=sampled,
        model=fitted,
        reach=reach,
        dense=weighed.dense,
        candidates=candidates,
        rivals=rivals,
        options=listed,
        backfill=_backfill(source.points, drawn, weighed),
        headroom=need,
        instead=verdict.instead,
        verdict=verdict.words,
        notes=(*notes, *_notes(trial, sampled, reach, weighed, has_rivals=bool(rivals))),
    )


class _Trial(NamedTuple):
    """What is measured, and on what."""

    source: Collection
    drawn: Drawn
    parts: Parts
    model: CSRModel
    ks: tuple[int, ...]


def _loaded(model: Any) -> CSRModel | None:
    from csrkit.model import CSRModel, load

    return model if model is None or isinstance(model, CSRModel) else load(model)


def _require(model: CSRModel | None) -> None:
    """Find out before anything is read whether a model can be fitted."""
    from importlib.util import find_spec

    if model is None and find_spec("torch") is None:
        raise MissingExtra("torch", "train", "csrkit.plan without model=")


def _check_model(model: CSRModel | None, source: Collection) -> None:
    if model is not None and model.dim != source.dim:
        raise ConfigError(
            f"expected a model of {source.dim} dimensions, as the vector {source.vector!r} has "
            f"them, got one of {model.dim}"
        )


def _queries(queries: Any, dim: int) -> NDArray[np.float32] | None:
    from csrkit.sources import open_source

    if queries is None:
        return None
    rows = open_source(queries, dim=dim)
    return rows.rows(0, rows.n)


def _free_disk(home: Home) -> int | None:
    """Return what is free where a shard lies; a server does not tell."""
    folder = home.url.removeprefix("edge://")
    return shutil.disk_usage(folder).free if folder != home.url else None


# -- the model ------------------------------------------------------------------


def _given(model: CSRModel) -> Fitted:
    steps = model.config.provenance.steps
    return Fitted(model.fingerprint, True, model.n_latents, steps, 0.0)


def _fit(
    parts: Parts, ks: Sequence[int], config: FitConfig | None, progress: bool
) -> tuple[CSRModel, Fitted]:
    """Fit briefly, to serve every k that is compared."""
    from csrkit.fitting import fit
    from csrkit.training.config import FitConfig

    config = config or FitConfig()
    changes: dict[str, Any] = {"ladder": tuple(sorted({*config.ladder, *ks}))}
    if config.steps is None:
        steps = EPOCHS * len(parts.fit) // min(config.batch_size, len(parts.fit))
        changes["steps"] = min(config.max_steps, max(LEAST_STEPS, steps))
    started = time.perf_counter()
    with warnings.catch_warnings():
        # half a fit is no plan, so Ctrl-C means what it says
        warnings.filterwarnings("error", "fit was interrupted")
        try:
            short = FitConfig.model_validate(config.model_dump() | changes)
            model = fit(parts.fit, config=short, progress=progress)
        except UserWarning:
            raise KeyboardInterrupt from None
    seconds = time.perf_counter() - started
    steps = model.config.provenance.steps
    return model, Fitted(model.fingerprint, False, model.n_latents, steps, round(seconds, 1))


# -- measuring --------------------------------------------------------------------


def _measured(
    trial: _Trial, seed: int, progress: bool
) -> tuple[Reach, tuple[Candidate, ...], tuple[Rival, ...], Weighed]:
    from tqdm import tqdm

    parts = trial.parts
    ratio = 1.0
    if not trial.drawn.is_whole:
        ratio = max(1.0, trial.source.points / len(parts.docs))
    cosines = parts.queries @ parts.docs.T
    results: list[Found] = []
    with tqdm(total=len(trial.ks) + 2, desc="plan", unit="step", disable=not progress) as bar:
        for k in trial.ks:
            bar.set_postfix_str(f"codes k={k}")
            results += searched(trial.model, parts, k, cosines, trial.source.points, ratio)
            bar.update()
        bar.set_postfix_str("int8 and binary")
        others = list(rivals_found(parts, cosines, ratio, seed))
        bar.update()
        bar.set_postfix_str("bytes")
        weighed = weigh(trial.model, trial.drawn.rows, trial.ks, trial.source)
        bar.update()
    spans = expected([*results, *(one for _, one in others)], seed)
    each = len(results) // len(trial.ks)
    candidates = tuple(
        _candidate(k, weighed, spans[each * at : each * (at + 1)]) for at, k in enumerate(trial.ks)
    )
    rivals = tuple(
        Rival(rival, copy_bytes(rival, trial.source.dim), one)
        for (rival, _), one in zip(others, spans[len(results) :], strict=True)
    )
    fewest = min(one.sought.setting.candidates or LIMIT for one in results)
    return Reach(round(ratio, 3), ratio <= fewest), candidates, rivals, weighed


def _candidate(k: int, weighed: Weighed, spans: Sequence[Expected]) -> Candidate:
    size, half = weighed.codes[k], len(EFFORTS)
    return Candidate(
        k=k,
        code=size.code,
        postings=size.postings,
        residual=size.residual,
        is_measured=weighed.dense.is_measured,
        alone=tuple(spans[:half]),
        beside=tuple(spans[half:]),
    )


def _backfill(points: int, drawn: Drawn, weighed: Weighed) -> Backfill:
    each = 1 / drawn.read_rate + 1 / weighed.encode_rate + 1 / (weighed.write_rate or np.inf)
    return Backfill(drawn.read_rate, weighed.encode_rate, weighed.write_rate, points * each)


# -- what was done ----------------------------------------------------------------


def _sampled(trial: _Trial, fitted: Fitted, seed: int) -> Sampled:
    drawn, parts = trial.drawn, trial.parts
    return Sampled(
        rows=len(drawn.rows),
        unusable=round(1 - len(drawn.rows) / drawn.wanted, 4),
        fitted_on=0 if fitted.is_given else len(parts.fit),
        docs=len(parts.docs),
        queries=len(parts.queries),
        queries_are=parts.kind,
        is_whole=drawn.is_whole,
        seed=seed,
    )


def _found_notes(home: Home, source: Collection) -> Iterator[str]:
    marker = home.marker(source.name)
    if marker is not None:
        yield (
            f"The collection has codes {source.name!r} already, k={marker.k}, of the job "
            f"{marker.job}: go on with that job, or choose another name for new codes."
        )


def _notes(
    trial: _Trial, sample: Sampled, reach: Reach, weighed: Weighed, *, has_rivals: bool
) -> Iterator[str]:
    if sample.unusable:
        yield (
            f"{sample.unusable:.1%} of the points drawn have no usable vector (missing, zero, or "
            "NaN): they get no code, and no search by codes finds them."
        )
    if sample.queries_are == "documents":
        yield "Documents stood in for queries; real ones may find less: give some with queries=."
    if not sample.is_whole:
        yield (
            f"Recall is a range: the sample searched is {reach.ratio:,.3g} times smaller than "
            "the collection. Its high end is what the sample shows, its low end a search thinned "
            "as much as the sample is; both with their 95% intervals."
        )
    if not reach.is_bounded:
        yield (
            "The sample is too small for that collection: the low ends of searches with few "
            "candidates are too high. Take a larger sample."
        )
    if sample.fitted_on:
        yield "The model of this plan was fitted briefly; the job's own is fitted longer, to more."
    if weighed.dense.is_measured:
        yield (
            "Bytes of codes, vectors and graph were measured in Qdrant's embedded engine on the "
            "sample, with default settings; RAM is what of it the engine keeps in memory, copies "
            "are computed, and payloads are not counted: they stay as they are."
        )
    else:
        yield "Bytes are computed: install csrkit[edge] to have them measured."
    if not has_rivals:
        yield "int8 and binary copies were not measured: install csrkit[report] for that."
