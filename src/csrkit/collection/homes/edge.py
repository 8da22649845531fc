"""`EdgeHome`: a Qdrant Edge shard, the engine embedded in this process, on one folder.

The engine locks the folder, so whoever writes to the shard meanwhile does it in this
process, through `EdgeHome.shard`. Marks are kept in ``csrkit-jobs.json`` in the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from csrkit.collection.home import (
    CodeVector,
    DenseVector,
    Description,
    Marker,
    Page,
    PointId,
)
from csrkit.collection.homes._points import (
    behind,
    drawn,
    hits_of,
    names_of,
    page_of,
    usable_page,
)
from csrkit.collection.homes._torn import loaded
from csrkit.errors import ConfigError, StoreError
from csrkit.stores._engine import LITTLE, check_room, edge_module, sparse, written_bytes
from csrkit.stores._ids import stored_id
from csrkit.stores._points import residual_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_edge import EdgeShard

    from csrkit.stores.base import Hit
    from csrkit.vectors import SparseVectors

__all__ = ["EdgeHome"]

_CONFIG = "edge_config.json"
_MARKS = "csrkit-jobs.json"


class _Marks(BaseModel):
    """The file of marks."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int = 1
    markers: dict[str, Marker] = {}


class EdgeHome:
    """A shard of Qdrant's embedded engine; see `csrkit.collection.home.Home`.

    Args:
        folder: Folder of the shard, the one that holds ``edge_config.json``.
        shard: The shard, if this process has it open already; it is then left open.

    Raises:
        ConfigError: If the folder holds no shard.
        MissingExtra: If qdrant-edge-py is not installed.
        StoreError: If the engine cannot open it, such as because it is open elsewhere.
    """

    def __init__(self, folder: str | PathLike[str], *, shard: EdgeShard | None = None) -> None:
        self._edge = edge_module()
        if not isinstance(folder, str | PathLike):
            raise ConfigError(f"expected the folder of a Qdrant Edge shard, got {folder!r}")
        self._folder = Path(folder).absolute()
        if not (self._folder / _CONFIG).is_file():
            raise ConfigError(
                f"expected the folder of a Qdrant Edge shard, which holds {_CONFIG}, "
                f"got {self._folder}"
            )
        self._is_own = shard is None
        with self._reported("open it"):
            self.shard: Any = shard or loaded(
                self._edge.EdgeShard.load, self._folder, self._touched()
            )

    def _touched(self) -> Iterator[str]:
        for marker in self._marks().markers.values():
            yield from marker.touched

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        """Turn whatever the engine raises, its panics too, into StoreError."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"shard {self._folder}: cannot {doing}: {error}") from error
        except BaseException as error:
            # a panic derives from BaseException, as Ctrl-C does, and its class cannot be imported
            if type(error).__module__ != "pyo3_runtime":
                raise
            raise StoreError(f"shard {self._folder}: cannot {doing}: {error}") from error

    def _update(self, doing: str, operation: Any, **room: int) -> None:
        check_room(self._folder, doing, **room)
        with self._reported(doing):
            self.shard.update(operation)

    # -- what there is --------------------------------------------------------

    @property
    def url(self) -> str:
        """The folder, as ``edge:///folder``."""
        return f"edge://{self._folder}"

    def _config(self) -> dict[str, Any]:
        with self._reported("read its settings"):
            config: dict[str, Any] = json.loads((self._folder / _CONFIG).read_bytes())
        return config

    def describe(self) -> Description:
        """Return what the shard is now; see `Home.describe`."""
        config = self._config()
        with self._reported("describe it"):
            count = self.shard.count(self._edge.CountRequest(exact=True))
            indexes = self.shard.info().payload_schema
        return Description(
            engine="Qdrant Edge",
            version=version("qdrant-edge-py"),
            title=str(self._folder),
            count=int(count),
            dense=tuple(_dense(*one) for one in sorted(config.get("vectors", {}).items())),
            sparse=tuple(sorted(config.get("sparse_vectors", {}))),
            payload_indexes=tuple(sorted((field, _kind(info)) for field, info in indexes.items())),
            aliases=(),
            can_add_in_place=True,
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
        lacking = self._edge.Filter(must_not=[self._edge.HasVectorCondition(name)])
        return behind(self._scrolled(after, size, lacking), after)

    def _scrolled(
        self, offset: PointId | None, size: int, keep: Any
    ) -> Iterator[tuple[list[Any], Any]]:
        while True:
            with self._reported("list its ids"):
                request = self._edge.ScrollRequest(
                    offset=offset, limit=size, filter=keep, with_payload=False, with_vector=False
                )
                records, following = self.shard.scroll(request)
            yield records, following
            if following is None:
                return
            offset = stored_id(following)

    def sample(self, n: int, vector: str, *, seed: int = 0) -> Page:
        """Draw from all ids, of which it reads no more than the ids; see `Home.sample`."""
        having = self._edge.Filter(must=[self._edge.HasVectorCondition(vector)])
        return usable_page(
            self, drawn(behind(self._scrolled(None, 4096, having), None), n, seed), vector
        )

    # -- points ---------------------------------------------------------------

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
        with self._reported(f"read {len(ids)} points"):
            records = self.shard.retrieve(list(ids), payload, names or False)
        return page_of(ids, records, dense, codes, payload)

    def _dim(self, vector: str) -> int:
        params = self._config().get("vectors", {}).get(vector)
        if params is None:
            raise StoreError(f"shard {self._folder} has no dense vector {vector!r} (any more)")
        return int(params["size"])

    def add(self, codes: CodeVector) -> None:
        """Add the sparse vector; see `Home.add`."""
        edge, config = self._edge, self._config()
        self._forget()
        if codes.name not in config.get("sparse_vectors", {}):
            operation = edge.UpdateOperation.create_sparse_vector(codes.name)
            self._update(f"add the vector {codes.name!r}", operation)
        rest = residual_name(codes.name)
        if codes.residual_bytes and rest not in config.get("vectors", {}):
            operation = edge.UpdateOperation.create_dense_vector(
                rest,
                codes.residual_bytes,
                edge.Distance.Dot,
                None,
                edge.VectorStorageDatatype.Uint8,
            )
            self._update(f"add the vector {rest!r}", operation)

    def write(self, codes: CodeVector, page: Page) -> list[PointId]:
        """Set codes on points that are there; see `Home.write`.

        The engine refuses a call that names a point which is gone, after it has applied
        the rest, so those are looked up first.
        """
        doing = f"set {codes.name!r} on {len(page.ids)} points"
        with self._reported(doing):
            records = self.shard.retrieve(page.ids, False, False)
        there = {stored_id(one.id) for one in records}
        new = [
            self._edge.PointVectors(one, vector)
            for one, vector in zip(page.ids, self._vectors(codes, page), strict=True)
            if one in there
        ]
        if new:
            self._update(doing, self._edge.UpdateOperation.update_vectors(new))
        return [one for one in page.ids if one not in there]

    def _vectors(self, codes: CodeVector, page: Page) -> Iterator[dict[str, Any]]:
        """Yield what is to be set on each point of a page."""
        assert page.codes is not None  # a page to write
        if page.residuals is None:
            yield from ({codes.name: code} for code in sparse(page.codes))
            return
        rest = residual_name(codes.name)
        for code, row in zip(sparse(page.codes), page.residuals, strict=True):
            yield {codes.name: code, rest: row.tolist()}

    def drop(self, codes: CodeVector) -> None:
        """Remove the sparse vector and its residuals; see `Home.drop`."""
        config = self._config()
        there = {*config.get("sparse_vectors", {}), *config.get("vectors", {})}
        for name in names_of(codes):
            if name in there:
                self._drop(name)
        self._forget()

    def _drop(self, name: str) -> None:
        operation = self._edge.UpdateOperation.delete_vector_name(name)
        self._update(f"remove the vector {name!r}", operation, need=LITTLE)  # it makes room

    def _forget(self) -> None:
        """Leave no removal of a vector in the engine's log.

        After a kill the log is replayed. A removal in it then takes a vector of the same name
        that was added since out of the settings, though not off the points, and the shard does
        not open again. A flush cuts the log off before its last operation.
        """
        doing = "write out its log"
        self._update(doing, self._edge.UpdateOperation.delete_points([]), need=LITTLE)
        with self._reported(doing):
            self.shard.flush()

    # -- searching --------------------------------------------------------------

    def exact(
        self, queries: NDArray[np.float32], vector: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search a dense vector exactly; see `Home.exact`."""
        exact = self._edge.SearchParams(exact=True)
        return [self._found(row.tolist(), vector, limit, filter, exact) for row in queries]

    def sparse(
        self, queries: SparseVectors, name: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search the sparse vector; see `Home.sparse`."""
        return [
            self._found(code, name, limit, filter) if len(code.indices) else []
            for code in sparse(queries)
        ]

    def _found(
        self, query: Any, using: str, limit: int, keep: Any, params: Any = None
    ) -> list[Hit]:
        nearest = self._edge.Query.Nearest(query, using)
        request = self._edge.QueryRequest(limit=limit, query=nearest, filter=keep, params=params)
        with self._reported(f"search {using!r}"):
            return hits_of(self.shard.query(request))

    def matching(self, field: str, value: str | int | bool) -> Any:
        """Return a ``qdrant_edge.Filter``; see `Home.matching`."""
        plain = np.bool_(value) if isinstance(value, bool) else value  # it takes True for 1
        match = self._edge.MatchValue(plain)
        return self._edge.Filter(must=[self._edge.FieldCondition(field, match=match)])

    # -- whose it is --------------------------------------------------------------

    def _marks(self) -> _Marks:
        try:
            return _Marks.model_validate_json((self._folder / _MARKS).read_bytes())
        except FileNotFoundError:
            return _Marks()
        except (OSError, ValidationError) as error:
            raise StoreError(f"{self._folder / _MARKS} cannot be read: {error}") from error

    def marker(self, name: str) -> Marker | None:
        """Return who added the sparse vector; see `Home.marker`."""
        return self._marks().markers.get(name)

    def mark(self, marker: Marker) -> None:
        """Write a marker; see `Home.mark`."""
        self._note({**self._marks().markers, marker.name: marker})

    def unmark(self, name: str) -> None:
        """Remove a marker; see `Home.unmark`."""
        self._note({key: one for key, one in self._marks().markers.items() if key != name})

    def _note(self, markers: dict[str, Marker]) -> None:
        """Write all marks so that a crash leaves the old file or the new one."""
        path = self._folder / _MARKS
        try:
            if not markers:
                path.unlink(missing_ok=True)
                return
            draft = path.with_suffix(".new")
            with draft.open("w", encoding="utf-8") as file:
                file.write(_Marks(markers=markers).model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error}") from error

    # -- for good ---------------------------------------------------------------

    def snapshot(self) -> str | None:
        """Return None: a shard is a folder, whose owner copies it; see `Home.snapshot`."""
        return None

    def move_to_disk(self, vector: str) -> bool:
        """Return False: the engine sets this only for a new shard; see `Home.move_to_disk`."""
        return False

    def drop_dense(self, vector: str) -> None:
        """Remove a dense vector; see `Home.drop_dense`."""
        self._dim(vector)  # refuse one that is not there
        self._drop(vector)
        self._forget()

    def disk_bytes(self) -> int | None:
        """Return the bytes that the folder's files occupy; see `Home.disk_bytes`."""
        with self._reported("measure it"):
            self.shard.flush()
            return written_bytes(self._folder)

    def close(self) -> None:
        """Flush the shard, and close it if it was opened here; see `Home.close`."""
        with self._reported("close it"):
            self.shard.close() if self._is_own else self.shard.flush()


def _dense(name: str, params: dict[str, Any]) -> DenseVector:
    quantization = params.get("quantization_config")
    return DenseVector(
        name=name,
        dim=int(params["size"]),
        distance=params["distance"],
        datatype=(params.get("datatype") or "float32").lower(),
        is_multi=params.get("multivector_config") is not None,
        on_disk=bool(params.get("on_disk")) or params.get("memory") in ("cold", "Cold"),
        quantization=next(iter(quantization), None) if quantization else None,
    )


def _kind(info: Any) -> str:
    return str(getattr(info, "data_type", info)).rpartition(".")[2].lower()
