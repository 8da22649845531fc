"""What everything is measured on: documents, queries, and what is known to be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from csrkit.baselines import Subset
from csrkit.errors import ConfigError, ShapeError
from csrkit.metrics import exact_top
from csrkit.model.rows import unit_rows
from csrkit.sources import open_source
from csrkit.tensors import as_array, is_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.baselines import Index

__all__ = ["DEEP", "LIMIT", "Floats", "Judged", "Known", "Trial", "trial"]

Floats: TypeAlias = "NDArray[np.float32]"
RowNumbers: TypeAlias = "NDArray[np.int64]"

LIMIT, DEEP = 10, 100  # depths of recall
TIE = 1e-6  # cosines of float32 that are nearer than this are equal
_BLOCK = 128  # queries whose documents are gathered at a time: 40 MB at 768 dimensions
LEAST_DOCS, LEAST_QUERIES = 20, 20
SHARES = 0.1, 0.01  # of the documents that a filter keeps
BUCKETS = 100  # the documents are dealt into, for the filters


class Known(NamedTuple):
    """What a caller knows about relevance.

    Attributes:
        qrels: One entry per query; see `csrkit.evaluate`. None: nothing.
        labels: One per document, or None.
        query_labels: One per query, or None.
    """

    qrels: Any = None
    labels: Any = None
    query_labels: Any = None


class Judged(NamedTuple):
    """The queries with something relevant.

    Attributes:
        rows: int64, their row numbers among the queries.
        gains: For each, row numbers of documents to gains above 0.
    """

    rows: RowNumbers
    gains: list[Mapping[int, float]]


@dataclass(frozen=True, eq=False)
class Trial:
    """Documents, queries, and what is known to be right.

    Attributes:
        docs: float32 (n, dim), of norm 1.
        queries: float32 (q, dim), of norm 1.
        own: int64 (q,), the document that each query is; None if they were given.
        truth: int64 (q, at most 100), the exact dense ranking.
        judged: Queries with judgements, or None.
        labels: (n,), of the documents, or None.
        query_labels: (q,), or None without labels.
        buckets: int64 (n,), 0 to 99, each with a hundredth of the documents.
        subsets: Documents that filters keep, the larger share first.
    """

    docs: Floats
    queries: Floats
    own: RowNumbers | None
    truth: RowNumbers
    judged: Judged | None
    labels: NDArray[Any] | None
    query_labels: NDArray[Any] | None
    buckets: RowNumbers
    subsets: tuple[Subset, ...]

    @property
    def kind(self) -> Literal["given", "documents"]:
        """Whether queries were given, or documents serve as queries."""
        return "given" if self.own is None else "documents"

    def search(
        self, index: Index, n: int, *, among: Subset | None = None, first: int = 0, last: int = -1
    ) -> RowNumbers:
        """Ask an index some of the queries, each without the document that it is.

        Args:
            index: Over the documents.
            n: Documents per query.
            among: Search only these.
            first: First query.
            last: One past the last query; -1 for all of them.

        Returns:
            int64 (queries asked, n), by falling score; -1 where none is left.
        """
        span = slice(first, last if last >= 0 else None)
        extra = 0 if self.own is None else 1
        found = index.search(self.queries[span], n + extra, among=among)
        return found if self.own is None else _without(found, self.own[span])

    def recalls(
        self, found: RowNumbers, n: int, *, among: Subset | None = None
    ) -> NDArray[np.float64]:
        """Measure recall@n of the first queries against exact dense search.

        A document counts if its cosine reaches that of the n-th of the exact ranking:
        of documents that tie there, such as duplicates, any will do.

        Args:
            found: int64 (q, n or more), rows of documents, each once; -1 for none.
            n: Depth.
            among: What was searched; all documents if None.

        Returns:
            float64 (q,) in [0, 1].
        """
        exact = self.truth[: len(found)] if among is None else self._exact(among, n, len(found))
        depth = min(n, exact.shape[1])
        bars = self._cosines(exact[:, depth - 1 : depth]) - TIE
        reached = (self._cosines(found[:, :n]) >= bars) & (found[:, :n] >= 0)
        return np.asarray(np.minimum(reached.sum(axis=1) / depth, 1.0), dtype=np.float64)

    def _exact(self, subset: Subset, n: int, last: int) -> RowNumbers:
        """Return the exact top n within a subset for the first queries, int64 (last, at most n)."""
        rows = subset.rows
        depth = min(n if self.own is None else n + 1, len(rows))
        found = rows[exact_top(self.queries[:last], self.docs[rows], depth)]
        return found if self.own is None else _without(found, self.own[:last])

    def _cosines(self, rows: RowNumbers) -> Floats:
        """Return the cosines of the first queries with some documents each, as rows is shaped."""
        parts = []
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            asked = self.queries[start : start + len(part)]
            parts.append(np.einsum("qd,qnd->qn", asked, self.docs[part]))
        return np.concatenate(parts)


def _without(found: RowNumbers, own: RowNumbers) -> RowNumbers:
    """Drop each query's own document, or the last one where it was not found."""
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :-1]


def trial(docs: Any, queries: Any, dim: int, known: Known, n_queries: int, seed: int) -> Trial:
    """Read documents and queries, draw those to ask, and search exactly.

    Args:
        docs: Embeddings, as for `csrkit.sources.open_source`.
        queries: The same, or None to draw documents.
        dim: Width of both.
        known: Judgements and labels.
        n_queries: Most queries.
        seed: Of the draws.

    Returns:
        The trial.

    Raises:
        ConfigError: If there are too few documents or queries, or judgements or
            labels cannot be used.
        ShapeError: If anything has the wrong shape or contents.
    """
    stored = _unit(docs, dim)
    given = None if queries is None else _unit(queries, dim)
    pool = stored if given is None else given
    if (
        len(stored) < LEAST_DOCS
        or not is_whole(n_queries)
        or min(n_queries, len(pool)) < LEAST_QUERIES
    ):
        raise ConfigError(
            f"expected at least {LEAST_DOCS} documents and {LEAST_QUERIES} queries, got "
            f"{len(stored)} documents and n_queries={n_queries} out of {len(pool)}"
        )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(pool), min(n_queries, len(pool)), replace=False))
    asked, own = pool[chosen], chosen if given is None else None
    labels, query_labels = _labels(known, len(stored), None if given is None else len(given))
    depth = min(DEEP, len(stored) - 1) + (0 if own is None else 1)
    truth = exact_top(asked, stored, depth)
    buckets = rng.permutation(len(stored)) % BUCKETS
    return Trial(
        docs=stored,
        queries=asked,
        own=own,
        truth=truth if own is None else _without(truth, own),
        judged=_judged(known.qrels, given, chosen, len(stored)),
        labels=labels,
        query_labels=None if query_labels is None else query_labels[chosen],
        buckets=buckets,
        subsets=tuple(_subsets(buckets)),
    )


def _unit(rows: Any, dim: int) -> Floats:
    source = open_source(rows, dim=dim)
    whole = source.rows(0, source.n)
    return unit_rows(whole, out=whole)


def _subsets(buckets: RowNumbers) -> Iterable[Subset]:
    """Yield the subsets that have a top 10 to be found."""
    for share in SHARES:
        subset = Subset(share, buckets < round(share * BUCKETS))
        if subset.mask.sum() > LIMIT:
            yield subset


def _labels(
    known: Known, n_docs: int, n_given: int | None
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Return the labels of documents and of all queries that may be drawn."""
    if known.labels is None:
        if known.query_labels is not None:
            raise ConfigError("expected labels of the documents too, got query_labels alone")
        return None, None
    labels = as_array(known.labels, "labels")
    if labels.shape != (n_docs,):
        raise ShapeError(f"expected one label per document, ({n_docs},), got {labels.shape}")
    if n_given is None:
        if known.query_labels is not None:
            raise ConfigError("expected no query_labels without queries: documents have labels")
        return labels, labels
    if known.query_labels is None:
        raise ConfigError(
            "expected query_labels with labels and queries, got none: pass them, or leave out "
            "labels, or queries so that documents serve as queries"
        )
    own = as_array(known.query_labels, "query_labels")
    if own.shape != (n_given,):
        raise ShapeError(f"expected one label per query, ({n_given},), got {own.shape}")
    if (own.dtype.kind in "US") != (labels.dtype.kind in "US"):
        raise ShapeError(
            f"expected labels and query_labels of one kind, got {labels.dtype} and {own.dtype}"
        )
    return labels, own


def _judged(qrels: Any, given: Floats | None, chosen: RowNumbers, n_docs: int) -> Judged | None:
    """Spell the judgements of the chosen queries alike."""
    if qrels is None:
        return None
    if given is None:
        raise ConfigError("expected queries with qrels: documents as queries have no judgements")
    qrels = _listed(qrels, len(given))
    if len(qrels) != len(given):
        raise ShapeError(
            f"expected one entry of qrels per query, got {len(qrels)} for {len(given)} queries"
        )
    all_gains = [_gains(qrels[row], n_docs, row) for row in chosen.tolist()]
    rows = [row for row, gains in enumerate(all_gains) if gains]
    if not rows:
        raise ConfigError("expected qrels with something relevant to at least one query, got none")
    return Judged(np.array(rows), [all_gains[row] for row in rows])


def _listed(qrels: Any, n: int) -> Any:
    """Return judgements by position; refuse those by other keys, and what is none."""
    if isinstance(qrels, Mapping) and qrels.keys() == set(range(n)):
        return qrels
    if isinstance(qrels, Sequence | np.ndarray) and not isinstance(qrels, str):
        return qrels
    if isinstance(qrels, Iterable) and hasattr(qrels, "__array__"):  # a series or a tensor
        return as_array(qrels, "qrels")
    raise ShapeError(
        "expected qrels as a list with one entry per query, in their order, "
        f"got {type(qrels).__name__}"
    )


def _gains(entry: Any, n_docs: int, query: int) -> Mapping[int, float]:
    """Spell None, a row, rows or a mapping of rows to gains as such a mapping, gains above 0."""
    if entry is None:
        return {}
    if isinstance(entry, Mapping):
        pairs = list(entry.items())
    else:
        several = isinstance(entry, Sequence | np.ndarray | set | frozenset)
        pairs = [(row, 1.0) for row in (entry if several else [entry]) if row != -1]
    bad = [row for row, _ in pairs if not _is_row(row, n_docs)]
    if bad:
        raise ShapeError(
            f"expected qrels of row numbers of docs, from 0 to {n_docs - 1}, "
            f"got {bad[0]!r} for query {query}"
        )
    if not all(isinstance(gain, int | float | np.number) and gain < np.inf for _, gain in pairs):
        raise ShapeError(f"expected finite gains as numbers, got {entry!r} for query {query}")
    return {int(row): float(gain) for row, gain in pairs if gain > 0}


def _is_row(row: Any, n_docs: int) -> bool:
    return (
        isinstance(row, int | np.integer) and not isinstance(row, bool) and 0 <= int(row) < n_docs
    )
