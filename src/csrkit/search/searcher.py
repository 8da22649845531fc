"""`Searcher`: a model and a store, and a dial between them that each query turns.

    sparse stage    the store, by inner product of codes    k chosen now
    rescoring       candidates, by their dense cosine       from codes, dense vectors, or none
    threshold       in cosine units

It holds no hits and no vectors, and may be shared by threads as far as its store may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ConfigError
from csrkit.model.encoder import check_encoder
from csrkit.search.dial import Dial, Holds, Wish, checked_k, misfit
from csrkit.search.explain import explained
from csrkit.search.queries import as_queries, dense_queries
from csrkit.search.results import Results
from csrkit.search.stages import stages
from csrkit.search.threshold import Threshold
from csrkit.search.writing import Writer
from csrkit.stores.adapter import checked_limit
from csrkit.stores.base import Store
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.model.card import Effort, Rescore, Setting
    from csrkit.model.encoder import SearchEncoder
    from csrkit.search.results import Explanation
    from csrkit.search.stages import Dense
    from csrkit.stores.base import Hit, Ids, Payload

__all__ = ["Searcher"]


class Searcher:
    """Dense query vectors in, hits out, with as much work as each call asks for.

    Candidates that the codes find are rescored by their cosine with the dense query:

    - ``rescore="codes"`` estimates it from the stored codes, and from their residual bits
      where the store keeps them. No dense vector is kept anywhere.
    - ``rescore="dense"`` computes it from the dense vectors in ``dense``.
    - ``rescore=None`` leaves the scores of the codes, cosines in code space.

    Args:
        model: The model of the store's codes: a `CSRModel`, or any `SearchEncoder`, such as a
            `csrkit.joint.Side` or a `csrkit.llm.LLMRetriever`, which takes texts instead of
            vectors everywhere. These decode nothing, so they want another ``rescore``.
        store: Holds the codes; any `Store`.
        k_doc: Latents per stored code, which `upsert` writes and a card must have been
            measured with. By default the card's, or else the longest rung.
        rescore: How candidates are rescored.
        residuals: Whether `upsert` gives a new store residual bits. By default as the card
            was measured, or else with ``rescore="codes"``, if the store can keep them.
            Without bits, codes to be rescored by codes are refitted (`CSRModel.refit`).
        dense: With ``rescore="dense"`` alone. A string names a dense vector of the same
            collection, which a `DenseStore` rescores with in one call; it should have the
            distance Cosine, as its scores are the store's. An array (n, dim), in memory,
            memory-mapped or read lazily, has the ids as its row numbers. A function takes a
            list of n ids and returns numbers (n, dim).

    Raises:
        ConfigError: If rescore and dense contradict each other, the store has no dense
            vectors or cannot keep the residuals asked for, or k_doc is out of range.
        ShapeError: If dense is an array of another width.
        StoreError: If the store is known to hold the codes of another model.

    Examples:
        >>> import csrkit, numpy
        >>> from csrkit.stores import MemoryStore
        >>> rows = numpy.random.default_rng(0).normal(size=(200, 8))
        >>> config = csrkit.FitConfig(n_latents=32, ladder=(2, 4), steps=5)
        >>> model = csrkit.fit(rows, config=config, progress=False)
        >>> searcher = Searcher(model, MemoryStore())
        >>> searcher.upsert(range(200), rows)
        >>> results = searcher.search(rows[7], limit=3, k=4)
        >>> results[0][0].id, str(results.setting)
        (7, "k=4, candidates=100, rescore='codes'")
    """

    def __init__(
        self,
        model: SearchEncoder,
        store: Store,
        *,
        k_doc: int | None = None,
        rescore: Rescore | None = "codes",
        residuals: bool | None = None,
        dense: Dense | None = None,
    ) -> None:
        check_encoder(model)
        if isinstance(store, type) or not isinstance(store, Store):
            raise ConfigError(
                f"expected a store, as csrkit.stores.open_store(url) gives it, got {store!r}"
            )
        self._model = model
        self._store = store
        self._rescore = rescore
        self._stages = stages(model, store, rescore, dense)
        measured = model.ladder[-1] if model.card is None else model.card.k_doc
        k_doc = measured if k_doc is None else k_doc
        self._k_doc = checked_k("Searcher", "k_doc", k_doc, model.n_latents)
        self._writer = Writer(model, store, k_doc=self._k_doc, rescore=rescore, residuals=residuals)

    def __repr__(self) -> str:
        return (
            f"Searcher({self._model!r}, {type(self._store).__name__}, k_doc={self._k_doc}, "
            f"rescore={self._rescore!r})"
        )

    @property
    def model(self) -> SearchEncoder:
        """The model."""
        return self._model

    @property
    def store(self) -> Store:
        """The store."""
        return self._store

    @property
    def k_doc(self) -> int:
        """Latents per stored code."""
        return self._k_doc

    @property
    def rescore(self) -> Rescore | None:
        """How candidates are rescored."""
        return self._rescore

    @property
    def holds(self) -> Holds:
        """What the store holds, as far as it tells; a card of something else is not read."""
        return Holds(self._k_doc, self._writer.has_bits, self._writer.refits)

    # -- writing ----------------------------------------------------------------

    def upsert(
        self, ids: Ids, embeddings: ArrayLike, payloads: Sequence[Payload | None] | None = None
    ) -> None:
        """Encode embeddings and insert or replace them.

        Residual bits go with the codes if the store holds such, or is new and this Searcher
        adds them. Codes without bits are refitted if the store is new and they are to be
        rescored by codes, or if those in it are. Dense vectors are not stored.

        Args:
            ids: One id per embedding, each once; row numbers if ``dense`` is an array.
            embeddings: Numbers of shape (n, dim), encoded as a whole: give many millions in
                several calls.
            payloads: One JSON object or None per id; left out, ids keep theirs.

        Raises:
            ShapeError: If the shape is not (n, dim), a row is zero or not finite, or the
                numbers of ids, embeddings and payloads differ.
            StoreError: If an id or payload is refused, or the store fails.
        """
        self._writer.upsert(ids, embeddings, payloads)

    # -- searching --------------------------------------------------------------

    def search(
        self,
        queries: ArrayLike,
        *,
        limit: int = 10,
        k: int | None = None,
        effort: Effort | None = None,
        recall: float | None = None,
        candidates: int | None = None,
        filter: Any = None,
        score_threshold: float | None = None,
        explain: bool = False,
        fill: bool = False,
    ) -> Results:
        """Find the documents that are nearest to each query.

        How much work that is say ``k``, ``effort`` or ``recall``, of which at most one may be
        given; none is ``effort="balanced"``. See `csrkit.search.dial` for efforts without a card.

        Args:
            queries: One vector (dim,) or a batch (q, dim), of any non-zero length: an array,
                lists, or a torch tensor.
            limit: Most hits per query, at least 1.
            k: Latents per query code, from 1 to n_latents: more visit more postings and find
                more.
            effort: "fast", "balanced" or "accurate".
            recall: Recall to be promised, in (0, 1]: the cheapest setting whose measured lower
                bound reaches it, without a filter. ``limit`` must be the card's.
            candidates: Documents per query that are rescored, at least ``limit``; by default
                what the card chose, or 100, and never fewer than ``limit``.
            filter: The store's own filter object, for the candidates.
            score_threshold: Least dense cosine of a hit, from -1 to 1. It is compared with the
                score where that is a cosine, and through the card's calibration otherwise.
            explain: Say for each hit which latents brought it up.
            fill: Ask queries with fewer than ``limit`` hits again, alone, at the next larger k,
                up to 4 times the longest rung.

        Returns:
            The hits of each query, the setting and what is promised of it.

        Raises:
            ConfigError: If the arguments contradict each other, are out of range, or need a
                card that the model does not have.
            ShapeError: If the queries are not (dim,) or (q, dim), or one is zero or not finite.
            StoreError: If the store fails, or a candidate was deleted meanwhile: repeat the call.
        """
        limit = _plain(limit)
        rows = as_queries(queries, self._model.dim)
        dial = self._dial()
        setting, promised = dial.choose(Wish(limit, k, effort, recall, candidates))
        longer = [replace(setting, k=rung) for rung in dial.longer(setting.k)] if fill else []
        threshold = None
        if score_threshold is not None:
            threshold = Threshold(score_threshold, dial.card, dial.why_none)
            threshold.refuse_unreadable(setting)
            longer = [one for one in longer if threshold.reads(one)]
        hits = self.run(rows, setting, limit=limit, filter=filter)
        used = self._fill_(hits, rows, [setting, *longer], limit, filter)
        short = sum(len(found) < limit for found in hits)
        filled = sum(len(h) == limit and s is not setting for h, s in zip(hits, used, strict=True))
        if threshold is not None:
            hits = list(map(threshold.keep, hits, used))
        explanations = self._explained(hits, rows, used) if explain else None
        return Results(hits, setting, promised, short, filled, explanations)

    def run(
        self, queries: ArrayLike, setting: Setting, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search at exactly one setting: what `search` does once it has chosen.

        Args:
            queries: One vector (dim,) or a batch (q, dim), as for `search`.
            setting: The query's k, the candidates (at least ``limit`` are taken), and the
                rescoring: this Searcher's own, or None.
            limit: Most hits per query, at least 1.
            filter: The store's own filter object.

        Returns:
            Hits by falling score, one list per query.

        Raises:
            ConfigError: If limit is below 1, k is out of range, or the setting asks for
                another rescoring.
            ShapeError: If the queries are not (dim,) or (q, dim), or one is zero or not finite.
            StoreError: If the store fails.
        """
        limit = _plain(limit)
        rows = as_queries(queries, self._model.dim)
        codes = self._model.encode_query(rows, k=setting.k)
        if setting.rescore is None:
            return self._store.search(codes, limit=limit, filter=filter)
        if self._stages is None or setting.rescore != self._rescore:
            raise ConfigError(
                f"expected a setting for a Searcher with rescore={self._rescore!r}, got {setting}"
            )
        candidates = max(limit, setting.candidates or limit)
        return self._stages.search(
            codes,
            dense_queries(self._model, rows),
            candidates=candidates,
            limit=limit,
            filter=filter,
        )

    def _dial(self) -> Dial:
        card = self._model.card
        why = misfit(card, self.holds, self._rescore)
        return Dial(self._model, self._rescore, None if why else card, why)

    def _fill_(
        self,
        hits: list[list[Hit]],
        rows: NDArray[Any],
        settings: list[Setting],
        limit: int,
        filter: Any,
    ) -> list[Setting]:
        """Replace the hits of queries that fall short, and return the setting of each query."""
        used = [settings[0]] * len(hits)
        for longer in settings[1:]:
            short = [row for row, found in enumerate(hits) if len(found) < limit]
            if not short:
                break
            again = self.run(rows[short], longer, limit=limit, filter=filter)
            for row, found in zip(short, again, strict=True):
                hits[row], used[row] = found, longer
        return used

    def _explained(
        self, hits: list[list[Hit]], rows: NDArray[Any], used: list[Setting]
    ) -> list[list[Explanation]]:
        """Explain hits by the codes that each query was searched with."""
        ks = np.array([setting.k for setting in used], dtype=np.int64)
        parts = [(np.flatnonzero(ks == k), int(k)) for k in np.unique(ks)]
        if not parts:
            return []
        codes = [self._model.encode_query(rows[where], k=k) for where, k in parts]
        back = np.argsort(np.concatenate([where for where, _ in parts]))
        return explained(hits, SparseVectors.concat(codes)[back], self._store)


def _plain(limit: Any) -> int:
    """Return a limit as stores take it: numpy's whole numbers are as good here."""
    plain = int(limit) if isinstance(limit, np.integer) else limit
    checked_limit(plain)
    return int(plain)
