"""`Store`, the protocol every vector store meets, and `Hit`, what a search returns.

Larger protocols say what a store can do besides: `ResidualStore` keeps, beside each
code, bytes that the code does not explain; `DenseStore` rescores from a dense vector
of its own; `CodecStore` knows which codec its codes are from.

A store keeps codes by id and finds those with the largest inner product. It
takes codes from any encoder, in the vendor's own client, with the vendor's own
filter objects; it never encodes and never normalises.

The laws below hold in every store, and `csrkit.stores.testing.StoreContract`
checks them against `MemoryStore`, the exact reference:

- A whole call is checked before anything is sent: ids, widths, payloads.
- The first upsert fixes the width of the codes; other widths are refused.
- An id that occurs twice in one upsert is refused: one of its two codes would
  be lost, and which one would depend on the engine.
- An empty payload and no payload are the same thing, and come back as None.
- A document without a latent of the query is not a hit; neither is one whose
  score is exactly 0, which only negative weights can bring about.
- The order of equal scores is the engine's business.
- The first upsert fixes whether there are residuals and how wide they are: a
  later one that differs is refused, so that each code has one or none has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from csrkit.vectors import SparseVectors

__all__ = [
    "CandidateStore",
    "Candidates",
    "CodecStore",
    "DenseStore",
    "Hit",
    "Id",
    "Ids",
    "Payload",
    "ResidualStore",
    "Store",
]

Id: TypeAlias = int | str | UUID
Ids: TypeAlias = "Sequence[Id] | NDArray[np.integer[Any]]"
Payload: TypeAlias = Mapping[str, Any]  # JSON object: what it holds is the caller's business


class Hit(NamedTuple):
    """One search result.

    Attributes:
        id: The id given to `Store.upsert`; a UUID object comes back as its string.
        score: Inner product of the query code and the stored code. With
            normalised codes it is their cosine, in [0, 1] for document codes.
        payload: The payload stored with the id, or None.
    """

    id: int | str
    score: float
    payload: Payload | None = None


@runtime_checkable
class Store(Protocol):
    """Codes by id, searchable by inner product; the smallest set every engine can honour."""

    def upsert(
        self, ids: Ids, codes: SparseVectors, payloads: Sequence[Payload | None] | None = None
    ) -> None:
        """Insert or replace codes and payloads.

        Args:
            ids: One id per code, each once: integers from 0 to 2**64 - 1,
                strings, or UUIDs.
            codes: Rows to store; an empty row is kept and never found.
            payloads: One JSON object per id, which replaces the stored one, or
                None for an id without. If the argument is left out, ids that
                are already stored keep the payloads they have.

        Raises:
            ShapeError: If the numbers of ids, codes and payloads differ, or the
                width of the codes is not the store's.
            StoreError: If an id or payload is refused, or the store fails; the
                message names the ids.
        """
        ...

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product.

        Args:
            codes: Queries, one result list each; weights may be negative.
            limit: Most hits per query, at least 1.
            filter: The vendor's own filter object, passed through.

        Returns:
            Hits by falling score. The lists are ragged: a document that shares
            no latent with the query is not a hit.

        Raises:
            ConfigError: If limit is below 1.
            ShapeError: If the width of the codes is not the store's.
            StoreError: If the store fails.
        """
        ...

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            One row per id.

        Raises:
            StoreError: If an id is not in the store (the message names it), or
                nothing was ever stored, so that the width is not known.
        """
        ...

    def delete(self, ids: Ids) -> None:
        """Remove ids; those that are not there are ignored.

        Args:
            ids: Ids to remove.

        Raises:
            StoreError: If an id is none, or the store fails.
        """
        ...

    def count(self) -> int:
        """Return the exact number of stored ids."""
        ...


@runtime_checkable
class ResidualStore(Store, Protocol):
    """A store that keeps, beside each code, bytes that it does not look into."""

    @property
    def residual_bytes(self) -> int:
        """Bytes per residual; 0 if none are kept, or nothing was stored yet."""
        ...

    def upsert(
        self,
        ids: Ids,
        codes: SparseVectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        residuals: NDArray[np.uint8] | None = None,
    ) -> None:
        """Insert or replace codes, payloads and residuals.

        Args:
            ids: One id per code, each once; see `Store.upsert`.
            codes: Rows to store.
            payloads: One JSON object or None per id; left out, ids keep theirs.
            residuals: uint8 (n, width), one row of bytes per code, such as
                `CSRModel.encode_residuals` gives. The first upsert fixes the
                width; left out there, the store keeps none.

        Raises:
            ShapeError: If the numbers of ids, codes, payloads and residuals differ,
                or the width of the codes or of the residuals is not the store's.
            StoreError: If an id or payload is refused, or the store fails; the
                message names the ids.
        """
        ...

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            uint8 (n, residual_bytes), the bytes as they were given.

        Raises:
            StoreError: If an id is not in the store (the message names it), or the
                store keeps no residuals.
        """
        ...

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return the stored codes and residuals of the ids in one round trip.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            One row per id, in their order, and uint8 (n, residual_bytes), or None if
            the store keeps no residuals.

        Raises:
            StoreError: If an id is not in the store (the message names it), or
                nothing was ever stored, so that the width is not known.
        """
        ...


class Candidates(NamedTuple):
    """What the first stage of a search passes on for one query.

    Attributes:
        keys: Handles of n documents, best first, for `CandidateStore.resolve`: the store's own.
        codes: Their n stored codes.
        residuals: uint8 (n, residual_bytes), or None if the store keeps none.
    """

    keys: list[Any]
    codes: SparseVectors
    residuals: NDArray[np.uint8] | None


@runtime_checkable
class CandidateStore(Store, Protocol):
    """A store that finds codes and brings them along, and says later whose the best ones are.

    A search that rescores looks at a hundred documents to give back ten. Ids and payloads of
    the others need not be read, and a document that is deleted meanwhile is no error.
    """

    def candidates(
        self, codes: SparseVectors, *, limit: int, filter: Any = None
    ) -> list[Candidates]:
        """Find the codes with the largest inner product, as `Store.search` does.

        Args:
            codes: Queries, one result each.
            limit: Most documents per query, at least 1.
            filter: The vendor's own filter object.

        Returns:
            The documents that `Store.search` would return, in its order.

        Raises:
            ConfigError: If limit is below 1.
            ShapeError: If the width of the codes is not the store's.
            StoreError: If the store fails, or a document lacks its residual.
        """
        ...

    def resolve(self, ranked: Sequence[Sequence[tuple[Any, float]]]) -> list[list[Hit]]:
        """Name documents that `candidates` returned.

        Args:
            ranked: Per query the keys of those to return, each with its score.

        Returns:
            A hit for each of them, in the same order, without those deleted since.

        Raises:
            StoreError: If the store fails.
        """
        ...


@runtime_checkable
class CodecStore(Store, Protocol):
    """A store that notes the codec of its codes, and refuses to mix those of two."""

    @property
    def codec(self) -> str | None:
        """Fingerprint of the codec whose codes are held; None if the first upsert noted none."""
        ...

    def bind(self, codec: str) -> None:
        """Take and search codes of this codec alone.

        Nothing is written now: the first upsert notes the fingerprint with the width of
        the codes. A store that was filled before without one stays of unknown codec.

        Args:
            codec: The fingerprint, ``model.fingerprint``.

        Raises:
            ConfigError: If it is no text, or empty.
            StoreError: If the store holds codes of another codec, or is bound to
                another; the message names both.
        """
        ...


@runtime_checkable
class DenseStore(Store, Protocol):
    """A store that can rescore what the codes find, from a dense vector it holds as well."""

    def search_dense(
        self,
        codes: SparseVectors,
        queries: NDArray[np.float32],
        *,
        vector: str,
        candidates: int,
        limit: int = 10,
        filter: Any = None,
    ) -> list[list[Hit]]:
        """Find candidates by their codes and rank them by a dense vector, in one call.

        Args:
            codes: Queries as codes, for the first stage.
            queries: The same queries as float32 (q, dim), for the second.
            vector: Name of the dense vector.
            candidates: Documents per query that the first stage passes on, at least
                ``limit``: more costs time and loses fewer documents.
            limit: Most hits per query, at least 1.
            filter: The vendor's own filter object, for the first stage.

        Returns:
            Hits, the best first. The score is what the store computes between query
            and vector: their cosine, inner product or distance, as the vector was
            defined. A document without the vector is no hit.

        Raises:
            ConfigError: If limit is below 1, or there are fewer candidates than limit.
            ShapeError: If there is not one finite query per code, or a width is not
                the store's.
            StoreError: If there is no such vector, or the store fails.
        """
        ...
