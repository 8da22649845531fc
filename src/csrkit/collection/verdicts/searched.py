"""Recall@10 of searches by the code, against the engine's own exact search.

The search is that of `csrkit.Searcher`: the same dial, the same rescoring, the candidates
out of the collection's own inverted index. A hit counts if it is among the exact top ten, or
as near as the tenth of them: among equals an engine may take either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.collection.home import Busy
from csrkit.collection.verdicts.verdict import Searched
from csrkit.metrics import bootstrap_interval, mrr_at, ndcg_at
from csrkit.search.dial import Dial, Holds, Wish, misfit
from csrkit.search.queries import unit_rows
from csrkit.search.rescoring import rescored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.home import CodeVector, Home, PointId
    from csrkit.collection.verdicts.verdict import Qrels, VerifyConfig
    from csrkit.metrics import Interval
    from csrkit.model import CSRModel
    from csrkit.model.card import Rescore, Setting
    from csrkit.stores.base import Hit

    Floats = NDArray[np.float32]

__all__ = ["Asked", "Finder", "finder", "judge"]

LIMIT = 10
_TIES = 90  # hits behind the tenth that are looked at for the same score: copies of a document
_TIE = 1e-6  # relative; float32 sums differ by less
_EXACT_QUERIES = 16  # per call: an exact search reads every vector, and a call has a time limit
_SPARSE_QUERIES = 64
_READ_POINTS = 1000


class Asked(NamedTuple):
    """Queries, and what is known of them.

    Attributes:
        rows: float32 (q, dim).
        own: The id of each if it is a document, to be left out of its results; else None.
        qrels: What is relevant to each; None if not known.
    """

    rows: Floats
    own: Sequence[PointId] | None = None
    qrels: Qrels | None = None


class _Stored:
    """Cosines from what a collection keeps; see `csrkit.search.rescoring.Cosines`.

    Args:
        home: The collection.
        model: The model of the codes.
        vector: Dense vector to take them from; None takes codes and residuals.
        codes: The codes.
    """

    def __init__(self, home: Home, model: CSRModel, vector: str | None, codes: CodeVector) -> None:
        self._home, self._model, self._vector, self._codes = home, model, vector, codes

    def of(self, queries: Floats, ids: Sequence[PointId]) -> Floats:
        """Return cosines float32 (q, n); -2, below all, for a point that is gone meanwhile."""
        scores = np.full((len(queries), len(ids)), -2.0, np.float32)
        for start in range(0, len(ids), _READ_POINTS):
            part = ids[start : start + _READ_POINTS]
            there, found = self._page(queries, part)
            column = {one: at for at, one in enumerate(part, start)}
            scores[:, [column[one] for one in there]] = found
        return scores

    def _page(self, queries: Floats, ids: Sequence[PointId]) -> tuple[list[PointId], Floats]:
        if self._vector is not None:
            page = self._home.read(ids, vector=self._vector)
            assert page.vectors is not None  # they were asked for
            with np.errstate(invalid="ignore"):  # a row of NaN is a vector that is gone
                norms = np.linalg.norm(page.vectors, axis=1)
                cosines = queries @ page.vectors.T / np.where(norms > 0, norms, 1)
            return page.ids, np.nan_to_num(cosines, nan=-2.0)
        page = self._home.read(ids, codes=self._codes)
        assert page.codes is not None  # they were asked for
        return page.ids, self._model.estimate_cosines(queries, page.codes, page.residuals)


@dataclass(frozen=True)
class Finder:
    """Searches a collection by its codes, at one setting.

    Attributes:
        home: The collection; it is only read.
        model: The model of the codes.
        vector: Name of the dense vector.
        codes: The codes.
        setting: The query's k, candidates, rescoring.
    """

    home: Home
    model: CSRModel
    vector: str
    codes: CodeVector
    setting: Setting

    def exact(self, rows: Floats, filter: Any, limit: int) -> list[list[Hit]]:
        """Return what the engine's own exact search finds.

        Args:
            rows: float32 (q, dim).
            filter: The vendor's filter, or None.
            limit: Most hits per query.

        Returns:
            Hits, the best first.

        Raises:
            Busy: If the engine takes too long for a single query.
            StoreError: If the home fails for good.
        """  # noqa: DOC502  # raised by helpers
        hits: list[list[Hit]] = []
        step = _EXACT_QUERIES
        while len(hits) < len(rows):
            part = rows[len(hits) : len(hits) + step]
            try:
                hits += self.home.exact(part, self.vector, limit=limit, filter=filter)
            except Busy:
                if len(part) == 1:
                    raise
                step = len(part) // 2  # a call that takes too long is one of too many queries
        return hits

    def stages(
        self, rows: Floats, filter: Any, limit: int
    ) -> Iterator[tuple[str, str, list[list[Hit]]]]:
        """Search by the codes, as they are and with their candidates rescored.

        Args:
            rows: float32 (q, dim), without rows of zeros.
            filter: The vendor's filter, or None.
            limit: Most hits per query.

        Yields:
            Stage, setting in words, and hits, the best first; the last is what is gated.
        """
        setting, unit = self.setting, unit_rows(rows)
        most = max(limit, setting.candidates or limit)
        sparse: list[list[Hit]] = []
        final: list[list[Hit]] = []
        for start in range(0, len(rows), _SPARSE_QUERIES):
            part = slice(start, start + _SPARSE_QUERIES)
            codes = self.model.encode_query(rows[part], k=setting.k)
            found = self.home.sparse(codes, self.codes.name, limit=most, filter=filter)
            shared = [[hit for hit in hits if hit.score] for hits in found]
            sparse += [hits[:limit] for hits in shared]
            if setting.rescore is not None:
                final += rescored(shared, unit[part], self._cosines(setting.rescore), limit)
        yield "sparse", f"k={setting.k}", sparse
        if setting.rescore is not None:
            words = f"k={setting.k}, {setting.candidates} candidates"
            yield setting.rescore, words, final

    def _cosines(self, rescore: Rescore) -> _Stored:
        vector = self.vector if rescore == "dense" else None
        return _Stored(self.home, self.model, vector, self.codes)


def finder(
    home: Home, model: CSRModel, vector: str, codes: CodeVector, k_doc: int, config: VerifyConfig
) -> Finder:
    """Choose the setting as a `csrkit.Searcher` would.

    Args:
        home: The collection.
        model: The model of the codes.
        vector: Name of the dense vector.
        codes: The codes.
        k_doc: Latents per stored code.
        config: What was asked for.

    Returns:
        What searches.

    Raises:
        ConfigError: If k and effort contradict each other, or one is out of range.
    """  # noqa: DOC502  # raised by helpers
    bits = codes.residual_bytes > 0
    rescore: Rescore | None = None
    if config.rescore in ("codes", "dense"):
        rescore = config.rescore
    elif config.rescore == "auto" and bits:
        rescore = "codes"
    why = misfit(model.card, Holds(k_doc, bits, refitted=False), rescore)
    dial = Dial(model, rescore, None if why else model.card, why)
    setting = dial.choose(Wish(LIMIT, k=config.k, effort=config.effort)).setting
    return Finder(home, model, vector, codes, setting)


def judge(
    finder: Finder, asked: Asked, name: str, gate: float | None, filter: Any = None
) -> list[Searched]:
    """Compare searches by the code with exact ones.

    Args:
        finder: What searches.
        asked: The queries.
        name: Name of what is searched, for the result.
        gate: Least recall of the last stage, for the result.
        filter: The vendor's filter, or None.

    Returns:
        One result per stage; none if the exact search finds nothing for any query.

    Raises:
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    depth = LIMIT + (asked.own is not None)
    exact = _others(finder.exact(asked.rows, filter, depth + _TIES), asked.own)
    known = np.array([row for row, hits in enumerate(exact) if hits], np.int64)
    if not len(known):
        return []
    exact = [exact[row] for row in known.tolist()]
    own = None if asked.own is None else [asked.own[row] for row in known.tolist()]
    stages = list(finder.stages(asked.rows[known], filter, depth))
    results = []
    for number, (stage, setting, hits) in enumerate(stages, start=1):
        found = [[hit.id for hit in row[:LIMIT]] for row in _others(hits, own)]
        recalls = np.array([_recall(*pair) for pair in zip(found, exact, strict=True)])
        results.append(
            Searched(
                name=name,
                stage=stage,
                setting=setting,
                queries=len(recalls),
                recall=bootstrap_interval(recalls),
                floor=float(np.sort(recalls)[: max(1, round(len(recalls) / 20))].mean()),
                short=sum(
                    len(ids) < min(LIMIT, len(row)) for ids, row in zip(found, exact, strict=True)
                ),
                gate=gate if number == len(stages) else None,
                **_relevance(found, exact, known, asked.qrels),
            )
        )
    return results


def _others(found: list[list[Hit]], own: Sequence[PointId] | None) -> list[list[Hit]]:
    """Leave documents that serve as queries out of their own results."""
    if own is None:
        return found
    return [[hit for hit in hits if hit.id != one] for hits, one in zip(found, own, strict=True)]


def _recall(found: Sequence[PointId], exact: Sequence[Hit]) -> float:
    """Return the share of the exact top ten that was found; equals of the tenth are as good."""
    top = exact[:LIMIT]
    last = top[-1].score
    near = _TIE * max(1.0, abs(last))
    good = {hit.id for hit in top} | {h.id for h in exact[LIMIT:] if abs(h.score - last) <= near}
    return min(len(top), len(good.intersection(found))) / len(top)


def _relevance(
    found: list[list[PointId]],
    exact: list[list[Hit]],
    known: NDArray[np.int64],
    qrels: Qrels | None,
) -> dict[str, Interval]:
    """Measure nDCG@10 and MRR@10 of both searches, over the queries that have judgements."""
    if qrels is None:
        return {}
    gains = [qrels[row] for row in known.tolist()]
    judged = [row for row, one in enumerate(gains) if any(gain > 0 for gain in one.values())]
    if not judged:
        return {}
    relevant = [gains[row] for row in judged]
    ours = [found[row] for row in judged]
    theirs = [[hit.id for hit in exact[row][:LIMIT]] for row in judged]
    return {
        "ndcg": bootstrap_interval(ndcg_at(ours, relevant, LIMIT)),
        "mrr": bootstrap_interval(mrr_at(ours, relevant, LIMIT)),
        "exact_ndcg": bootstrap_interval(ndcg_at(theirs, relevant, LIMIT)),
        "exact_mrr": bootstrap_interval(mrr_at(theirs, relevant, LIMIT)),
    }
