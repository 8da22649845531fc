"""`EdgeStore`: Qdrant's engine embedded in the process, in a folder. The default store.

No server and no second copy of the data: the Rust engine that Qdrant runs
(`qdrant-edge-py`, extra ``edge``) works on files of this process. One process
at a time; the engine locks the folder.

The engine validates little, so nothing invalid may reach it. Seen in 0.9.0: an
operation on which it panics is already in its write-ahead log, is replayed at
every open, and so the folder never opens again; duplicate latents change their
score at a reload; a payload nested 125 deep cannot be read back. `SparseVectors`
and the checks shared by all stores keep these out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from csrkit.errors import ConfigError, MissingExtra, StoreError
from csrkit.stores._checks import Upsert, checked_dim, checked_limit, checked_upsert
from csrkit.stores._ids import known_ids, point_id, shown, stored_id, with_id
from csrkit.stores._marker import Datatype, Marker
from csrkit.stores._points import gathered, hits
from csrkit.stores.base import Hit, Ids, Payload
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard, Filter

__all__ = ["EdgeStore", "open_url"]

_BATCH = 1000  # points or queries per call of the engine: 42,000 points/s, and more gains nothing
_LARGEST_FLOAT16 = 65504.0  # above it a float16 posting is infinite


class EdgeStore:
    """Codes in Qdrant's embedded engine, in a folder of this machine.

    An upsert survives the death of the process once it returns (the engine
    writes a log first); `flush` also survives the machine's. Strings that are
    no UUIDs are kept under a UUIDv5, with the string in the payload under
    ``"csrkit_id"``, a key that payloads may not use.

    Codes are stored in full float32 whatever the ``datatype``, so `fetch` is
    exact; the datatype and ``on_disk`` say how the postings are kept that
    `search` reads, and take effect when the engine builds its final index, at
    `optimize`. On 25,000 normalised codes of 24 latents scores were off by up
    to 2e-4 with float16 and 2e-3 with uint8.

    The folder is the store's own: a replaced point loses vectors that somebody
    added to it through `shard`.

    Args:
        path: Folder; made if missing, opened if an EdgeStore made it.
        name: Name of the sparse vector.
        on_disk: Keep the postings on disk: less memory, slower when cold. None:
            as stored, in memory for a new folder.
        datatype: Values in the postings; None: as stored, float32 for a new
            folder. At 100,000 codes of 32 latents the postings took 170, 111
            and 82 bytes per code for float32, float16 and uint8.

    Raises:
        MissingExtra: If qdrant-edge-py is not installed.
        StoreError: If the folder is no EdgeStore's, has another name or other
            settings, or is open elsewhere.

    Examples:
        >>> import tempfile
        >>> codes = SparseVectors.from_dense([[0.6, 0.8, 0], [0, 0, 1]])
        >>> with EdgeStore(tempfile.mkdtemp()) as store:
        ...     store.upsert(["a", "b"], codes, [{"lang": "en"}, None])
        ...     store.search(codes[1])
        [[Hit(id='b', score=1.0, payload=None)]]
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        name: str = "csr",
        on_disk: bool | None = None,
        datatype: Datatype | None = None,
    ) -> None:
        _engine()
        self._folder = Path(path)
        found = Marker.read(self._folder)
        self._marker = found or _new_marker(name, on_disk, datatype)
        self._refuse_other(name, on_disk, datatype)
        if found is None:
            self._marker.write(self._folder)
        self._failed: str | None = None  # why the engine may not be written to any more
        self._shard: EdgeShard = self._open()

    def _refuse_other(self, name: str, on_disk: bool | None, datatype: str | None) -> None:
        """Refuse to open a folder with other settings than it was made with."""
        for setting, asked in (("name", name), ("on_disk", on_disk), ("datatype", datatype)):
            stored = getattr(self._marker, setting)
            if asked is not None and asked != stored:
                raise StoreError(
                    f"{self._folder} was made with {setting}={stored!r}, got {asked!r}: "
                    "open it with the same, or make a new folder"
                )

    def _open(self) -> Any:
        edge = _engine()
        home = self._folder / "engine"
        with self._reported("open the store"):
            if (home / "edge_config.json").exists():
                return edge.EdgeShard.load(str(home))
            params = edge.EdgeSparseVectorParams(
                datatype=getattr(edge.VectorStorageDatatype, self._marker.datatype.capitalize()),
                memory=edge.Memory.Cold if self._marker.on_disk else edge.Memory.Pinned,
            )
            config = edge.EdgeConfig(sparse_vectors={self._marker.name: params})
            return edge.EdgeShard.create(str(home), config)

    @property
    def dim(self) -> int | None:
        """Width of the codes; None before the first upsert."""
        return self._marker.dim

    @property
    def shard(self) -> EdgeShard:
        """The engine's own object, for what csrkit does not wrap: payload indexes, scroll, fusion.

        What is written through it is not checked; see the module's warning.
        """
        return self._shard

    def upsert(
        self, ids: Ids, codes: SparseVectors, payloads: Sequence[Payload | None] | None = None
    ) -> None:
        """Insert or replace codes and payloads; see `Store.upsert`.

        Args:
            ids: One id per code, each once.
            codes: Rows to store.
            payloads: One JSON object or None per id; left out, ids keep theirs.

        Raises:
            ShapeError: If the numbers or the width do not match.
            StoreError: If an id, payload or value is refused, or the engine
                fails; the message names the ids of the batch that failed. The
                batches before it are stored.
        """
        checked = checked_upsert(ids, codes, payloads, self.dim)
        self._refuse_overflow(checked)
        if not checked.ids:
            return
        if self.dim is None:  # noted first: codes of unknown width could not be fetched
            self._marker = self._marker.model_copy(update={"dim": codes.dim})
            self._marker.write(self._folder)
        for start in range(0, len(codes), _BATCH):
            stop = start + _BATCH
            kept = None if checked.payloads is None else checked.payloads[start:stop]
            batch = Upsert(checked.ids[start:stop], codes[start:stop], kept)
            doing = f"upsert {shown(batch.ids)}, after {start} of {len(codes)} were stored"
            self._write(batch, doing)

    def _refuse_overflow(self, upsert: Upsert) -> None:
        if self._marker.datatype != "float16":
            return
        large = np.flatnonzero(np.abs(upsert.codes.values) > _LARGEST_FLOAT16)
        if len(large):
            row = int(np.searchsorted(upsert.codes.indptr, large[0], side="right")) - 1
            raise StoreError(
                f"expected values up to {_LARGEST_FLOAT16:.0f} in a float16 store, got "
                f"{upsert.codes.values[large[0]]} for id {upsert.ids[row]!r}: normalise the codes"
            )

    def _write(self, batch: Upsert, doing: str) -> None:
        edge = _engine()
        points = list(map(point_id, batch.ids))
        vectors = [{self._marker.name: vector} for vector in _vectors(batch.codes)]
        stored: set[int | str] = set()
        if batch.payloads is None:  # stored points keep their payload: change their vector alone
            with self._reported(doing):
                stored = set(self._read(points, vector=False))
        payloads = batch.payloads or [{}] * len(points)
        rows = zip(points, vectors, batch.ids, payloads, strict=True)
        new = [edge.Point(p, v, with_id(i, load)) for p, v, i, load in rows if p not in stored]
        old = [edge.PointVectors(p, v) for p, v in zip(points, vectors, strict=True) if p in stored]
        if new:
            self._update(edge.UpdateOperation.upsert_points(new), doing)
        if old:
            self._update(edge.UpdateOperation.update_vectors(old), doing)

    def _update(self, operation: Any, doing: str) -> None:
        if self._failed:
            raise StoreError(f"cannot {doing}: {self._failed}")
        with self._reported(doing):
            self._shard.update(operation)

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        """Turn whatever the engine raises, its panics too, into StoreError."""
        try:
            yield
        except Exception as error:
            raise StoreError(f"{self._folder}: cannot {doing}: {error}") from error
        except BaseException as error:
            # a panic derives from BaseException, as Ctrl-C does, and its class cannot be imported
            if type(error).__module__ != "pyo3_runtime":
                raise
            self._panicked(error, doing)

    def _panicked(self, error: BaseException, doing: str) -> NoReturn:
        # The engine has half an operation in memory: its next write fails too and loses points.
        self._failed = "the engine panicked before; read what you need and rebuild the folder"
        raise StoreError(
            f"{self._folder}: the engine panicked and could not {doing}: {error}. Its log replays "
            "the operation at each open, so the folder may not open again: read what you need "
            "from it now, rebuild it, and report this"
        ) from error

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: Filter | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product.

        Args:
            codes: Queries, one result list each. Many in one call share a pass.
            limit: Most hits per query, at least 1.
            filter: A ``qdrant_edge.Filter``. A payload index on its field, made
                with `shard`, makes it faster on large stores.

        Returns:
            Hits by falling score. With a filter and negative weights together,
            documents of score 0 are dropped but have used up places of limit.

        Raises:
            ConfigError: If limit is below 1.
            ShapeError: If the width of the codes is not the store's.
            StoreError: If the engine fails, or refuses the filter.
        """
        checked_limit(limit)
        checked_dim(codes, self.dim)
        edge = _engine()
        found: list[list[Hit]] = []
        with self._reported("search"):
            for start in range(0, len(codes), _BATCH):
                requests = [
                    edge.QueryRequest(
                        limit=limit,
                        query=edge.Query.Nearest(vector, self._marker.name),
                        filter=filter,
                        with_payload=True,
                    )
                    for vector in _vectors(codes[start : start + _BATCH])
                ]
                found += map(hits, self._shard.query_batch(edge.QueryBatchRequest(requests)))
        return found

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            One row per id, in full precision.

        Raises:
            StoreError: If an id is not in the store, or nothing was ever stored.
        """
        plain = known_ids(ids)
        with self._reported(f"fetch {shown(plain)}"):
            vectors = self._read(list(map(point_id, plain)), vector=True)
        rows = [vectors.get(point_id(one)) for one in plain]
        missing = [one for one, row in zip(plain, rows, strict=True) if row is None]
        if missing:
            raise StoreError(f"no code is stored for {shown(missing)}, of {self.count()} ids")
        if self.dim is None:
            raise StoreError("nothing was stored yet, so the width of the codes is not known")
        return gathered(rows, self.dim)

    def _read(self, points: list[Any], *, vector: bool) -> dict[int | str, Any]:
        """Return those of the points that are there, each with its vector if asked for."""
        records: list[Any] = self._shard.retrieve(points, False, vector)
        name = self._marker.name
        return {stored_id(one.id): one.vector.get(name) if vector else None for one in records}

    def delete(self, ids: Ids) -> None:
        """Remove ids; those that are not there are ignored.

        Args:
            ids: Ids to remove.

        Raises:
            StoreError: If an entry is no id, or the engine fails.
        """
        plain = known_ids(ids)
        if plain:
            operation = _engine().UpdateOperation.delete_points(list(map(point_id, plain)))
            self._update(operation, f"delete {shown(plain)}")

    def count(self) -> int:
        """Return the exact number of stored ids."""
        with self._reported("count"):
            return int(self._shard.count(_engine().CountRequest(exact=True)))

    def optimize(self) -> bool:
        """Build the engine's final index: once after a large load, minutes for millions of codes.

        It brings ``datatype`` and ``on_disk`` into effect and drops deleted
        points from disk. At 30,000 codes it took 0.5 s and left the time of a
        query as it was, so no upsert does it unasked.

        Returns:
            True if there was something to do.
        """
        with self._reported("optimize"):
            return bool(self._shard.optimize())

    def flush(self) -> None:
        """Write everything to the disk itself, about 0.1 s per 20,000 new codes."""
        with self._reported("flush"):
            self._shard.flush()

    def close(self) -> None:
        """Flush and release the folder; the store cannot be used afterwards."""
        with self._reported("close"):
            self._shard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _engine() -> Any:
    """Import the engine, whose stubs do not match its enums, as untyped."""
    try:
        import qdrant_edge
    except ImportError as error:
        raise MissingExtra("qdrant-edge-py", "edge", "EdgeStore") from error
    return qdrant_edge


def _new_marker(name: str, on_disk: bool | None, datatype: Datatype | None) -> Marker:
    try:
        return Marker(name=name, on_disk=bool(on_disk), datatype=datatype or "float32")
    except ValueError as error:
        raise ConfigError(
            f"expected a name and a datatype of float32, float16 or uint8, got {name=}, {datatype=}"
        ) from error


def _vectors(codes: SparseVectors) -> list[Any]:
    """Spell each row as the engine's type; lists are cut from one conversion for speed."""
    edge = _engine()
    bounds = codes.indptr.tolist()
    indices, values = codes.indices.tolist(), codes.values.tolist()
    spans = [slice(*pair) for pair in pairwise(bounds)]
    return [edge.SparseVector(indices[span], values[span]) for span in spans]


def open_url(url: str) -> EdgeStore:
    """Open ``edge://path``: ``edge://index`` is relative, ``edge:///srv/index`` absolute.

    Args:
        url: Everything after ``edge://`` is the folder, taken as it stands.

    Returns:
        The store, with the settings of the folder or the defaults of a new one.

    Raises:
        ConfigError: If no folder is named.
    """
    path = url.removeprefix("edge://")
    if path == url or not path:
        raise ConfigError(f"expected 'edge://' and a folder, got {url!r}")
    return EdgeStore(path)
