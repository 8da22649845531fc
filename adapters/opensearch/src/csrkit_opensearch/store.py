"""`OpenSearchStore`: codes in an index of OpenSearch; not tested against a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import Hit
from csrkit.stores import adapter as checks
from csrkit.stores.adapter import Held, Holder, shown
from csrkit.stores.base import Ids, Payload
from csrkit.vectors import SparseVectors
from csrkit_opensearch import answers, rows
from csrkit_opensearch.index import Index

__all__ = ["OpenSearchStore"]


class OpenSearchStore(Holder):
    """Codes in an index of their own, which the first upsert makes.

    Filters are queries of OpenSearch, ``{"term": {"payload.lang": "en"}}``, over the payload's
    keys that ``fields`` declare. Scores are within 0.2%, for Lucene rounds stored values; `fetch`
    is exact.

    Args:
        client: opensearch-py's client.
        index: Name of the index; an alias of one index will do, once the index is there.
        create: Allow that the index is missing, for the first upsert to make it; False refuses.
        fields: Mapping of each key of the payloads that filters are to see, such as
            ``{"lang": {"type": "keyword"}}``; fixed when the index is made.
        codec: Fingerprint of the codec, ``model.fingerprint``; see `bind`.

    Raises:
        ConfigError: If an argument is none.
        StoreError: If OpenSearch fails, or the index is missing, somebody else's or has other
            fields.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        *,
        create: bool = True,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
        codec: str | None = None,
    ) -> None:
        if not isinstance(client, OpenSearch):
            raise ConfigError(
                f"expected a client, opensearchpy.OpenSearch(...), got {type(client).__name__}"
            )
        self._index = Index(client, index, fields or {})
        if self._refresh() is None and not create:
            raise StoreError(f"no index {index!r}: check the name, or let the first upsert make it")
        if codec is not None:
            self.bind(codec)

    def _refresh(self) -> Held | None:
        self._known = self._index.held()  # another process may have stored the first codes
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
        rows.check(checked)
        # each time: a bulk would make an index that is gone again, without the mapping
        if checked.ids and not self._refresh():
            self._index.make(self._noted(checked))
            self._refresh()
        checks.checked_held(checked, self._known)
        checks.checked_codec(self.codec, self._codec)
        self._index.write(checked)

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product; see `Store.search`."""
        checks.checked_limit(limit)
        checks.checked_dim(codes, self.dim)
        if filter is not None and not isinstance(filter, Mapping):
            raise ConfigError(
                'expected filter to be a query of OpenSearch such as {"term": {"payload.lang": '
                f'"en"}}}}, got {type(filter).__name__}'
            )
        if not (self._known or self._refresh()):
            return [[] for _ in codes]
        return self._index.search(codes, limit, filter)

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order; see `Store.fetch`."""
        return self.fetch_both(ids)[0]

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids; see `ResidualStore.fetch_residuals`."""
        return checks.kept_residuals(self.fetch_both(ids)[1])

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return codes and residuals, in one call per 500; see `ResidualStore.fetch_both`."""
        plain = checks.checked_ids(ids)
        held = self._known or self._refresh()
        if held is None:
            raise StoreError(f"cannot fetch {shown(plain)}: nothing was stored yet")
        width = held.residual_bytes
        found = checks.all_found(plain, self._index.read(plain, residuals=bool(width)))
        return answers.codes_of(found, held.dim), answers.residuals_of(
            found, width
        ) if width else None

    def delete(self, ids: Ids) -> None:
        """Remove ids; see `Store.delete`."""
        plain = checks.checked_ids(ids)
        if plain and (self._known or self._refresh()):
            self._index.delete(plain)

    def count(self) -> int:
        """Return the exact number of stored ids."""
        return self._index.count() if self._known or self._refresh() else 0
