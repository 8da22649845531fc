"""Qdrant's embedded engine on one folder, its failures as csrkit's errors."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from csrkit.errors import MissingExtra, StoreError

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

    from csrkit.stores._marker import Marker
    from csrkit.vectors import SparseVectors

__all__ = [
    "LITTLE",
    "Engine",
    "check_opening",
    "check_room",
    "edge_module",
    "sparse",
    "written_bytes",
]

LITTLE = 1 << 20  # bytes, enough for an operation that carries no data
_OPENING = 40 << 20  # 33 MB were too few for a store and for a shard, 40 MB enough
_RESERVE = 64 << 20  # a new vector of bytes takes 32 MB on some disks, 1,000 codes 1 MB


def edge_module() -> Any:
    """Import the engine, whose stubs do not match its enums, as untyped.

    Returns:
        The module ``qdrant_edge``.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        import qdrant_edge
    except ImportError as error:
        raise MissingExtra("qdrant-edge-py", "edge", "EdgeStore") from error
    return qdrant_edge


def sparse(codes: SparseVectors) -> Iterator[Any]:
    """Spell each row as the engine's type, which copies: its lists are let go before the next.

    Args:
        codes: Rows.

    Yields:
        One ``qdrant_edge.SparseVector`` per row.
    """
    vector, indices, values = edge_module().SparseVector, codes.indices, codes.values
    for start, stop in pairwise(codes.indptr.tolist()):
        yield vector(indices[start:stop].tolist(), values[start:stop].tolist())


def check_room(folder: Path, doing: str, need: int = _RESERVE) -> None:
    """Refuse to write to a disk that is all but full.

    The engine writes through maps of its files, and the system ends a process
    (SIGBUS) that writes to a map when the disk has no page left for it.

    Args:
        folder: Where the engine writes.
        doing: What is to be done, for the message.
        need: Bytes that must be free.

    Raises:
        StoreError: If fewer are, or the folder is gone.
    """
    try:
        total, _, free = shutil.disk_usage(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot {doing}: {error.strerror}") from error
    if total and free < need:  # some file systems do not know their size
        raise StoreError(
            f"{folder}: cannot {doing}: expected {need / 1e6:,.1f} MB free on its disk, got "
            f"{free / 1e6:,.1f}: a full disk kills the engine, and this process with it. "
            "Make room and repeat the call; what was stored before is kept"
        )


def check_opening(folder: Path) -> None:
    """Refuse to open a folder in memory (tmpfs) that is all but full.

    The engine reserves more than it fills, and there what was only reserved
    takes room as it is read; other file systems can be full.

    Args:
        folder: Where the engine's files are, or will be.

    Raises:
        StoreError: If fewer than 42 MB are free, and it is one.
    """
    try:
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return  # no Linux, or no folder, of which the engine tells
    where = f"{os.major(device)}:{os.minor(device)}"
    if any(line.split()[2] == where and " - tmpfs " in line for line in mounts):
        check_room(folder, "open it", _OPENING)


def written_bytes(folder: Path) -> int:
    """Return what the files of a folder occupy, those in its folders too.

    Args:
        folder: Where to look.

    Returns:
        Bytes; holes in files, such as the engine reserves, do not count.
    """
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


class Engine:
    """The engine in a folder, made if missing.

    Args:
        folder: Folder of the store; the engine's files are in a folder below it.
        marker: What the store holds.

    Raises:
        StoreError: If the folder is open elsewhere, its disk all but full, or the engine fails.
    """

    def __init__(self, folder: Path, marker: Marker) -> None:
        self._folder = folder
        self._home = folder / "engine"
        self._failed: str | None = None  # why it may not be written to any more
        check_opening(folder)
        with self.reported("open the store"):
            self.shard: EdgeShard = _opened(self._home, marker)

    @contextmanager
    def reported(self, doing: str) -> Iterator[None]:
        """Turn whatever the engine raises, its panics too, into StoreError.

        Args:
            doing: What is done, for the message.

        Yields:
            Nothing.

        Raises:
            StoreError: If the engine raised; the cause is chained.
        """
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

    def update(self, operation: Any, doing: str) -> None:
        """Apply an operation.

        Args:
            operation: A ``qdrant_edge.UpdateOperation``.
            doing: What it does, for the message.

        Raises:
            StoreError: If the engine fails, or panicked before, or the disk is all but full.
        """
        if self._failed:
            raise StoreError(f"cannot {doing}: {self._failed}")
        check_room(self._folder, doing)
        with self.reported(doing):
            self.shard.update(operation)

    def add_bytes(self, name: str, width: int) -> None:
        """Add a vector of bytes to every point, unless it is there.

        Args:
            name: Name of the vector.
            width: Bytes per point.

        Raises:
            StoreError: If there is another vector of this name.
        """
        engine = edge_module()
        dot, uint8 = engine.Distance.Dot, engine.VectorStorageDatatype.Uint8
        operation = engine.UpdateOperation.create_dense_vector(name, width, dot, None, uint8)
        self.update(operation, f"add the vector {name!r} of {width} bytes")

    @property
    def dense_sizes(self) -> dict[str, int]:
        """Width of each dense vector by name, as the engine's own settings have it."""
        config = json.loads((self._home / "edge_config.json").read_bytes())
        return {name: params["size"] for name, params in config.get("vectors", {}).items()}

    def retrieve(
        self, points: Sequence[Any], names: list[str], doing: str, *, payloads: bool = False
    ) -> list[Any]:
        """Return the records of those of the points that are there, in any order.

        Args:
            points: The engine's ids.
            names: Vectors to return with them.
            doing: What this is for, for the message.
            payloads: Whether to return payloads with them.

        Returns:
            Records.

        Raises:
            StoreError: If the engine fails.
        """
        with self.reported(doing):
            # with no names it would still copy all vectors
            return list(self.shard.retrieve(list(points), payloads, names or False))


def _opened(home: Path, marker: Marker) -> Any:
    engine = edge_module()
    if (home / "edge_config.json").exists():
        return engine.EdgeShard.load(str(home))
    params = engine.EdgeSparseVectorParams(
        datatype=getattr(engine.VectorStorageDatatype, marker.datatype.capitalize()),
        memory=engine.Memory.Cold if marker.on_disk else engine.Memory.Pinned,
    )
    config = engine.EdgeConfig(sparse_vectors={marker.name: params}, hnsw_config=_no_graph())
    return engine.EdgeShard.create(str(home), config)


def _no_graph() -> Any:
    """Spell HNSW with m=0: nothing here is found by walking a graph of dense vectors."""
    return edge_module().HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)
