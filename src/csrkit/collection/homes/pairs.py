"""`QdrantPair`: a collection of a Qdrant server, and its copy on the same server.

The copy is made in one call with its marker in its metadata, which servers keep from 1.16
on, so there is no moment in which nothing says whose it is. A call to make a collection
never replaces one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import models

from csrkit.collection.copies.pair import Whole
from csrkit.collection.home import CodeVector, Home, Marker, Page, PointId
from csrkit.collection.homes._copied import (
    digest_of,
    has_null,
    named,
    not_copied,
    point_of,
    readable,
    same_vectors,
    settings_of,
    tolerances,
)
from csrkit.collection.homes._points import names_of, page_of
from csrkit.collection.homes._server import Server
from csrkit.collection.homes._spelling import (
    mark_key,
    named_of,
    points_of,
    version_of,
)
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.errors import ConfigError, StoreError
from csrkit.stores._ids import stored_id
from csrkit.stores._retry import Retry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client import QdrantClient

__all__ = ["QdrantPair", "original_of"]

_METADATA = (1, 16)  # the first version that keeps metadata of a collection
_LONGEST = 255  # characters of a collection's name
_ROWS = 32  # of a vector that holds several, as a guess


def original_of(home: QdrantHome) -> str:
    """Return the name of the collection that a home opened, perhaps by an alias.

    Args:
        home: The home.

    Returns:
        Its name, which is no alias.
    """
    return Server(home.client, home.title, home.retry).name()


class QdrantPair:
    """A collection and its copy; see `csrkit.collection.copies.pair.Pair`.

    Args:
        client: The vendor's client.
        original: Name of the collection.
        title: Name of the copy.
        retry: How patiently reads are repeated.
    """

    def __init__(
        self, client: QdrantClient, original: str, title: str, *, retry: Retry | None = None
    ) -> None:
        self.client = client
        self.original = original
        self.title = title
        self._retry = retry or Retry()
        self._from = Server(client, original, self._retry)
        self._to = Server(client, title, self._retry)

    # -- the two --------------------------------------------------------------------

    def source(self) -> Home:
        """Return the original; see `Pair.source`."""
        return QdrantHome(self.client, self.original, retry=self._retry)

    def has_source(self) -> bool:
        """Tell whether the original is there; see `Pair.has_source`."""
        return self._from.call("look it up", lambda: self.client.collection_exists(self.original))

    def copy(self) -> Home | None:
        """Return the copy, None without one; see `Pair.copy`."""
        found = self._to.call("look it up", lambda: self.client.collection_exists(self.title))
        return QdrantHome(self.client, self.title, retry=self._retry) if found else None

    def rivals(self, name: str) -> list[str]:
        """Return the names of other copies; see `Pair.rivals`."""
        known = self._from.call("list the collections", self.client.get_collections).collections
        prefix = f"{self.original}__csrkit_"
        others = [one.name for one in known if one.name.startswith(prefix)]
        return [
            other
            for other in sorted(others)
            if other != self.title
            and mark_key(name) in (_info(self._to, other).config.metadata or {})
        ]

    @cached_property
    def _settings(self) -> models.CollectionInfo:
        """Those of the original, which decide how points are read and compared."""
        return _info(self._from, self.original)

    @cached_property
    def _tolerances(self) -> dict[str, float]:
        return tolerances(self._settings)

    # -- making it ------------------------------------------------------------------

    def check(self, *, residuals: bool) -> None:
        """Refuse an original that cannot be copied as it is; see `Pair.check`."""
        params = self._settings.config.params
        version = self._from.call("read its version", self.client.info).version
        if version_of(version) < _METADATA:
            raise ConfigError(
                f"Qdrant {version} keeps no metadata of a collection, which would say whose a "
                "copy is, and which 1.16 and later do: upgrade the server"
            )
        if params.sharding_method == models.ShardingMethod.CUSTOM:
            raise ConfigError(
                f"{self.original!r} has shard keys of its own (custom sharding), which a copy "
                "would lose: upgrade the server to 1.18, which adds the codes in place"
            )
        if residuals and isinstance(params.vectors, models.VectorParams):
            raise ConfigError(
                f"the dense vector of {self.original!r} has no name, so a copy has no place for "
                "residuals beside it: pass residuals=False (--no-residuals)"
            )
        if len(self.title) > _LONGEST:
            raise ConfigError(
                f"a copy would be called {self.title!r}, and a name may have {_LONGEST} "
                f"characters, got {len(self.title)}: upgrade the server to 1.18 to need no copy"
            )

    def make(self, marker: Marker) -> None:
        """Make the copy, empty; see `Pair.make`."""
        settings = settings_of(self._settings, marker)
        try:
            self._to.call("make it", lambda: self.client.create_collection(self.title, **settings))
        except StoreError:  # the answer may have been lost, and the next call refused
            if self.copy() is None:
                raise

    def complete(self) -> None:
        """Give the copy the payload indexes, and what is no part of a making; see `Pair`."""
        there = _info(self._to, self.title).payload_schema
        for field, index in self._settings.payload_schema.items():
            if field not in there:
                self._to.call(
                    f"index the field {field!r}",
                    lambda field=field, index=index: self.client.create_payload_index(  # type: ignore[misc]  # bound now
                        self.title, field, index.params or index.data_type, wait=True
                    ),
                )
        params = self._settings.config.params
        fan_out = models.CollectionParamsDiff(
            read_fan_out_factor=params.read_fan_out_factor,
            read_fan_out_delay_ms=params.read_fan_out_delay_ms,
        )
        if fan_out.model_dump(exclude_none=True):
            self._to.call(
                "set how reads fan out",
                lambda: self.client.update_collection(self.title, collection_params=fan_out),
            )

    # -- points ---------------------------------------------------------------------

    def most(self, numbers: int) -> int:
        """Return how many points a batch may have; see `Pair.most`."""
        dense = named_of(self._settings).values()
        width = sum(one.size * (_ROWS if one.multivector_config else 1) for one in dense)
        strict = self._settings.config.strict_mode_config
        cap = strict.upsert_max_batchsize if strict and strict.enabled else None
        most = max(1, numbers // max(width, 1))
        return min(most, cap) if cap else most

    def read(self, ids: Sequence[PointId], vector: str) -> Whole:
        """Read points of the original; see `Pair.read`."""
        unread: dict[PointId, str] = {}
        records = self._records(list(ids), unread)
        found = {stored_id(one.id): readable(one, unread) for one in records}
        there = [one for one in ids if one in found]
        size = named_of(self._settings)[vector].size
        points = [found[one] for one in there]
        return Whole(page_of(there, points, (vector, size), None, False), points, unread)

    def _records(self, ids: list[PointId], unread: dict[PointId, str]) -> list[Any]:
        """Read records; one that the client cannot parse, as JSON has no NaN, in pieces."""
        try:
            return _retrieved(self._from, self.original, ids, True)
        except StoreError as error:
            if not has_null(error.__cause__):
                raise
        if len(ids) > 1:
            half = len(ids) // 2
            return [r for part in (ids[:half], ids[half:]) for r in self._records(part, unread)]
        return self._pieces(ids, unread)

    def _pieces(self, ids: list[PointId], unread: dict[PointId, str]) -> list[Any]:
        """Read the vectors of one point one by one, and leave out what cannot be read."""
        records = _retrieved(self._from, self.original, ids, False)
        if not records:
            return records
        vectors: dict[str, Any] = {}
        sparse = self._settings.config.params.sparse_vectors or {}
        for name in [*named_of(self._settings), *sparse]:
            try:
                (piece,) = _retrieved(self._from, self.original, ids, [name])
            except StoreError as error:
                if not has_null(error.__cause__):
                    raise
                unread[ids[0]] = not_copied(name)
            else:
                vectors |= named(piece.vector)
        return [records[0].model_copy(update={"vector": vectors})]

    def write(self, whole: Whole, codes: CodeVector, coded: Page) -> None:
        """Put points into the copy; see `Pair.write`."""
        spelled = points_of(codes, coded)
        own: dict[Any, Any] = {stored_id(one.id): one.vector for one in spelled}
        pairs = zip(whole.page.ids, whole.points, strict=True)
        points = [point_of(record, own.get(one, {})) for one, record in pairs]
        self._to.write(
            f"copy {len(points)} points",
            lambda: self.client.upsert(self.title, points, wait=True),
        )

    def unlike(self, whole: Whole, codes: CodeVector) -> tuple[NDArray[np.bool_], Page]:
        """Compare points of the original with those of the copy; see `Pair.unlike`."""
        ids, own = whole.page.ids, set(names_of(codes))
        records = _retrieved(self._to, self.title, ids, True)
        found = {stored_id(record.id): record for record in records}
        pairs = zip(ids, whole.points, strict=True)
        differs = [not self._is_same(point, found.get(one), own) for one, point in pairs]
        return np.array(differs, bool), page_of(ids, records, None, codes, False)

    def _is_same(self, point: Any, copied: Any, own: set[str]) -> bool:
        if copied is None or (point.payload or {}) != (copied.payload or {}):
            return False
        theirs = {name: one for name, one in named(copied.vector).items() if name not in own}
        return same_vectors(named(point.vector), theirs, self._tolerances)

    def digests(self, whole: Whole) -> NDArray[np.uint64]:
        """Return digests of all that points hold; see `Pair.digests`."""
        return np.array([digest_of(point) for point in whole.points], np.uint64)

    def delete(self, ids: Sequence[PointId]) -> None:
        """Delete points of the copy; see `Pair.delete`."""
        points: Any = list(ids)
        self._to.write(
            f"delete {len(points)} points that the original has no more",
            lambda: self.client.delete(self.title, points, wait=True),
        )

    # -- names ----------------------------------------------------------------------

    def obstacle(self) -> str | None:
        """Say why searches of the copy would be poor now; see `Pair.obstacle`."""
        info = _info(self._to, self.title)
        if info.status == models.CollectionStatus.RED:
            return f"the server reports an error in it: {info.optimizer_status}"
        return "its index is being built" if info.status == models.CollectionStatus.YELLOW else None

    def switch(self, *, back: bool = False) -> list[str]:
        """Move all aliases in one call; see `Pair.switch`."""
        there = self.original if back else self.title
        names = (self._to if back else self._from).aliases()
        steps: list[Any] = []
        for name in names:
            gone = models.DeleteAlias(alias_name=name)
            new = models.CreateAlias(collection_name=there, alias_name=name)
            steps += [
                models.DeleteAliasOperation(delete_alias=gone),
                models.CreateAliasOperation(create_alias=new),
            ]
        if steps:
            self._to.call(
                f"move the aliases {names} to {there!r}",
                lambda: self.client.update_collection_aliases(steps),
            )
        return names

    def drop_copy(self) -> None:
        """Delete the copy; see `Pair.drop_copy`."""
        self._to.call("delete it", lambda: self.client.delete_collection(self.title))

    def drop_original(self) -> str | None:
        """Delete the original after a snapshot; see `Pair.drop_original`."""
        snapshot = self.source().snapshot()
        self._from.call("delete it", lambda: self.client.delete_collection(self.original))
        return snapshot


def _info(server: Server, title: str) -> models.CollectionInfo:
    return server.call("read its settings", lambda: server.client.get_collection(title))


def _retrieved(
    server: Server, title: str, ids: Sequence[PointId], vectors: bool | list[str]
) -> list[Any]:
    return server.call(
        f"read {len(ids)} points",
        lambda: server.client.retrieve(title, list(ids), with_payload=True, with_vectors=vectors),
    )
