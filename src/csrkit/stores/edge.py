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

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from csrkit.errors import ConfigError, StoreError
from csrkit.stores._checks import Held, Upsert, checked_upsert
from csrkit.stores._engine import LITTLE, Engine, check_room, edge_module, sparse, written_bytes
from csrkit.stores._ids import checked_ids, point_id, shown, stored_id, with_id
from csrkit.stores._marker import Datatype, Marker
from csrkit.stores._points import First, PointStore, Second, residual_name
from csrkit.stores.base import Ids, Payload
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_edge import EdgeShard, Filter

__all__ = ["EdgeStore", "open_url"]

_LARGEST_FLOAT16 = 65504.0  # above it a float16 posting is infinite


class EdgeStore(PointStore["Filter"]):
    """Codes in Qdrant's embedded engine, in a folder of this machine.

    An upsert survives the death of the process once it returns (the engine
    writes a log first); `flush` also survives the machine's. Strings that are
    no UUIDs are kept under a UUIDv5, with the string in the payload under
    ``"csrkit_id"``, a key that payloads may not use. Filters are ``qdrant_edge.Filter``.

    Codes are stored in full float32 whatever the ``datatype``, so `fetch` is
    exact; the datatype and ``on_disk`` say how the postings are kept that
    `search` reads, and take effect when the engine builds its final index, at
    `optimize`. On 25,000 normalised codes of 24 latents scores were off by up
    to 2e-4 with float16 and 2e-3 with uint8.

    Residuals are a second vector, ``"<name>_residual"``, of bytes and without a
    graph: searches do not read it.

    The folder is the store's own: a replaced point loses vectors that somebody
    added to it through `shard`, as the dense one that `search_dense` ranks by.

    Args:
        path: Folder; made if missing, opened if an EdgeStore made it.
        create: Make a store in a folder that is missing or empty; False refuses.
        name: Name of the sparse vector.
        on_disk: Keep the postings on disk: less memory, slower when cold. None:
            as stored, in memory for a new folder.
        datatype: Values in the postings; None: as stored, float32 for a new
            folder. At 100,000 codes of 32 latents the postings took 170, 111
            and 82 bytes per code for float32, float16 and uint8.
        codec: Fingerprint of the codec, ``model.fingerprint``: a folder of another
            codec's codes is refused, and a new one notes it; see `bind`.

    Raises:
        ConfigError: If the path is a URL or none, or another argument is out of range.
        MissingExtra: If qdrant-edge-py is not installed.
        StoreError: If the folder is no EdgeStore's, has another name, other
            settings or another codec's codes, is open elsewhere, or is not there
            and may not be made.

    Examples:
        >>> import tempfile
        >>> codes = SparseVectors.from_dense([[0.6, 0.8, 0], [0, 0, 1]])
        >>> with EdgeStore(tempfile.mkdtemp()) as store:
        ...     store.upsert(["a", "b"], codes, [{"lang": "en"}, None])
        ...     store.search(codes[1])
        [[Hit(id='b', score=1.0, payload=None)]]
    """

    _batch_size = 1000  # per call of the engine: 42,000 points/s, and more gains nothing

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        create: bool = True,
        name: str = "csr",
        on_disk: bool | None = None,
        datatype: Datatype | None = None,
        codec: str | None = None,
    ) -> None:
        super().__init__()
        edge_module()  # before a folder is made
        if not isinstance(path, str | PathLike) or "://" in str(path):
            raise ConfigError(
                f"expected the path of a folder, got {path!r}: a URL is for open_store(url)"
            )
        self._folder = Path(path)
        self._marker = Marker.opened(self._folder, name, on_disk, datatype, create=create)
        self._name = name
        self._known = self._marker.held
        if codec is not None:
            self.bind(codec)
        self._opened = Engine(self._folder, self._marker)
        self._process = os.getpid()
        self._has_residuals = False  # whether this object has seen to their vector

    def __repr__(self) -> str:
        return f"EdgeStore({str(self._folder)!r}, name={self._name!r}, dim={self.dim})"

    @property
    def _engine(self) -> Engine:
        if os.getpid() != self._process:  # its threads stayed there: every call would hang
            raise StoreError(
                f"{self._folder}: expected the process {self._process} that opened the store, got "
                f"its fork {os.getpid()}: open the folder in one process, or start others by spawn"
            )
        return self._opened

    @property
    def shard(self) -> EdgeShard:
        """The engine's own object, for what csrkit does not wrap: payload indexes, scroll, fusion.

        What is written through it is not checked; see the module's warning.
        """
        return self._engine.shard

    def upsert(
        self,
        ids: Ids,
        codes: SparseVectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        residuals: NDArray[np.uint8] | None = None,
    ) -> None:
        """Insert or replace codes, payloads and residuals; see `ResidualStore.upsert`.

        Args:
            ids: One id per code, each once.
            codes: Rows to store.
            payloads: One JSON object or None per id; left out, ids keep theirs.
            residuals: uint8 (n, width), or None; as the first upsert had it.

        Raises:
            ShapeError: If the numbers or the widths do not match.
            StoreError: If an id, payload or value is refused, the disk has less
                than 67 MB free, or the engine fails; the message names the ids
                of the batch that failed. The batches before it are stored.
        """
        checked = checked_upsert(ids, codes, payloads, self._known, residuals)
        self._refuse_overflow(checked)
        if not checked.ids:
            return
        self._note(self._noted(checked))
        for batch, doing in checked.batches(self._batch_size):
            self._write(batch, doing)

    def _note(self, held: Held) -> None:
        """Note what is held before the first code is: codes of unknown width cannot be fetched."""
        if self._known is None:
            self._marker = self._marker.model_copy(update=held._asdict())
            self._marker.write(self._folder)
            self._known = held
        if held.residual_bytes and not self._has_residuals:
            self._engine.add_bytes(residual_name(self._name), held.residual_bytes)
            self._has_residuals = True

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
        edge = edge_module()
        points = list(map(point_id, batch.ids))
        vectors = self._named(sparse(batch.codes), batch)
        stored: set[int | str] = set()
        if batch.payloads is None:  # stored points keep their payload: change their vectors alone
            stored = {stored_id(one.id) for one in self._retrieve(points, [], doing)}
        payloads = batch.payloads or [{}] * len(points)
        rows = zip(points, vectors, batch.ids, payloads, strict=True)
        new = [edge.Point(p, v, with_id(i, load)) for p, v, i, load in rows if p not in stored]
        old = [edge.PointVectors(p, v) for p, v in zip(points, vectors, strict=True) if p in stored]
        if new:
            self._engine.update(edge.UpdateOperation.upsert_points(new), doing)
        if old:
            self._engine.update(edge.UpdateOperation.update_vectors(old), doing)

    def _ask(
        self, codes: SparseVectors, first: First[Filter], second: Second | None = None
    ) -> list[Any]:
        if first.filter is not None and not isinstance(first.filter, edge_module().Filter):
            kind = type(first.filter)
            raise StoreError(
                f"{self._folder}: expected a filter of qdrant_edge, qdrant_edge.Filter(...), got "
                f"{kind.__module__}.{kind.__qualname__}"
            )
        found: list[Any] = []
        for start in range(0, len(codes), self._batch_size):
            batch = enumerate(sparse(codes[start : start + self._batch_size]), start)
            with self._engine.reported("search"):
                requests = [self._request(code, row, first, second) for row, code in batch]
                found += self.shard.query_batch(edge_module().QueryBatchRequest(requests))
        return found

    def _request(self, code: Any, row: int, first: First[Filter], second: Second | None) -> Any:
        edge = edge_module()
        near = edge.Query.Nearest(code, self._name)
        limit, keep, least, names = first
        if second is None:
            return edge.QueryRequest(
                limit=limit,
                query=near,
                filter=keep,
                with_payload=not names,
                with_vector=list(names) or False,
            )
        prefetch = edge.Prefetch(limit=limit, query=near, filter=keep, score_threshold=least)
        again = edge.Query.Nearest(second.rows[row].tolist(), second.vector)
        return edge.QueryRequest(
            limit=second.limit, prefetches=[prefetch], query=again, with_payload=True
        )

    def _dense_sizes(self) -> dict[str, int]:
        sizes = self._engine.dense_sizes
        return {name: size for name, size in sizes.items() if name != residual_name(self._name)}

    def _refreshed(self) -> Held | None:
        return self._known  # no other process has the folder open

    def _retrieve(
        self, points: list[Any], names: list[str], doing: str, *, payloads: bool = False
    ) -> list[Any]:
        return self._engine.retrieve(points, names, doing, payloads=payloads)

    def delete(self, ids: Ids) -> None:
        """Remove ids; those that are not there are ignored.

        Args:
            ids: Ids to remove.

        Raises:
            StoreError: If an entry is no id, or the engine fails.
        """
        plain = checked_ids(ids)
        if plain:
            operation = edge_module().UpdateOperation.delete_points(list(map(point_id, plain)))
            self._engine.update(operation, f"delete {shown(plain)}")

    def count(self) -> int:
        """Return the exact number of stored ids."""
        with self._engine.reported("count"):
            return int(self._engine.shard.count(edge_module().CountRequest(exact=True)))

    def optimize(self) -> bool:
        """Build the engine's final index: once after a large load, minutes for millions of codes.

        The disk needs room for a second copy of the store meanwhile.

        It brings ``datatype`` and ``on_disk`` into effect and drops deleted
        points from disk. At 30,000 codes it took 0.5 s and left the time of a
        query as it was, so no upsert does it unasked.

        Returns:
            True if there was something to do.

        Raises:
            StoreError: If the disk has no room for it, or the engine fails.
        """  # noqa: DOC502  # raised by helpers
        check_room(self._folder, "optimize", LITTLE + written_bytes(self._folder))
        with self._engine.reported("optimize"):
            return bool(self._engine.shard.optimize())

    def flush(self) -> None:
        """Write everything to the disk itself, about 0.1 s per 20,000 new codes."""
        with self._engine.reported("flush"):
            self._engine.shard.flush()

    def close(self) -> None:
        """Flush and release the folder; the store cannot be used afterwards."""
        with self._engine.reported("close"):
            self._engine.shard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_url(url: str, *, create: bool = False) -> EdgeStore:
    """Open ``edge://path``: ``edge://index`` is relative, ``edge:///srv/index`` absolute.

    Args:
        url: Everything after ``edge://`` is the folder, taken as it stands.
        create: Make a store in a folder that is missing or empty.

    Returns:
        The store, with the settings of the folder or the defaults of a new one.

    Raises:
        ConfigError: If no folder is named.
    """
    path = url.removeprefix("edge://")
    if path == url or not path:
        raise ConfigError(f"expected 'edge://' and a folder, got {url!r}")
    return EdgeStore(path, create=create)
