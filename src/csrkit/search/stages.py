"""What happens to candidates: rescored here from a source of cosines, or by the store itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from csrkit.errors import ConfigError
from csrkit.model import CSRModel
from csrkit.search.rescoring import (
    GROUP_CANDIDATES,
    ArrayCosines,
    CallableCosines,
    CodesCosines,
    Cosines,
    DenseOf,
    DenseRows,
    rescored,
)
from csrkit.stores.base import CandidateStore, DenseStore
from csrkit.tensors import as_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from csrkit.model.card import Rescore
    from csrkit.model.encoder import SearchEncoder
    from csrkit.stores.base import Candidates, Hit, Store
    from csrkit.vectors import SparseVectors

__all__ = ["CodesStages", "Dense", "Stages", "stages"]

HELD_CANDIDATES = 100_000  # with their payloads, before they are rescored

Dense: TypeAlias = "str | DenseOf | DenseRows | ArrayLike"


class Stages(Protocol):
    """The first and the second stage of a search, together."""

    def search(
        self,
        codes: SparseVectors,
        queries: NDArray[np.float32],
        *,
        candidates: int,
        limit: int,
        filter: Any,
    ) -> list[list[Hit]]:
        """Find candidates by codes and rank them by cosine.

        Args:
            codes: The queries as codes.
            queries: The same as float32 (q, dim) of norm 1.
            candidates: Documents per query that are rescored, at least ``limit``.
            limit: Most hits per query.
            filter: The store's own filter object.

        Returns:
            Hits, best first.
        """


class FetchingStages:
    """Candidates come out of the store and are rescored here.

    Args:
        store: Where candidates are.
        cosines: Where their cosines come from.
    """

    def __init__(self, store: Store, cosines: Cosines) -> None:
        self._store = store
        self._cosines = cosines

    def search(
        self,
        codes: SparseVectors,
        queries: NDArray[np.float32],
        *,
        candidates: int,
        limit: int,
        filter: Any,
    ) -> list[list[Hit]]:
        """Search and rescore; see `Stages.search`."""
        hits: list[list[Hit]] = []
        step = max(1, HELD_CANDIDATES // candidates)
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            found = self._store.search(codes[part], limit=candidates, filter=filter)
            hits += rescored(found, queries[part], self._cosines, limit)
        return hits


class CodesStages:
    """Candidates bring their codes along, and only those that stay are named.

    Args:
        model: The model of the codes.
        store: Where candidates are.
    """

    def __init__(self, model: CSRModel, store: CandidateStore) -> None:
        self._model = model
        self._store = store

    def search(
        self,
        codes: SparseVectors,
        queries: NDArray[np.float32],
        *,
        candidates: int,
        limit: int,
        filter: Any,
    ) -> list[list[Hit]]:
        """Search and rescore; see `Stages.search`."""
        hits: list[list[Hit]] = []
        step = max(1, GROUP_CANDIDATES // candidates)  # held as the engine's objects at a time
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            found = self._store.candidates(codes[part], limit=candidates, filter=filter)
            hits += self._store.resolve(self.ranked(found, queries[part], limit))
        return hits

    def ranked(
        self, found: Sequence[Candidates], queries: NDArray[np.float32], limit: int
    ) -> list[list[tuple[Any, float]]]:
        """Rank candidates by their estimated cosine.

        Args:
            found: Candidates of each query.
            queries: float32 (q, dim) of norm 1, of the same queries.
            limit: Most documents per query.

        Returns:
            Keys and cosines, best first; equal ones stay in the order they came in.
        """
        ranked = []
        for row, one in enumerate(found):  # together each would be scored for every query
            query = queries[row : row + 1]
            cosines = self._model.estimate_cosines(query, one.codes, one.residuals)[0]
            order = np.argsort(-cosines, kind="stable")[:limit].tolist()
            ranked.append([(one.keys[at], float(cosines[at])) for at in order])
        return ranked


class StoreStages:
    """The store rescores from a dense vector of its own, in the same call.

    Args:
        store: Where codes and dense vectors are.
        vector: Name of the dense vector.
    """

    def __init__(self, store: DenseStore, vector: str) -> None:
        self._store = store
        self._vector = vector

    def search(
        self,
        codes: SparseVectors,
        queries: NDArray[np.float32],
        *,
        candidates: int,
        limit: int,
        filter: Any,
    ) -> list[list[Hit]]:
        """Have the store search and rescore; see `Stages.search`."""
        return self._store.search_dense(
            codes, queries, vector=self._vector, candidates=candidates, limit=limit, filter=filter
        )


def stages(
    model: SearchEncoder, store: Store, rescore: Rescore | None, dense: Dense | None
) -> Stages | None:
    """Put the two stages together, or say why they do not fit.

    Args:
        model: The model of the codes.
        store: Holds the codes.
        rescore: "codes", "dense" or None.
        dense: Source of the dense vectors; see `csrkit.search.Searcher`.

    Returns:
        The stages; None without rescoring.

    Raises:
        ConfigError: If the arguments contradict each other, or the store has no dense vectors.
        ShapeError: If dense is an array of another shape than (n, dim).
    """
    if rescore not in ("codes", "dense", None):
        raise ConfigError(f"expected rescore to be 'codes', 'dense' or None, got {rescore!r}")
    if (rescore == "dense") != (dense is not None):
        got = "no dense=" if dense is None else f"dense= of type {type(dense).__name__}"
        raise ConfigError(
            "expected dense= (the name of a vector, an array, or a function of ids) together "
            f"with rescore='dense', got {got} with rescore={rescore!r}"
        )
    if rescore is None:
        return None
    if rescore == "codes":
        return _by_codes(model, store)
    if isinstance(dense, str):
        return StoreStages(_with_dense(store, dense), dense)
    return FetchingStages(store, _exact_source(dense, model.dim))


def _by_codes(model: SearchEncoder, store: Store) -> Stages:
    if not isinstance(model, CSRModel):
        raise ConfigError(
            f"expected the codes of a CSRModel for rescore='codes', got a {type(model).__name__}, "
            "whose codes decode to nothing: pass rescore=None, or rescore='dense' with dense="
        )
    if isinstance(store, CandidateStore):
        return CodesStages(model, store)
    return FetchingStages(store, CodesCosines(model, store))


def _with_dense(store: Store, vector: str) -> DenseStore:
    if not isinstance(store, DenseStore):
        raise ConfigError(
            f"expected a store with dense vectors for dense={vector!r}, got a "
            f"{type(store).__name__}: pass an array, or a function from ids to vectors"
        )
    return store


def _exact_source(dense: Any, dim: int) -> Cosines:
    if callable(dense):
        return CallableCosines(dense, dim)
    # not to be read whole: what is read by rows, unlike data frames and sparse matrices
    by_rows = hasattr(dense, "shape") and hasattr(dense, "__getitem__")
    if isinstance(dense, np.ndarray) or hasattr(dense, "iloc") or hasattr(dense, "tocsr"):
        by_rows = False
    return ArrayCosines(dense if by_rows else as_numbers(dense, "dense="), dim)
