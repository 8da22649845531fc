"""`Engine`: zvec's collection, its failures as csrkit's errors.

zvec raises for a whole call, and returns a status per document for the rest: both are checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import zvec
from zvec import Collection, HnswIndexParam, HnswQueryParam, Status, StatusCode

from csrkit.errors import StoreError
from csrkit.stores import Hit
from csrkit.stores.adapter import Upsert, shown
from csrkit_zvec.keys import key_of
from csrkit_zvec.rows import CODE, DATA, RESIDUAL, check, documents, hits

__all__ = ["Engine"]

_BATCH = 1000  # documents per call; zvec takes 1024
_MOST = 100_000  # hits of one query


class Engine:
    """A collection in a folder; its fields are those of the payload that filters see."""

    def __init__(self, folder: Path, collection: Collection) -> None:
        self.folder, self.collection, self._is_open = folder, collection, True
        fields = {field.name: field.data_type for field in collection.schema.fields}
        self.fields = {name: fields[name] for name in fields.keys() - {DATA, RESIDUAL}}
        is_graph = isinstance(collection.schema.vectors[0].index_param, HnswIndexParam)
        self._exact = HnswQueryParam(is_linear=True) if is_graph else None

    @contextmanager
    def reported(self, doing: str) -> Iterator[None]:
        """Turn what zvec raises into StoreError; it has no errors of its own."""
        if not self._is_open:
            raise StoreError(f"{self.folder}: cannot {doing}: the store is closed")
        try:
            yield
        except (ValueError, TypeError, RuntimeError) as error:
            raise StoreError(f"{self.folder}: cannot {doing}: {error}") from error

    def write(self, upsert: Upsert) -> None:
        """Insert or replace documents, in batches."""
        for batch, doing in upsert.batches(_BATCH):
            with self.reported(doing):
                self._write(batch)

    def _write(self, batch: Upsert) -> None:
        docs = documents(batch, self.fields)
        if batch.payloads is not None:
            _failed(batch.ids, self.collection.upsert(docs))
            return
        old = _failed(batch.ids, self.collection.insert(docs), but=StatusCode.ALREADY_EXISTS)
        for row in old:
            del docs[row].fields[DATA]  # what an update leaves out stays as it is
        if old:
            ids = [batch.ids[row] for row in old]
            _failed(ids, self.collection.update([docs[row] for row in old]))

    def check(self, upsert: Upsert) -> None:
        """Refuse what would fail in a batch after others were stored."""
        check(upsert, self.fields)

    def hits(self, weights: dict[int, float], limit: int, keep: str | None) -> list[Hit]:
        """Find what shares a latent with a query, spelled latent to weight."""
        if not weights:
            return []
        # no graph is for negative weights: what shares nothing with the query is nearer then
        signed = min(weights.values()) < 0
        query = zvec.Query(CODE, vector=weights, param=self._exact if signed else None)
        top = limit if limit <= _MOST else min(limit, max(1, self.count))
        found = self.collection.query(query, topk=top, filter=keep, output_fields=[DATA])
        if signed and not all(doc.score for doc in found):
            # what shares nothing may stand before negative scores
            most = max(top, self.count)
            found = self.collection.query(query, topk=most, filter=keep, output_fields=[DATA])
        return hits([doc for doc in found if doc.score][:limit])

    def read(self, ids: Sequence[int | str], *, residuals: bool) -> dict[int | str, zvec.Doc]:
        """Return the documents of those of the ids that are there."""
        keys = {one: key_of(one) for one in ids}
        with self.reported(f"fetch {shown(ids)}"):
            fields = [RESIDUAL] if residuals else []
            found = self.collection.fetch(list(keys.values()), output_fields=fields)
        return {one: found[key] for one, key in keys.items() if key in found}

    def delete(self, ids: Sequence[int | str]) -> None:
        """Remove those of the ids that are there."""
        with self.reported(f"delete {shown(ids)}"):
            statuses = self.collection.delete(list(map(key_of, ids)))
            _failed(ids, statuses, but=StatusCode.NOT_FOUND)

    @property
    def count(self) -> int:
        """Number of documents."""
        return int(self.collection.stats.doc_count)

    def close(self) -> None:
        """Flush and release the folder; a second time does nothing."""
        if self._is_open:
            with self.reported("close"):
                self.collection.close()
            self._is_open = False


def _failed(
    ids: Sequence[int | str], statuses: Sequence[Status], but: StatusCode | None = None
) -> list[int]:
    """Return the rows whose status is ``but``; RuntimeError for one that failed otherwise."""
    failed = [row for row, status in enumerate(statuses) if not status.ok()]
    for row in failed:
        if statuses[row].code() != but:
            raise RuntimeError(f"id {ids[row]!r}: {statuses[row].message()}")
    return failed
