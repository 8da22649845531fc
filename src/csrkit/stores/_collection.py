"""One collection of a Qdrant server: made or completed if needed, and called with retries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from qdrant_client import QdrantClient, models

from csrkit.errors import ConfigError, StoreError
from csrkit.stores._checks import Held
from csrkit.stores._failures import reason, wait_s
from csrkit.stores._points import residual_name

if TYPE_CHECKING:
    from csrkit.stores._marker import Datatype
    from csrkit.stores._retry import Retry

__all__ = ["Collection"]

T = TypeVar("T")


class Collection:
    """A collection with a named sparse vector, behind the vendor's client.

    Args:
        client: The vendor's client.
        collection: Name of the collection.
        name: Name of the sparse vector.
        retry: How often and how patiently calls are repeated.
    """

    def __init__(self, client: QdrantClient, collection: str, name: str, retry: Retry) -> None:
        self.client = client
        self.title = collection
        self.name = name
        self._retry = retry

    def ensure(self, on_disk: bool | None, datatype: Datatype | None, *, create: bool) -> None:
        """Make the collection or its vector if missing, or check the one that is there.

        Args:
            on_disk: Where the postings are to be; None: as is.
            datatype: Values in the postings; None: as is.
            create: Whether anything may be made.

        Raises:
            ConfigError: If the datatype is unknown.
            StoreError: If the server fails, what is there cannot hold codes, or
                what is missing may not be made.
        """
        index = _index(on_disk, datatype)
        params = {self.name: models.SparseVectorParams(index=index)}
        if not self._exists():
            if not create:
                raise self._missing(f"no collection {self.title!r} on this server")
            self._make(params)
        found = self.config().params
        self._refuse_dense(found.vectors)
        sparse = (found.sparse_vectors or {}).get(self.name)
        if sparse is not None:
            self._refuse_other(sparse, index)
        elif create:
            self._add_vector(index, params)
        else:
            raise self._missing(f"no codes {self.name!r} in the collection {self.title!r}")

    def _missing(self, what: str) -> StoreError:
        return StoreError(
            f"{what}: check the name, or make it with QdrantStore(client, {self.title!r}) "
            "or `csrkit encode ... --store`"
        )

    def _make(self, params: dict[str, models.SparseVectorParams]) -> None:
        try:
            self.call(
                "make the collection",
                lambda: self.client.create_collection(
                    self.title, vectors_config={}, sparse_vectors_config=params
                ),
            )
        except StoreError:  # another process may have made it in between
            if not self._exists():
                raise

    def _exists(self) -> bool:
        return self.call("look it up", lambda: self.client.collection_exists(self.title))

    def config(self) -> models.CollectionConfig:
        """Return the settings as they are now."""
        doing = "read its settings"
        return self.call(doing, lambda: self.client.get_collection(self.title)).config

    def _refuse_dense(self, vectors: Any) -> None:
        if isinstance(vectors, dict) and self.name in vectors:
            raise StoreError(
                f"collection {self.title!r} has a dense vector {self.name!r}: "
                "choose another name= for the codes"
            )

    def _refuse_other(
        self, stored: models.SparseVectorParams, asked: models.SparseIndexParams
    ) -> None:
        where = f"vector {self.name!r} of collection {self.title!r}"
        if stored.modifier not in (None, models.Modifier.NONE):
            raise StoreError(
                f"{where} has the modifier {stored.modifier.value!r}, which changes every score: "
                "choose another name= for the codes"
            )
        index = stored.index or models.SparseIndexParams()
        kind = asked.datatype and asked.datatype.value
        settings = {
            "datatype": (kind, (index.datatype or models.Datatype.FLOAT32).value),
            "on_disk": (asked.on_disk, bool(index.on_disk)),
        }
        for setting, (want, have) in settings.items():
            if want is not None and want != have:
                raise StoreError(f"{where} has {setting}={have}, got {want}: leave it out to keep")

    def _add_vector(
        self, index: models.SparseIndexParams, params: dict[str, models.SparseVectorParams]
    ) -> None:
        kind = index.datatype and models.VectorStorageDatatype(index.datatype.value)
        config = models.SparseVectorConfig(datatype=kind or None)
        self._add(self.name, models.SparseVectorNameConfig(sparse=config))
        if index.on_disk:  # creation takes what defines the vector; placement is a setting
            self.call(
                "keep the postings on disk",
                lambda: self.client.update_collection(self.title, sparse_vectors_config=params),
            )

    def _add(self, name: str, config: models.VectorNameConfig) -> None:
        self.call(
            f"add the vector {name!r} (servers before 1.18 cannot)",
            lambda: self.client.create_vector_name(self.title, name, config),
        )

    def held(self, config: models.CollectionConfig) -> Held | None:
        """Return what the first upsert fixed, as the metadata holds it.

        Args:
            config: The settings.

        Returns:
            Widths and codec; None before the first upsert.
        """
        noted = (config.metadata or {}).get(self._note_key) or {}
        if "dim" not in noted:
            return None
        return Held(noted["dim"], noted.get("residual_bytes", 0), noted.get("codec"))

    def note(self, held: Held) -> None:
        """Write into the metadata what the first upsert fixes.

        Args:
            held: Widths and codec.

        Raises:
            StoreError: If the server fails.
        """
        note = {self._note_key: held._asdict()}  # flat: the server merges at the top level only
        self.call(
            "note the width of the codes",
            lambda: self.client.update_collection(self.title, metadata=note),
        )

    @property
    def _note_key(self) -> str:
        return f"csrkit.{self.name}"

    def ensure_bytes(self, config: models.CollectionConfig, width: int) -> None:
        """Add the vector of residuals if it is missing: bytes, no graph, placed as the postings.

        Args:
            config: The settings.
            width: Bytes per point.

        Raises:
            StoreError: If the server fails, or the vector there is another.
        """
        name = residual_name(self.name)
        dense = config.params.vectors
        found = dense.get(name) if isinstance(dense, dict) else None
        if found is not None:
            # any type holds bytes exactly, and the vendor's in-memory mode notes none
            if (found.size, found.distance) != (width, models.Distance.DOT):
                raise StoreError(
                    f"collection {self.title!r} has a vector {name!r} that cannot hold residuals "
                    f"of {width} bytes: choose another name= for the codes"
                )
            return
        kind = models.DenseVectorConfig(
            size=width,
            distance=models.Distance.DOT,
            datatype=models.VectorStorageDatatype.UINT8,
        )
        self._add(name, models.DenseVectorNameConfig(dense=kind))
        index = (config.params.sparse_vectors or {})[self.name].index
        params = models.VectorParamsDiff(
            hnsw_config=models.HnswConfigDiff(m=0), on_disk=index.on_disk if index else None
        )
        self.call(
            f"keep {name!r} without a graph",
            lambda: self.client.update_collection(self.title, vectors_config={name: params}),
        )

    def dense_sizes(self, config: models.CollectionConfig) -> dict[str, int]:
        """Return the width of each dense vector but the residuals; an unnamed one is "".

        Args:
            config: The settings.

        Returns:
            Width by name.
        """
        vectors = config.params.vectors or {}
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        own = residual_name(self.name)
        return {name: params.size for name, params in named.items() if name != own}

    def is_shared(self, config: models.CollectionConfig) -> bool:
        """Tell whether points may carry vectors of somebody else.

        Args:
            config: The settings.

        Returns:
            True if the collection has any vector but the codes and their residuals.
        """
        held = self.held(config)
        own = {self.name, *([residual_name(self.name)] if held and held.residual_bytes else [])}
        dense = config.params.vectors or {}
        names = set(dense) if isinstance(dense, dict) else {""}
        return not (names | set(config.params.sparse_vectors or {})) <= own

    def call(self, doing: str, call: Callable[[], T]) -> T:
        """Run a call with retries; whatever fails for good becomes StoreError.

        Args:
            doing: What the call does, for the message.
            call: The call, harmless to repeat.

        Returns:
            What it returned.

        Raises:
            StoreError: If it failed for good; the cause is chained.
        """
        try:
            return self._retry.run(call, wait_s)
        except Exception as error:
            raise StoreError(
                f"collection {self.title!r}: cannot {doing}: {reason(error)}"
            ) from error

    def write(self, doing: str, call: Callable[[], list[models.UpdateResult]]) -> None:
        """Run a writing call and see that it was applied.

        Args:
            doing: What the call does, for the message.
            call: The call, harmless to repeat.

        Raises:
            StoreError: If it failed for good, or the server did not finish in time.
        """
        for result in self.call(doing, call):
            if result.status == models.UpdateStatus.WAIT_TIMEOUT:
                raise StoreError(
                    f"collection {self.title!r}: the server took the order to {doing}, "
                    "and did not finish in time: it may still, or repeat the call"
                )


def _index(on_disk: bool | None, datatype: Datatype | None) -> models.SparseIndexParams:
    try:
        kind = None if datatype is None else models.Datatype(datatype)
    except ValueError as error:
        raise ConfigError(
            f"expected a datatype of float32, float16 or uint8, got {datatype!r}"
        ) from error
    return models.SparseIndexParams(on_disk=on_disk, datatype=kind)
