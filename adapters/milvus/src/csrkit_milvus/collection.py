"""`Collection`: a collection behind pymilvus's client, its failures as csrkit's errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pymilvus import MilvusClient, MilvusException
from pymilvus.client.types import LoadState

from csrkit.errors import StoreError
from csrkit.stores import Hit
from csrkit.stores.adapter import Held, Upsert, shown, uuid_of
from csrkit.vectors import SparseVectors
from csrkit_milvus import rows
from csrkit_milvus.notes import NOTE, Note

__all__ = ["Collection"]

_BATCH = 1000  # rows or queries per call
_MOST = 16_384  # hits of one query that a server returns


class Collection:
    """A collection that may be missing."""

    def __init__(self, client: MilvusClient | str, name: str, drop_ratio: float) -> None:
        self.name = name
        self._params = {"metric_type": "IP", "params": {"drop_ratio_search": float(drop_ratio)}}
        is_file = isinstance(client, str) and "://" not in client
        alone = f"open {client}, which one process at a time can"
        with self.reported(alone if is_file else "connect"):
            self.client = MilvusClient(client) if isinstance(client, str) else client

    @contextmanager
    def reported(self, doing: str) -> Iterator[None]:
        """Turn what pymilvus raises into StoreError."""
        try:
            yield
        except (MilvusException, ValueError, TypeError, ConnectionError) as error:
            why = error.message if isinstance(error, MilvusException) else error
            raise StoreError(f"collection {self.name!r}: cannot {doing}: {why}") from error

    def held(self) -> Held | None:
        """Read what the first upsert fixed, and load it; None if there is no collection yet."""
        with self.reported("read its description"):
            if not self.client.has_collection(self.name):
                return None
            found: dict[str, Any] = self.client.describe_collection(self.name)
        held = Note.held(self.name, found)
        with self.reported("load it"):  # Milvus Lite opens a file with nothing loaded
            if self.client.get_load_state(self.name)["state"] != LoadState.Loaded:
                self.client.load_collection(self.name)
        return held

    def make(self, held: Held) -> None:
        """Make the collection; what is written is seen by the next search."""
        with self.reported("make it"):
            note = Note(**held._asdict()).model_dump_json()
            index = self.client.prepare_index_params()
            index.add_index("code", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
            self.client.create_collection(
                self.name,
                schema=rows.schema(note, held.residual_bytes),
                index_params=index,
                consistency_level="Strong",
                properties={NOTE: note},
            )

    def write(self, upsert: Upsert) -> None:
        """Insert or replace rows, in batches."""
        for batch, doing in upsert.batches(_BATCH):
            with self.reported(doing):
                keys = list(map(uuid_of, batch.ids)) if batch.payloads is None else []
                old = self._get(keys, ["id", "payload"])
                kept = {row["id"]: row["payload"] for row in old}
                self.client.upsert(self.name, rows.rows_of(batch, kept))

    def _get(self, keys: Sequence[str], fields: list[str]) -> list[Mapping[str, Any]]:
        return list(self.client.get(self.name, ids=keys, output_fields=fields)) if keys else []

    def search(self, codes: SparseVectors, limit: int, keep: str) -> list[list[Hit]]:
        """Find what shares a latent with each query."""
        found: list[list[Hit]] = [[] for _ in codes]
        asked = np.flatnonzero(codes.counts)
        top = limit if limit <= _MOST else min(limit, max(1, self.count()))
        for start in range(0, len(asked), _BATCH):
            part = asked[start : start + _BATCH]
            with self.reported("search"):
                answers = self.client.search(
                    self.name,
                    rows.spelled(codes[part]),
                    anns_field="code",
                    limit=top,
                    filter=keep,
                    output_fields=["csrkit_id", "payload"],
                    search_params=self._params,
                )
            for row, hits in zip(part.tolist(), answers, strict=True):
                found[row] = [rows.hit(one) for one in hits if one["distance"]]
        return found

    def read(self, ids: Sequence[int | str], *, residuals: bool) -> dict[int | str, Any]:
        """Return the rows of those of the ids that are there."""
        keys = {uuid_of(one): one for one in ids}
        every, found = list(keys), {}
        fields = ["id", "code", *(["csrkit_residual"] if residuals else [])]
        with self.reported(f"fetch {shown(ids)}"):
            for start in range(0, len(every), _BATCH):
                for row in self._get(every[start : start + _BATCH], fields):
                    found[keys[row["id"]]] = row
        return found

    def delete(self, ids: Sequence[int | str]) -> None:
        """Remove those of the ids that are there."""
        with self.reported(f"delete {shown(ids)}"):
            self.client.delete(self.name, ids=list(map(uuid_of, ids)))

    def count(self) -> int:
        """Count the rows."""
        with self.reported("count"):
            found = self.client.query(self.name, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"])
