"""`QdrantStore`: a named sparse vector in a collection of a Qdrant server or cluster.

It takes the vendor's own client and never owns the collection: it makes a
missing one, adds its named vector to an existing one, and neither recreates nor
deletes anything that it did not make. Where a collection has other vectors,
points are shared with somebody else, so an upsert leaves the other vectors as
they are and a delete removes the code, not the point.

Not run against a real server by csrkit's own tests, which have none: they run
the real client over HTTP against the real engine behind a stand-in for the
server's REST layer. gRPC (``prefer_grpc=True``) has not been run at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import iscoroutinefunction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import QdrantClient, models

from csrkit.errors import ConfigError
from csrkit.stores._address import Address
from csrkit.stores._checks import Held, Upsert, checked_codec, checked_held, checked_upsert
from csrkit.stores._collection import Collection
from csrkit.stores._ids import checked_ids, point_id, shown, stored_id, with_id
from csrkit.stores._points import First, PointStore, Second, residual_name
from csrkit.stores._retry import Retry
from csrkit.stores.base import Ids, Payload
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.stores._marker import Datatype

__all__ = ["QdrantStore", "Retry", "open_url"]


class QdrantStore(PointStore[models.Filter]):
    """Codes in a collection of a Qdrant server, through the vendor's client.

    Strings that are no UUIDs are kept under a UUIDv5, with the string in the
    payload under ``"csrkit_id"``, a key that payloads may not use. The width and
    codec of the codes are kept in the collection's metadata under ``"csrkit.<name>"``, and
    residuals in a second vector, ``"<name>_residual"``, of bytes, without a graph.

    Filters are ``qdrant_client.models.Filter``.

    Calls are repeated while a failure may pass (no connection, timeout, 408,
    429, 500, 502 to 504), waiting as `Retry` says and at least as long as the
    server's Retry-After. Every call is harmless to repeat.

    Args:
        client: A ``QdrantClient``. Its timeout (5 s unless set) holds per batch.
        collection: Name of the collection; made if missing.
        create: Make a missing collection, and add the vector to one without it;
            False refuses.
        name: Name of the sparse vector; added to a collection without it.
        on_disk: Keep the postings on disk. None: as is, in memory if made here.
        datatype: Values in the postings. None: as is, float32 if made here.
        codec: Fingerprint of the codec, ``model.fingerprint``: another codec's codes
            are refused, and the first upsert notes it in the metadata; see `bind`.
        batch_size: Points or queries per request. 256 codes of 32 latents are
            about 200 kB of JSON; larger means fewer requests, longer timeouts.
        retry: How often and how patiently to repeat.

    Raises:
        ConfigError: If the client is the asynchronous one, or a setting is out
            of its range.
        StoreError: If the server fails, the collection has a vector of this name
            that is dense, has a modifier, has other settings or another codec's
            codes, or something is missing and may not be made.

    Examples:
        >>> from qdrant_client import QdrantClient
        >>> codes = SparseVectors.from_dense([[0.6, 0.8, 0], [0, 0, 1]])
        >>> store = QdrantStore(QdrantClient(":memory:"), "docs")
        >>> store.upsert([1, 2], codes, [{"lang": "en"}, None])
        >>> store.search(codes[1])
        [[Hit(id=2, score=1.0, payload=None)]]
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        *,
        create: bool = True,
        name: str = "csr",
        on_disk: bool | None = None,
        datatype: Datatype | None = None,
        codec: str | None = None,
        batch_size: int = 256,
        retry: Retry | None = None,
    ) -> None:
        super().__init__()
        if iscoroutinefunction(getattr(client, "upsert", None)):
            raise ConfigError(
                "expected a QdrantClient, got the asynchronous one: pass a QdrantClient"
            )
        if not name or batch_size < 1:
            raise ConfigError(
                f"expected a name and a batch_size from 1, got {name=}, {batch_size=}"
            )
        self._name = name
        self._batch_size = batch_size
        self._home = Collection(client, collection, name, retry or Retry())
        self._home.ensure(on_disk, datatype, create=create)
        self._refreshed()
        if codec is not None:
            self.bind(codec)

    def upsert(
        self,
        ids: Ids,
        codes: SparseVectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        residuals: NDArray[np.uint8] | None = None,
    ) -> None:
        """Insert or replace codes, payloads and residuals; see `ResidualStore.upsert`.

        Returns when the server has applied it, so that a search finds it. Other
        named vectors of a point are kept.

        Args:
            ids: One id per code, each once.
            codes: Rows to store.
            payloads: One JSON object or None per id, which replaces the whole
                payload of the point; left out, points keep theirs.
            residuals: uint8 (n, width), or None; as the first upsert had it.

        Raises:
            ShapeError: If the numbers or the widths do not match.
            StoreError: If an id or payload is refused, or the server fails for
                good; the message names the ids of the batch that failed and how
                many, in the order given, are stored.
        """
        checked = checked_upsert(ids, codes, payloads, self._known, residuals)
        if not checked.ids:
            return
        config = self._home.config()  # anew each time: a dense vector may have been added since
        self._note(checked, config)
        whole = checked.payloads is not None and not self._home.is_shared(config)
        send = self._send_whole if whole else self._send_code
        for batch, doing in checked.batches(self._batch_size):
            send(batch, doing)

    def _note(self, upsert: Upsert, config: models.CollectionConfig) -> None:
        """Note the widths if this is the first upsert; another process may have been first."""
        self._known = self._home.held(config)
        if self._known is None:
            self._known = self._noted(upsert)
            self._home.note(self._known)
        checked_held(upsert, self._known)
        checked_codec(self._known.codec, self._codec)
        if self._known.residual_bytes:
            self._home.ensure_bytes(config, self._known.residual_bytes)

    def _points(self, batch: Upsert) -> list[models.PointStruct]:
        payloads = batch.payloads or [{}] * len(batch.ids)
        rows = zip(batch.ids, self._named(_vectors(batch.codes), batch), payloads, strict=True)
        return [
            models.PointStruct(id=point_id(one), vector=vector, payload=with_id(one, payload))
            for one, vector, payload in rows
        ]

    def _send_whole(self, batch: Upsert, doing: str) -> None:
        points = self._points(batch)
        self._home.write(
            doing, lambda: [self._home.client.upsert(self._home.title, points, wait=True)]
        )

    def _send_code(self, batch: Upsert, doing: str) -> None:
        """Make points that are missing, then set the code of all; replace payloads if given.

        A point that somebody else makes between the look-up and the write keeps
        its other vectors (insert_only) and gets its code all the same.
        """
        points = self._points(batch)
        there = self._there([point.id for point in points], doing)
        bare = [p.model_copy(update={"vector": {}}) for p in points if p.id not in there]
        steps: list[Any] = []
        if bare:
            made = models.PointsList(points=bare, update_mode=models.UpdateMode.INSERT_ONLY)
            steps.append(models.UpsertOperation(upsert=made))
        vectors = [models.PointVectors(id=p.id, vector=p.vector) for p in points]
        coded = models.UpdateVectors(points=vectors)
        steps.append(models.UpdateVectorsOperation(update_vectors=coded))
        for point in points if batch.payloads is not None else []:
            if point.id in there:
                payload = models.SetPayload(points=[point.id], payload=point.payload or {})
                steps.append(models.OverwritePayloadOperation(overwrite_payload=payload))
        client, collection = self._home.client, self._home.title
        self._home.write(doing, lambda: client.batch_update_points(collection, steps, wait=True))

    def _there(self, points: list[Any], doing: str) -> set[Any]:
        """Return those of the engine's ids that the collection has."""
        return {stored_id(record.id) for record in self._retrieve(points, [], doing)}

    def _ask(
        self, codes: SparseVectors, first: First[models.Filter], second: Second | None = None
    ) -> list[Any]:
        found: list[Any] = [[] for _ in range(len(codes))]
        asked = np.flatnonzero(codes.counts)  # an empty code finds nothing
        for start in range(0, len(asked), self._batch_size):
            rows = asked[start : start + self._batch_size].tolist()
            for row, answer in zip(rows, self._answers(codes, rows, first, second), strict=True):
                found[row] = answer.points
        return found

    def _answers(
        self, codes: SparseVectors, rows: list[int], first: First[models.Filter], second: Any
    ) -> list[models.QueryResponse]:
        def ask() -> list[models.QueryResponse]:
            batch = zip(rows, _vectors(codes[rows]), strict=True)
            requests = [self._request(code, row, first, second) for row, code in batch]
            return self._home.client.query_batch_points(self._home.title, requests)

        return self._home.call("search", ask)

    def _request(
        self,
        code: models.SparseVector,
        row: int,
        first: First[models.Filter],
        second: Second | None,
    ) -> models.QueryRequest:
        near: dict[str, Any] = {"query": code, "using": self._name, "limit": first.limit}
        if second is None:
            return models.QueryRequest(
                **near,
                filter=first.filter,
                with_payload=not first.vectors,
                with_vector=list(first.vectors) or False,
            )
        prefetch = models.Prefetch(**near, filter=first.filter, score_threshold=first.least)
        return models.QueryRequest(
            prefetch=prefetch,
            query=second.rows[row].tolist(),
            using=second.vector or None,
            limit=second.limit,
            with_payload=True,
        )

    def _dense_sizes(self) -> dict[str, int]:
        return self._home.dense_sizes(self._home.config())

    def _refreshed(self) -> Held | None:
        self._known = self._home.held(self._home.config())
        return self._known

    def _retrieve(
        self, points: list[Any], names: list[str], doing: str, *, payloads: bool = False
    ) -> list[Any]:
        return self._home.call(
            doing,
            lambda: self._home.client.retrieve(
                self._home.title, points, with_payload=payloads, with_vectors=names or False
            ),
        )

    def delete(self, ids: Ids) -> None:
        """Remove ids; those that are not there are ignored.

        In a collection with other vectors the code is removed and the point,
        with its payload and other vectors, stays: it is not only csrkit's.

        Args:
            ids: Ids to remove.

        Raises:
            StoreError: If an entry is no id, or the server fails.
        """
        plain = checked_ids(ids)
        shared = bool(plain) and self._home.is_shared(self._home.config())
        for start in range(0, len(plain), self._batch_size):
            batch = plain[start : start + self._batch_size]
            self._delete(list(map(point_id, batch)), shared, f"delete {shown(batch)}")

    def _delete(self, points: list[Any], shared: bool, doing: str) -> None:
        client, collection = self._home.client, self._home.title
        if not shared:
            self._home.write(doing, lambda: [client.delete(collection, points, wait=True)])
            return
        there = list(self._there(points, doing))  # the engine refuses codes of unknown points
        if there:
            names = [self._name]
            if self.residual_bytes:
                names.append(residual_name(self._name))
            self._home.write(
                doing, lambda: [client.delete_vectors(collection, names, there, wait=True)]
            )

    def count(self) -> int:
        """Return the exact number of stored ids: points that have a code."""
        coded = models.Filter(must=[models.HasVectorCondition(has_vector=self._name)])
        answer = self._home.call(
            "count",
            lambda: self._home.client.count(self._home.title, count_filter=coded, exact=True),
        )
        return answer.count


def _vectors(codes: SparseVectors) -> list[models.SparseVector]:
    """Spell each row as the vendor's type; lists are cut from one conversion for speed."""
    bounds = codes.indptr.tolist()
    indices, values = codes.indices.tolist(), codes.values.tolist()
    return [
        models.SparseVector(indices=indices[start:stop], values=values[start:stop])
        for start, stop in pairwise(bounds)
    ]


def open_url(url: str, *, create: bool = False) -> QdrantStore:
    """Open ``qdrant://host:6333/collection``, or ``qdrant+https://`` for TLS.

    The API key is read from the environment variable QDRANT_API_KEY alone, and
    is never sent in the clear to another machine.

    Args:
        url: Host, port (6333 if left out) and collection.
        create: Make the collection, or its vector, if it is missing.

    Returns:
        The store.

    Raises:
        ConfigError: If the URL has other parts or lacks one, or would send the
            key unencrypted.
    """
    address = Address.of(url)
    return QdrantStore(address.client(), address.collection, create=create)
