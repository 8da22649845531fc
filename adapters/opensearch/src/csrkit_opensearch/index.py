"""`Index`: an index behind opensearch-py's client, its failures as csrkit's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opensearchpy import OpenSearch, RequestError
from opensearchpy.exceptions import OpenSearchException

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import Hit
from csrkit.stores.adapter import Held, Upsert, shown, uuid_of
from csrkit.vectors import SparseVectors
from csrkit_opensearch import answers, rows
from csrkit_opensearch.answers import failed, reason_of
from csrkit_opensearch.notes import META, Note

__all__ = ["Index"]

_BATCH = 500  # documents or queries per call
_WINDOW = 10_000  # hits of one query, ``index.max_result_window`` unless it was changed
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,254}")  # one index: no pattern, list or option


class Index:
    """An index that may be missing; its fields are those of the payload that filters see."""

    def __init__(self, client: OpenSearch, name: str, fields: Mapping[str, Any]) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                "expected the name of one index, lower-case letters, digits and . _ + -, "
                f"got {name!r}"
            )
        if not all(re.fullmatch(r"[^.\s]+", key) for key in fields):
            raise ConfigError(f"expected names of fields without dots and spaces, got {[*fields]}")
        self.client, self.name, self._asked, self.fields = client, name, fields, dict(fields)

    @contextmanager
    def reported(self, doing: str) -> Iterator[None]:
        """Turn what the client raises, and what `failed` finds, into StoreError."""
        try:
            yield
        except (OpenSearchException, RuntimeError) as error:
            said = getattr(error, "info", None)  # by the server, if it was reached
            why = reason_of(said["error"]) if isinstance(said, Mapping) else error
            raise StoreError(f"index {self.name!r}: cannot {doing}: {why}") from error

    def held(self) -> Held | None:
        """Read what the first upsert fixed; None if there is no index yet."""
        with self.reported("read its mapping"):
            found = self.client.indices.get_mapping(index=self.name, ignore=404)  # unlogged
        if found.get("status") == 404:
            return None
        if len(found) != 1:
            raise StoreError(f"expected one index, got the alias {self.name!r} of {sorted(found)}")
        (mapping,) = (one["mappings"] for one in found.values())
        held = Note.held(self.name, mapping)
        there = mapping["properties"].get("payload", {}).get("properties", {})
        kinds, asked = _kinds(there), _kinds(self._asked)
        if not kinds.items() >= asked.items():
            raise StoreError(
                f"the index {self.name!r} was made with the fields {kinds}, got {asked}: "
                "fill a new index"
            )
        self.fields = dict(there)
        return held

    def make(self, held: Held) -> None:
        """Make the index, unless another process was quicker."""
        note = {META: Note(**held._asdict()).model_dump()}
        with self.reported("make it"):
            try:
                body = {"mappings": rows.mappings(note, self._asked)}
                self.client.indices.create(index=self.name, body=body)
            except RequestError as error:
                if error.error != "resource_already_exists_exception":
                    raise

    def write(self, upsert: Upsert) -> None:
        """Insert or replace documents, in batches; the next search sees them."""
        for batch, doing in upsert.batches(_BATCH):
            with self.reported(doing):
                keys = list(map(uuid_of, batch.ids)) if batch.payloads is None else []
                kept = {key: answers.payload(one) for key, one in self._get(keys, "csrkit").items()}
                documents = rows.documents(batch, self.fields, kept)
                lines = [
                    x for key, one in documents.items() for x in ({"index": {"_id": key}}, one)
                ]
                failed(self.client.bulk(index=self.name, body=lines, refresh=True), batch.ids)

    def _get(self, keys: Sequence[str], *fields: str) -> dict[str, Mapping[str, Any]]:
        if not keys:
            return {}
        body = {"ids": list(keys)}
        found = self.client.mget(index=self.name, body=body, _source_includes=",".join(fields))
        return {one["_id"]: one["_source"] for one in found["docs"] if one.get("found")}

    def search(
        self, codes: SparseVectors, limit: int, keep: Mapping[str, Any] | None
    ) -> list[list[Hit]]:
        """Find what shares a latent with each query."""
        if not codes.is_nonnegative:
            raise StoreError(
                f"index {self.name!r}: cannot search: OpenSearch refuses negative weights"
            )
        size = limit if limit <= _WINDOW else min(limit, max(1, self.count()))
        rest = {"size": size, "_source": ["csrkit"], "track_total_hits": False}
        found: list[list[Hit]] = [[] for _ in codes]
        asked = [(row, code) for row, code in enumerate(codes) if code.nnz]
        for start in range(0, len(asked), _BATCH):
            part = asked[start : start + _BATCH]
            lines = [x for _, code in part for x in ({}, {"query": rows.query(code, keep), **rest})]
            with self.reported("search"):
                found_by = self.client.msearch(index=self.name, body=lines)["responses"]
                for (row, _), answer in zip(part, found_by, strict=True):
                    if "error" in answer:
                        raise RuntimeError(reason_of(answer["error"]))
                    found[row] = [answers.hit(one) for one in answer["hits"]["hits"]]
        return found

    def read(self, ids: Sequence[int | str], *, residuals: bool) -> dict[int | str, Any]:
        """Return the documents of those of the ids that are there."""
        keys = {uuid_of(one): one for one in ids}
        every, found = list(keys), {}
        fields = ["exact", *(["residual"] if residuals else [])]
        with self.reported(f"fetch {shown(ids)}"):
            for start in range(0, len(every), _BATCH):
                for key, one in self._get(every[start : start + _BATCH], *fields).items():
                    found[keys[key]] = one
        return found

    def delete(self, ids: Sequence[int | str]) -> None:
        """Remove those of the ids that are there."""
        with self.reported(f"delete {shown(ids)}"):
            for start in range(0, len(ids), _BATCH):
                part = ids[start : start + _BATCH]
                lines = [{"delete": {"_id": uuid_of(one)}} for one in part]
                failed(self.client.bulk(index=self.name, body=lines, refresh=True), part)

    def count(self) -> int:
        """Count the documents."""
        with self.reported("count"):
            return int(self.client.count(index=self.name)["count"])


def _kinds(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one.get("type") for name, one in fields.items()}
