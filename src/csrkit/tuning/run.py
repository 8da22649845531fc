"""`tune`: what each setting of a search gives on your data, measured, and kept on a card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ConfigError, MissingExtra
from csrkit.metrics import Interval
from csrkit.model import CSRModel
from csrkit.model.card import Card, Measured, Setting
from csrkit.stores.base import Store
from csrkit.tensors import is_whole
from csrkit.tuning.grid import fitted_costs, grid
from csrkit.tuning.intervals import simultaneous_intervals
from csrkit.tuning.measure import TIMED, Measurements, measure
from csrkit.tuning.trial import Plan, split, trial

if TYPE_CHECKING:
    from csrkit.model.card import Rescore

__all__ = ["tune"]

DECIMALS = 6


def tune(
    model: CSRModel,
    docs: Any,
    queries: Any = None,
    *,
    k_doc: int | None = None,
    limit: int = 10,
    dense: bool = True,
    residuals: bool = True,
    n_queries: int = 500,
    store: Store | None = None,
    seed: int = 0,
    progress: bool = True,
) -> CSRModel:
    """Measure what a search gives at each setting, and put it on the model's card.

    The documents are encoded at k_doc and indexed, and the queries searched at
    every rung of the ladder, without rescoring and with 2 to 40 times ``limit``
    candidates rescored. Recall is that against exact dense search. Its intervals
    hold for all settings together, so that `Card.cheapest` may choose by them.

    Without queries some documents stand in for them, and are left out of the
    index. Their neighbours are documents, so real queries may find less: the card
    says "documents". A recall is of as many documents as were searched here, and
    falls as a collection grows.

    Args:
        model: The model; one with a card gets a new one.
        docs: Rows (n, dim), the documents that are to be searched: whatever
            `csrkit.fit` takes.
        queries: Rows (q, dim), real queries; best not those that `csrkit.fit` saw.
            If most of them are rows of docs there is a warning: they find themselves.
        k_doc: Latents per stored code; by default the longest rung.
        limit: Hits per query, and the depth of recall.
        dense: Whether to measure rescoring by dense vectors too. They are read
            from docs: from memory, if docs are in memory.
        residuals: Whether residual bits are stored. Without them codes are
            refitted (`CSRModel.refit`), and rescoring by codes finds less.
        n_queries: Most queries to measure with; more narrow the intervals. Of
            documents at most a fifth is taken.
        store: An empty store to measure in, which is filled; by default Qdrant's
            engine in a temporary folder, or a `MemoryStore` without the extra
            "edge". Times are of this store on this machine.
        seed: Of the choice of queries and of the resampling.
        progress: Whether to show a progress bar.

    Returns:
        The model with its card; save it to keep the card.

    Raises:
        ConfigError: If there are fewer than 20 queries or than ``limit``
            documents, the store is not empty, k_doc is out of range, or the model is no
            CSRModel.
        ShapeError: If docs or queries are not (n, dim) finite, non-zero numbers.
        MissingExtra: If scikit-learn is not installed.
        StoreError: If the store fails.

    Examples:
        >>> import csrkit, numpy
        >>> docs = numpy.random.default_rng(0).normal(size=(400, 8))
        >>> config = csrkit.FitConfig(n_latents=32, ladder=(2, 4), steps=5)
        >>> model = csrkit.fit(docs, config=config, progress=False)
        >>> card = tune(model, docs, progress=False).card
        >>> card.summary()
        '22 measured with 80 documents as queries over 320 documents at k=4: recall@10 ...'
    """  # noqa: DOC502  # raised by helpers
    if not isinstance(model, CSRModel):
        raise ConfigError(
            f"expected a CSRModel, got a {type(model).__name__}, whose codes decode to nothing: "
            "csrkit.evaluate measures it"
        )
    _require_sklearn()
    if not is_whole(limit) or limit < 1 or not is_whole(seed) or seed < 0:
        raise ConfigError(f"expected limit from 1 and seed from 0, got {limit=}, {seed=}")
    if store is not None and (isinstance(store, type) or not isinstance(store, Store)):
        raise ConfigError(f"expected an empty store, got {store!r}: open one with open_store(url)")
    limit, seed = int(limit), int(seed)
    plan = Plan(model.ladder[-1] if k_doc is None else k_doc, limit, dense, residuals)
    parts = split(docs, queries, model.dim, n_queries, seed)
    rescores: tuple[Rescore, ...] = ("codes", "dense") if dense else ("codes",)
    settings = grid(model.ladder, limit, len(parts.kept), rescores)
    with _scratch(store) as index, _bar(settings, progress) as bar:
        built = trial(model, parts, plan, index)
        measured = measure(model, built, settings, limit, bar)
    return model.with_card(
        Card(
            csrkit=_version(),
            fingerprint=model.fingerprint,
            k_doc=plan.k_doc,
            residuals=built.residuals,
            refitted=built.refitted,
            n_docs=len(parts.kept),
            n_queries=len(parts.queries),
            queries=parts.kind,
            limit=limit,
            store=type(index).__name__,
            seed=seed,
            measured=_rows(settings, measured, len(parts.kept), seed),
            calibrations=measured.calibrations,
        )
    )


def _require_sklearn() -> None:
    """Find out before the work whether the end of it can be done."""
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise MissingExtra("scikit-learn", "train", "csrkit.tune")


def _version() -> str:
    from csrkit import __version__

    return __version__


@contextmanager
def _scratch(store: Store | None) -> Iterator[Store]:
    """Yield the store, or a new one that goes when it was measured in."""
    from importlib.util import find_spec
    from tempfile import TemporaryDirectory

    from csrkit.stores import EdgeStore, MemoryStore

    if store is not None:
        yield store
    elif find_spec("qdrant_edge") is None:
        yield MemoryStore()
    else:
        with TemporaryDirectory() as folder, EdgeStore(folder) as edge:
            yield edge


def _bar(settings: Sequence[Setting], progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=len({one.k for one in settings}) + TIMED,
        desc="tune",
        unit="step",
        disable=not progress,
    )


def _rows(
    settings: Sequence[Setting], measured: Measurements, n_docs: int, seed: int
) -> tuple[Measured, ...]:
    intervals = simultaneous_intervals(measured.recalls, seed=seed)
    quiet = np.quantile(measured.ms, 0.25, axis=0)  # what else a machine does adds, and jumps
    costs = fitted_costs(settings, measured.posting_cost * n_docs, quiet)
    median = np.median(measured.ms, axis=0)
    worst = max(1, round(measured.recalls.shape[1] / 20))
    lowest = np.sort(measured.recalls, axis=1)[:, :worst].mean(axis=1)
    return tuple(
        Measured(
            setting=setting,
            recall=Interval(*(round(end, DECIMALS) for end in intervals[row])),
            worst=round(float(lowest[row]), DECIMALS),
            posting_cost=round(float(measured.posting_cost[row]), DECIMALS),
            ms=round(float(median[row]), DECIMALS),
            cost=round(float(costs[row]), DECIMALS),
            short=round(float(measured.short[row]), DECIMALS),
        )
        for row, setting in enumerate(settings)
    )
