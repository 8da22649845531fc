"""`QdrantHome`: a collection of a Qdrant server, through the vendor's client.

Reads are repeated while a failure may pass; a write is tried once, because the pace above
decides what to send next. Marks are kept in the collection's metadata, beside what
`csrkit.stores.QdrantStore` keeps there, so that the codes can be searched through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError
from qdrant_client import QdrantClient, models

from csrkit.collection.home import (
    Busy,
    CodeVector,
    Description,
    Marker,
    Page,
    PointId,
    id_order,
)
from csrkit.collection.homes._points import behind, hits_of, names_of, page_of, usable_page
from csrkit.collection.homes._server import Server
from csrkit.collection.homes._spelling import (
    dense_of,
    is_unreadable,
    mark_key,
    named_of,
    notes_of,
    points_of,
    vectors_of,
    version_of,
)
from csrkit.errors import ConfigError, StoreError
from csrkit.stores._address import Address, in_url
from csrkit.stores._collection import Collection
from csrkit.stores._ids import stored_id
from csrkit.stores._retry import Retry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from csrkit.stores.base import Hit
    from csrkit.vectors import SparseVectors

__all__ = ["QdrantHome"]

_IN_PLACE = (1, 18)  # the first version that adds a named vector to a collection


class QdrantHome:
    """A collection of a Qdrant server; see `csrkit.collection.home.Home`.

    Args:
        client: The vendor's client.
        collection: Name of the collection, or an alias of it.
        retry: How patiently reads are repeated.

    Raises:
        ConfigError: If the client is the asynchronous one, or there is no such collection.
        StoreError: If the server fails.
    """

    def __init__(
        self, client: QdrantClient, collection: str, *, retry: Retry | None = None
    ) -> None:
        if iscoroutinefunction(getattr(client, "upsert", None)):
            raise ConfigError(
                "expected a QdrantClient, got the asynchronous one: pass a QdrantClient"
            )
        self.client = client
        self.title = collection
        self.retry = retry or Retry()
        self._server = Server(client, collection, self.retry)
        self._is_own = False
        self._dims: dict[str, int] = {}  # of the dense vectors last seen
        if not self._server.call("look it up", lambda: client.collection_exists(collection)):
            raise ConfigError(f"no collection {collection!r} on this server: check the name")

    @classmethod
    def of(cls, url: str) -> Self:
        """Open ``qdrant://host:6333/collection``, the key in QDRANT_API_KEY.

        Args:
            url: The URL; ``qdrant+https://`` for TLS.

        Returns:
            The home, which closes its client.

        Raises:
            ConfigError: If the URL has other parts, or would send the key unencrypted.
            StoreError: If the server fails.
        """  # noqa: DOC502  # raised by helpers
        address = Address.of(url)
        home = cls(address.client(), address.collection)
        home._is_own = True
        return home

    # -- what there is --------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it is, without any secret."""
        return f"{self._server.address or 'qdrant://'}/{in_url(self.title)}"

    def _info(self) -> models.CollectionInfo:
        info = self._server.call(
            "read its settings", lambda: self.client.get_collection(self.title)
        )
        self._dims = {name: params.size for name, params in named_of(info).items()}
        return info

    def describe(self) -> Description:
        """Return what the collection is now; see `Home.describe`."""
        info = self._info()
        version = self._server.call("read its version", self.client.info).version
        whole = info.config.quantization_config
        return Description(
            engine="Qdrant",
            version=version,
            title=self.title,
            count=self._server.call(
                "count", lambda: self.client.count(self.title, exact=True)
            ).count,
            dense=tuple(dense_of(*one, whole) for one in sorted(named_of(info).items())),
            sparse=tuple(sorted(info.config.params.sparse_vectors or {})),
            payload_indexes=tuple(
                sorted((field, one.data_type.value) for field, one in info.payload_schema.items())
            ),
            aliases=tuple(self._server.aliases()),
            can_add_in_place=version_of(version) >= _IN_PLACE,
        )

    def ids(
        self, after: PointId | None = None, *, size: int = 4096, filter: Any = None
    ) -> Iterator[list[PointId]]:
        """List ids; see `Home.ids`."""
        return behind(self._scrolled(after, size, filter), after)

    def missing(
        self, name: str, after: PointId | None = None, *, size: int = 4096
    ) -> Iterator[list[PointId]]:
        """List the ids of points without the named vector; see `Home.missing`."""
        lacking = models.Filter(must_not=[models.HasVectorCondition(has_vector=name)])
        return behind(self._scrolled(after, size, lacking), after)

    def _scrolled(
        self, offset: PointId | None, size: int, keep: models.Filter | None
    ) -> Iterator[tuple[list[Any], Any]]:
        while True:
            records, following = self._scroll(offset, size, keep)
            yield records, following
            if following is None:
                return
            offset = stored_id(following)

    def _scroll(self, offset: PointId | None, size: int, keep: models.Filter | None) -> Any:
        return self._server.call(
            "list its ids",
            lambda: self.client.scroll(
                self.title,
                scroll_filter=keep,
                limit=size,
                offset=offset,
                with_payload=False,
                with_vectors=False,
            ),
        )

    def sample(self, n: int, vector: str, *, seed: int = 0) -> Page:
        """Let the server draw, which takes no seed; see `Home.sample`."""
        having = models.Filter(must=[models.HasVectorCondition(has_vector=vector)])
        answer = self._server.call(
            "draw a sample",
            lambda: self.client.query_points(
                self.title,
                query=models.SampleQuery(sample=models.Sample.RANDOM),
                query_filter=having,
                limit=n,
                with_payload=False,
            ),
        )
        ids = {stored_id(point.id) for point in answer.points}
        return usable_page(self, sorted(ids, key=id_order), vector)  # all points: one order

    # -- points -----------------------------------------------------------------------

    def read(
        self,
        ids: Sequence[PointId],
        *,
        vector: str | None = None,
        codes: CodeVector | None = None,
        payload: bool = False,
    ) -> Page:
        """Read points by id; see `Home.read`."""
        dense = None if vector is None else (vector, self._dim(vector))
        names = [*([] if vector is None else [vector]), *(names_of(codes) if codes else [])]
        return page_of(ids, self._records(list(ids), names, payload), dense, codes, payload)

    def _dim(self, vector: str) -> int:
        if vector not in self._dims:
            self._info()
        if vector not in self._dims:
            raise StoreError(f"collection {self.title!r} has no dense vector {vector!r} (any more)")
        return self._dims[vector]

    def _records(self, ids: list[PointId], names: list[str], payload: bool) -> list[Any]:
        """Read records; one that the client cannot parse, as JSON has no NaN, comes bare."""
        wanted: bool | list[str] = True if "" in names else names or False
        try:
            return self._server.call(
                f"read {len(ids)} points",
                lambda: self.client.retrieve(
                    self.title, ids, with_payload=payload, with_vectors=wanted
                ),
            )
        except StoreError as error:
            if not is_unreadable(error.__cause__):
                raise
        if len(ids) > 1:
            half = len(ids) // 2
            parts = (ids[:half], ids[half:])
            return [one for part in parts for one in self._records(part, names, payload)]
        return self._records(ids, [], payload) if names else []

    def add(self, codes: CodeVector) -> None:
        """Add the sparse vector; see `Home.add`."""
        config = self._info().config
        if codes.name not in (config.params.sparse_vectors or {}):
            kind = models.SparseVectorNameConfig(sparse=models.SparseVectorConfig())
            self._server.call(
                f"add the vector {codes.name!r} (servers before 1.18 cannot)",
                lambda: self.client.create_vector_name(self.title, codes.name, kind),
            )
            config = self._info().config
        if codes.residual_bytes:
            own = Collection(self.client, self.title, codes.name, self.retry)
            own.ensure_bytes(config, codes.residual_bytes)

    def write(self, codes: CodeVector, page: Page) -> list[PointId]:
        """Set codes on points that are there; see `Home.write`.

        Args:
            codes: The vector to set.
            page: Ids with codes, and residuals if the vector has them.

        Returns:
            Ids that do not exist (any more).

        Raises:
            Busy: If the server may take it later; part of it may be applied.
            StoreError: If the server refuses it for good.
        """  # noqa: DOC502  # raised by helpers
        points = points_of(codes, page)
        gone: list[PointId] = []
        while points:
            absent = self._put(points)
            if not absent:
                break
            gone += [stored_id(one.id) for one in points if stored_id(one.id) in absent]
            points = [one for one in points if stored_id(one.id) not in absent]
        return gone

    def _put(self, points: list[models.PointVectors]) -> set[PointId]:
        """Set vectors, or name points that are gone: the others are to be sent again."""
        try:
            self._server.write(
                f"set codes on {len(points)} points",
                lambda: self.client.update_vectors(self.title, points, wait=True),
            )
        except Busy:
            raise
        except StoreError:
            ids = {stored_id(one.id) for one in points}
            absent = ids - {stored_id(one.id) for one in self._records(list(ids), [], False)}
            if not absent:
                raise
            return absent
        return set()

    def drop(self, codes: CodeVector) -> None:
        """Remove the sparse vector and its residuals; see `Home.drop`."""
        info = self._info()
        there = {*(info.config.params.sparse_vectors or {}), *named_of(info)}
        for name in names_of(codes):
            if name in there:
                self._drop(name)

    def _drop(self, name: str) -> None:
        doing = f"remove the vector {name!r}"
        self._server.call(doing, lambda: self.client.delete_vector_name(self.title, name))

    # -- searching ----------------------------------------------------------------------

    def exact(
        self, queries: NDArray[np.float32], vector: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search a dense vector exactly; see `Home.exact`."""
        is_local = self._server.address is None  # always exact, and warns when asked to be
        exact = None if is_local else models.SearchParams(exact=True)
        return self._found(queries.tolist(), vector, limit, filter, exact)

    def sparse(
        self, queries: SparseVectors, name: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search the sparse vector; see `Home.sparse`."""
        return self._found(vectors_of(queries), name, limit, filter)

    def _found(
        self, queries: list[Any], using: str, limit: int, keep: Any, params: Any = None
    ) -> list[list[Hit]]:
        requests = [
            models.QueryRequest(
                query=query, using=using or None, limit=limit, filter=keep, params=params
            )
            for query in queries
        ]
        answers = self._server.call(
            f"search {using!r}", lambda: self.client.query_batch_points(self.title, requests)
        )
        return [hits_of(answer.points) for answer in answers]

    def matching(self, field: str, value: str | int | bool) -> Any:
        """Return a ``models.Filter``; see `Home.matching`."""
        match = models.MatchValue(value=value)
        return models.Filter(must=[models.FieldCondition(key=field, match=match)])

    # -- whose it is ----------------------------------------------------------------------

    def marker(self, name: str) -> Marker | None:
        """Return who added the sparse vector; see `Home.marker`."""
        found = (self._info().config.metadata or {}).get(mark_key(name))
        if found is None:
            return None
        try:
            return Marker.model_validate(found)
        except ValidationError as error:
            raise StoreError(
                f"collection {self.title!r}: the marker of {name!r} cannot be read: {error}"
            ) from error

    def mark(self, marker: Marker) -> None:
        """Write a marker, and what `QdrantStore` notes; see `Home.mark`."""
        self._note(notes_of(marker))

    def unmark(self, name: str) -> None:
        """Remove a marker; see `Home.unmark`."""
        self._note({mark_key(name): None, f"csrkit.{name}": None})  # null removes a key

    def _note(self, notes: dict[str, Any]) -> None:
        self._change("note whose the codes are", metadata=notes)

    def _change(self, doing: str, **settings: Any) -> None:
        self._server.call(doing, lambda: self.client.update_collection(self.title, **settings))

    # -- for good -------------------------------------------------------------------------

    def snapshot(self) -> str | None:
        """Take a snapshot; see `Home.snapshot`."""
        taken = self._server.call(
            "take a snapshot", lambda: self.client.create_snapshot(self.title)
        )
        return taken.name if taken else None

    def move_to_disk(self, vector: str) -> bool:
        """Keep a dense vector on disk; see `Home.move_to_disk`."""
        params = {vector: models.VectorParamsDiff(on_disk=True)}
        self._change(f"keep {vector!r} on disk", vectors_config=params)
        return True

    def drop_dense(self, vector: str) -> None:
        """Remove a dense vector; see `Home.drop_dense`."""
        self._dim(vector)  # refuse one that is not there
        self._drop(vector)
        self._dims.pop(vector)

    def disk_bytes(self) -> int | None:
        """Return None: a server does not tell; see `Home.disk_bytes`."""
        return None

    def close(self) -> None:
        """Close the client if it was opened here; see `Home.close`."""
        if self._is_own:
            self.client.close()
