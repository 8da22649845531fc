"""What settings are measured on: an index of the documents, queries, and the exact answers.

Documents that stand in for queries are taken out of the index first, so that none
finds itself. Documents are read once, in blocks: encoded, indexed and compared
with every query.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from csrkit.errors import ConfigError
from csrkit.metrics import exact_top
from csrkit.model.rows import unit_rows
from csrkit.search import Searcher
from csrkit.sources import open_source
from csrkit.stores.base import ResidualStore
from csrkit.tensors import is_whole
from csrkit.tuning.calibration import Pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.model import CSRModel
    from csrkit.model.card import Rescore, Setting
    from csrkit.sources import Source
    from csrkit.stores.base import Hit, Store

    Floats = NDArray[np.float32]

__all__ = ["LEAST_QUERIES", "Plan", "Split", "Trial", "split", "trial"]

LEAST_QUERIES = 20  # an interval of fewer is too wide to choose by
BLOCK_ROWS = 4096
TIE = 1e-6  # cosines of float32 that are nearer than this are equal
SAME = 1 - 1e-5  # cosine of a row with itself, in float32 with room for another encoding of it


@dataclass(frozen=True)
class Plan:
    """How to measure; see `csrkit.tune`."""

    k_doc: int
    limit: int
    dense: bool
    residuals: bool


class Split(NamedTuple):
    """Queries, and the documents they search.

    Attributes:
        docs: All documents.
        kept: int64, rows of docs that are searched, rising; they are the ids.
        queries: float32 (q, dim) of norm 1.
        kind: Whether the queries were given or are the documents left out.
    """

    docs: Source
    kept: NDArray[np.int64]
    queries: Floats
    kind: Literal["given", "documents"]


def split(docs: Any, queries: Any, dim: int, n_queries: int, seed: int) -> Split:
    """Draw the queries.

    Args:
        docs: Embeddings, as for `csrkit.sources.open_source`.
        queries: The same, or None to take documents out.
        dim: Width of both.
        n_queries: Most queries; of documents at most a fifth.
        seed: Of the draw.

    Returns:
        Queries and documents, apart.

    Raises:
        ConfigError: If there are fewer than 20 queries.
        ShapeError: If either is not (n, dim) finite, non-zero numbers.
    """
    source, rng = open_source(docs, dim=dim), np.random.default_rng(seed)
    asked = source if queries is None else open_source(queries, dim=dim)
    most = asked.n // 5 if queries is None else asked.n
    if not is_whole(n_queries) or min(n_queries, most) < LEAST_QUERIES:
        where = f"{asked.n} given" if queries is not None else f"a fifth of {asked.n} documents"
        raise ConfigError(
            f"expected at least {LEAST_QUERIES} queries, got n_queries={n_queries} out of {where}"
        )
    rows = np.sort(rng.choice(asked.n, min(n_queries, most), replace=False))
    return Split(
        docs=source,
        kept=np.delete(np.arange(source.n), rows if queries is None else rows[:0]),
        queries=unit_rows(asked.take(rows)),
        kind="documents" if queries is None else "given",
    )


@dataclass(frozen=True)
class Trial:
    """An index with queries whose exact answers are known.

    Attributes:
        split: Queries and documents.
        truth: int64 (q, limit), the exact top of each query, as rows of docs.
        searchers: Over one store; by the way they rescore.
        residuals: Whether the store keeps residual bits.
        refitted: Whether its codes are refitted.
    """

    split: Split
    truth: NDArray[np.int64]
    searchers: dict[Rescore | None, Searcher]
    residuals: bool
    refitted: bool

    def run(self, queries: Floats, setting: Setting, limit: int) -> list[list[Hit]]:
        """Search as a user's `Searcher` would, at one setting."""
        return self.searchers[setting.rescore].run(queries, setting, limit=limit)

    def pairs(self, ids: NDArray[np.int64], scores: NDArray[np.float64]) -> Pairs:
        """Compute the dense cosine of every query with its hits.

        Args:
            ids: int64 (q, hits), rows of docs; -1 for none.
            scores: float64 (q, hits).

        Returns:
            The hits, one after the other.
        """
        query, place = np.nonzero(ids >= 0)
        return Pairs(query, scores[query, place], self._cosines(query, ids[query, place]))

    def recalls(self, found: NDArray[np.int64]) -> NDArray[np.float64]:
        """Measure recall against exact dense search, of several searches at once.

        A document counts if its cosine reaches that of the last one of the exact ranking:
        of documents that tie there, such as duplicates, any will do.

        Args:
            found: int64 (searches, q, limit), rows of docs, each once; -1 for none.

        Returns:
            float64 (searches, q) in [0, 1].
        """
        counts = np.zeros(found.shape[:2])
        missed = np.zeros_like(found, dtype=bool)
        for one, rows in enumerate(found):
            exact = (rows[:, :, None] == self.truth[:, None, :]).any(axis=2)
            counts[one], missed[one] = exact.sum(axis=1), ~exact & (rows >= 0)
        search, query, place = np.nonzero(missed)
        keys = query * self.split.docs.n + found[search, query, place]
        unique, back = np.unique(keys, return_inverse=True)  # most are missed by many searches
        asked, rows = np.divmod(unique, self.split.docs.n)
        every = np.arange(len(self.truth))
        bars = self._cosines(every, self.truth[:, -1]) - TIE
        ties = (self._cosines(asked, rows) >= bars[asked])[back]
        np.add.at(counts, (search[ties], query[ties]), 1)
        return np.asarray(np.minimum(counts / self.truth.shape[1], 1.0))

    def _cosines(self, query: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the cosine of each query with one row of docs; all three are (pairs,)."""
        cosines = np.empty(len(query))
        for start in range(0, len(rows), BLOCK_ROWS):
            span = slice(start, start + BLOCK_ROWS)
            vectors = unit_rows(self.split.docs.take(rows[span]))
            cosines[span] = np.einsum("ij,ij->i", vectors, self.split.queries[query[span]])
        return cosines


def trial(model: CSRModel, parts: Split, plan: Plan, store: Store) -> Trial:
    """Index the documents and find the exact answers.

    Args:
        model: Encodes.
        parts: Queries and documents.
        plan: How.
        store: An empty store.

    Returns:
        What `measure` needs.

    Raises:
        ConfigError: If the store is not empty, or there are fewer documents than
            limit.
    """
    if store.count():
        raise ConfigError(
            f"expected an empty store to measure in, got one of {store.count()} documents: "
            "a benchmark does not belong into a collection in use"
        )
    if len(parts.kept) < plan.limit:
        raise ConfigError(
            f"expected at least limit={plan.limit} documents, got {len(parts.kept)} "
            f"besides {len(parts.queries)} queries"
        )
    bits = plan.residuals and isinstance(store, ResidualStore)
    codes = Searcher(model, store, k_doc=plan.k_doc, residuals=bits)
    best = _Best(parts.queries, plan.limit)
    for rows, vectors in _blocks(parts):
        codes.upsert(rows, vectors)
        best.add_(rows, vectors)
    _warn_of_documents(best.nearest(), parts.kind)
    sparse = Searcher(model, store, k_doc=plan.k_doc, rescore=None)
    searchers: dict[Rescore | None, Searcher] = {None: sparse, "codes": codes}
    if plan.dense:
        searchers["dense"] = Searcher(
            model, store, k_doc=plan.k_doc, rescore="dense", dense=_dense_of(parts.docs)
        )
    _, residuals, refitted = codes.holds  # an emptied store has its widths fixed
    return Trial(parts, best.rows, searchers, residuals, refitted)


def _warn_of_documents(nearest: Floats, kind: str) -> None:
    """Say so where given queries are documents: each finds itself first, at no effort."""
    same = int((nearest > SAME).sum())
    if kind == "given" and same > len(nearest) // 2:
        warnings.warn(
            f"{same} of {len(nearest)} queries are documents, which find themselves: recall is "
            "higher than real queries have; leave queries=None to take documents out first",
            stacklevel=4,
        )


def _blocks(parts: Split) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Yield the numbers of the kept rows and the rows, scaled to norm 1."""
    for start in range(0, parts.docs.n, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, parts.docs.n)
        rows = parts.kept[slice(*np.searchsorted(parts.kept, [start, stop]))]
        if len(rows):
            yield rows, unit_rows(parts.docs.rows(start, stop)[rows - start])


def _dense_of(docs: Source) -> Callable[[Sequence[int | str]], Floats]:
    def dense_of(ids: Sequence[int | str]) -> Floats:
        return docs.take(np.array(ids, dtype=np.int64))

    return dense_of


class _Best:
    """The exact top of each query among the documents seen so far."""

    def __init__(self, queries: Floats, limit: int) -> None:
        self._queries = queries
        self._limit = limit
        self._scores = np.empty((len(queries), 0), dtype=np.float32)
        self.rows = np.empty((len(queries), 0), dtype=np.int64)

    def nearest(self) -> Floats:
        """Return the cosine of each query with its nearest document, float32 (q,)."""
        return self._scores[:, 0]

    def add_(self, rows: NDArray[np.int64], vectors: Floats) -> None:
        """See more documents: their numbers int64 (m,) and unit vectors float32 (m, dim)."""
        top = exact_top(self._queries, vectors, min(self._limit, len(vectors)))
        scores = np.einsum("qd,qnd->qn", self._queries, vectors[top], optimize=True)
        scores = np.concatenate([self._scores, scores], axis=1)
        seen = np.concatenate([self.rows, rows[top]], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._limit]  # ties: lower row
        self._scores = np.take_along_axis(scores, order, axis=1)
        self.rows = np.take_along_axis(seen, order, axis=1)
