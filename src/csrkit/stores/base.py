"""`Store`, the protocol every vector store meets, and `Hit`, what a search returns.

A store keeps codes by id and finds those with the largest inner product. It
takes codes from any encoder, in the vendor's own client, with the vendor's own
filter objects; it never encodes and never normalises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from csrkit.vectors import SparseVectors

__all__ = ["Hit", "Id", "Payload", "Store"]

Id: TypeAlias = int | str
Payload: TypeAlias = Mapping[str, Any]  # JSON object: what it holds is the caller's business


class Hit(NamedTuple):
    """One search result.

    Attributes:
        id: The id given to `Store.upsert`.
        score: Inner product of the query code and the stored code. With
            normalised codes it is their cosine, in [0, 1] for document codes.
        payload: The payload stored with the id, or None.
    """

    id: Id
    score: float
    payload: Payload | None = None


@runtime_checkable
class Store(Protocol):
    """Codes by id, searchable by inner product; the smallest set every engine can honour."""

    def upsert(
        self, ids: Sequence[Id], codes: SparseVectors, payloads: Sequence[Payload | None] | None = None
    ) -> None:
        """Insert or replace codes and payloads.

        Args:
            ids: One id per code: integers from 0 to 2**64 - 1, or strings.
            codes: Rows to store; an empty row is kept and never found.
            payloads: One JSON object per id, or None for no payloads.

        Raises:
            StoreError: If the store refuses; the message names the ids that failed.
        """
        ...

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product.

        Args:
            codes: Queries, one result list each.
            limit: Most hits per query, at least 1.
            filter: The vendor's own filter object, passed through.

        Returns:
            Hits by falling score. The lists are ragged: a document that shares
            no latent with the query is not a hit.

        Raises:
            StoreError: If the store fails.
        """
        ...

    def fetch(self, ids: Sequence[Id]) -> SparseVectors:
        """Return the stored codes of the ids, in their order.

        Args:
            ids: Ids that were upserted.

        Returns:
            One row per id.

        Raises:
            StoreError: If an id is not in the store; the message names it.
        """
        ...

    def delete(self, ids: Sequence[Id]) -> None:
        """Remove ids; those that are not there are ignored."""
        ...

    def count(self) -> int:
        """Return the exact number of stored ids."""
        ...
