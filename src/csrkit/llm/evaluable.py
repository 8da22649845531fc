"""`Evaluable`: a retriever of texts as `csrkit.evaluate` takes a model, over its own vectors.

`csrkit.evaluate` compares ways to search the same vectors. Here these are what the dense head makes
of the texts, and the encoder looks up what the sparse head made of the text behind each. The
language model runs once per text, before: it is in no time of the report, of either head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csrkit.errors import ShapeError
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from csrkit.llm.retriever import LLMRetriever
    from csrkit.model.encoder import HeadEncoder

__all__ = ["Evaluable", "Lookup", "evaluable"]

_STEPS = 2**10  # of a coordinate: what rounding moves by less is found without a comparison
_SAME = 1e-5  # largest difference of a coordinate that rounding makes


class Evaluable(NamedTuple):
    """The first three arguments of `csrkit.evaluate`.

    Attributes:
        model: The encoder.
        docs: float32 (n, dim), norm 1.
        queries: float32 (q, dim), norm 1.
    """

    model: Lookup
    docs: NDArray[np.float32]
    queries: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Lookup:
    """An encoder of known vectors; see `csrkit.search.HeadEncoder`.

    Attributes:
        dim: Width of the vectors.
        n_latents: Width of the codes.
        ladder: Those k of the retriever.
        fingerprint: That of the retriever.
        nbytes: Bytes of its weights, each once.
        documents: Codes by vector.
        queries: The same of queries.
    """

    dim: int
    n_latents: int
    ladder: tuple[int, ...]
    fingerprint: str
    nbytes: int
    documents: _Table
    queries: _Table

    @property
    def card(self) -> None:
        """Nothing is measured of a retriever: a search promises no recall."""
        return None

    def encode(self, inputs: NDArray[np.float32], /, *, k: int | None = None) -> SparseVectors:
        """Return the codes of documents, keeping at most k entries per row.

        Args:
            inputs: float32 (m, dim), of the documents alone, of any length.
            k: Most latents per code; None keeps all.

        Returns:
            One code per row.

        Raises:
            ShapeError: If a row is none of the documents'.
        """  # noqa: DOC502  # raised by the table
        return self.documents.codes_of(inputs, k)

    def encode_query(
        self, queries: NDArray[np.float32], /, *, k: int | None = None
    ) -> SparseVectors:
        """Return the codes of queries, keeping at most k entries per row.

        Args:
            queries: float32 (m, dim), of the queries alone, of any length.
            k: Most latents per code; None keeps all.

        Returns:
            One code per row.

        Raises:
            ShapeError: If a row is none of the queries'.
        """  # noqa: DOC502  # raised by the table
        return self.queries.codes_of(queries, k)


class _Table:
    """Codes by vector."""

    def __init__(self, vectors: NDArray[np.float32], codes: SparseVectors) -> None:
        self._vectors, self._codes = vectors, codes
        self._rows = {_key(vector): row for row, vector in enumerate(vectors)}

    def codes_of(self, vectors: NDArray[np.float32], k: int | None) -> SparseVectors:
        codes = self._codes[[self._row(one) for one in _unit(vectors)]]
        return codes if k is None else codes.top(k)

    def _row(self, vector: NDArray[np.float32]) -> int:
        row = self._rows.get(_key(vector))
        if row is None:  # a coordinate lies between two steps
            row = int((self._vectors @ vector).argmax())
        if np.abs(self._vectors[row] - vector).max() > _SAME:
            raise ShapeError("expected vectors that `evaluable` returned, got another one")
        return row


def _key(vector: NDArray[np.float32]) -> bytes:
    return np.rint(vector * _STEPS).astype(np.int16).tobytes()


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def evaluable(retriever: LLMRetriever, docs: list[str], queries: list[str]) -> Evaluable:
    """Encode texts with both heads; see `LLMRetriever.evaluable`."""
    model = retriever.backbone.model
    weights = {weight.data_ptr(): weight for weight in model.state_dict().values()}
    vectors = [
        _unit(retriever.encode_dense(docs)),
        _unit(retriever.encode_dense(queries, side="query")),
    ]
    lookup = Lookup(
        dim=retriever.dim,
        n_latents=retriever.n_latents,
        ladder=retriever.ladder,
        fingerprint=retriever.fingerprint,
        nbytes=sum(weight.nbytes for weight in [*weights.values(), retriever.head.shift]),
        documents=_Table(vectors[0], retriever.encode(docs)),
        queries=_Table(vectors[1], retriever.encode_query(queries)),
    )
    return Evaluable(lookup, *vectors)


if TYPE_CHECKING:

    def _fits(lookup: Lookup) -> HeadEncoder:  # so csrkit.evaluate takes it
        return lookup
