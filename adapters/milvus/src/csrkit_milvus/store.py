"""`MilvusStore`: codes in a collection of Milvus, a server, Zilliz Cloud or Milvus Lite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import Hit
from csrkit.stores import adapter as checks
from csrkit.stores.adapter import Held, Holder, shown
from csrkit.stores.base import Ids, Payload
from csrkit.vectors import SparseVectors
from csrkit_milvus import rows
from csrkit_milvus.collection import Collection

__all__ = ["MilvusStore"]


class MilvusStore(Holder):
    """Codes in a collection of their own, which the first upsert makes.

    Filters are Milvus's expressions, ``'payload["lang"] == "en"'``.

    Args:
        client: pymilvus's client, or the address of one to be closed by `close`:
            ``http://host:19530``, or a file of Milvus Lite such as ``index.db``.
        collection: Name of the collection.
        create: Allow that it is missing, for the first upsert to make it; False refuses.
        drop_ratio: Share of the smallest weights of a query that a search leaves out,
            ``drop_ratio_search``. It is meant for the long tails of learned term weights; codes
            have none, so anything above 0 costs them much recall: choose a smaller k instead.
        codec: Fingerprint of the codec, ``model.fingerprint``; see `bind`.

    Raises:
        ConfigError: If an argument is out of its range.
        StoreError: If Milvus fails, or the collection is missing or somebody else's.
    """

    def __init__(
        self,
        client: MilvusClient | str,
        collection: str,
        *,
        create: bool = True,
        drop_ratio: float = 0.0,
        codec: str | None = None,
    ) -> None:
        if not isinstance(drop_ratio, int | float) or not 0 <= drop_ratio < 1:
            raise ConfigError(f"expected drop_ratio from 0 to below 1, got {drop_ratio!r}")
        if not isinstance(client, MilvusClient | str) or not isinstance(collection, str):
            raise ConfigError(
                "expected a pymilvus.MilvusClient or its address, and the name of a collection, "
                f"got {type(client).__name__} and {collection!r}"
            )
        self._is_own = isinstance(client, str)
        self._collection = Collection(client, collection, drop_ratio)
        try:
            if self._refresh() is None and not create:
                raise StoreError(
                    f"no collection {collection!r}: check the name, or let the first upsert make it"
                )
            if codec is not None:
                self.bind(codec)
        except BaseException:
            self.close()
            raise

    def _refresh(self) -> Held | None:
        self._known = self._collection.held()  # another process may have stored the first codes
        return self._known

    def upsert(
        self,
        ids: Ids,
        codes: SparseVectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        residuals: NDArray[np.uint8] | None = None,
    ) -> None:
        """Insert or replace codes, payloads and residuals; see `ResidualStore.upsert`."""
        checked = checks.checked_upsert(ids, codes, payloads, self._known, residuals)
        if checked.ids and not (self._known or self._refresh()):
            self._collection.make(self._noted(checked))
            self._refresh()
        checks.checked_held(checked, self._known)
        checks.checked_codec(self.codec, self._codec)
        self._collection.write(checked)

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: str | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product; see `Store.search`."""
        checks.checked_limit(limit)
        checks.checked_dim(codes, self.dim)
        if filter is not None and not isinstance(filter, str):
            raise ConfigError(
                'expected filter to be an expression of Milvus such as \'payload["lang"] == '
                f'"en"\', got {type(filter).__name__}'
            )
        if not (self._known or self._refresh()):
            return [[] for _ in codes]
        return self._collection.search(codes, limit, filter or "")

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order; see `Store.fetch`."""
        return self.fetch_both(ids)[0]

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids; see `ResidualStore.fetch_residuals`."""
        return checks.kept_residuals(self.fetch_both(ids)[1])

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return codes and residuals, in one call per 1,000; see `ResidualStore.fetch_both`."""
        plain = checks.checked_ids(ids)
        held = self._known or self._refresh()
        if held is None:
            raise StoreError(f"cannot fetch {shown(plain)}: nothing was stored yet")
        width = held.residual_bytes
        found = checks.all_found(plain, self._collection.read(plain, residuals=bool(width)))
        return rows.codes_of(found, held.dim), rows.residuals_of(found, width) if width else None

    def delete(self, ids: Ids) -> None:
        """Remove ids; see `Store.delete`."""
        plain = checks.checked_ids(ids)
        if plain and (self._known or self._refresh()):
            self._collection.delete(plain)

    def count(self) -> int:
        """Return the exact number of stored ids."""
        return self._collection.count() if self._known or self._refresh() else 0

    def close(self) -> None:
        """Close the client, if the store opened it."""
        if self._is_own:
            self._collection.client.close()
