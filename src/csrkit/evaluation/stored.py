"""A real store with codes in it, weighed: Qdrant's embedded engine, or `MemoryStore` without it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from csrkit.baselines.base import ID_BYTES
from csrkit.evaluation.resident import Resident, resident
from csrkit.evaluation.trial import BUCKETS
from csrkit.metrics import ENTRY_BYTES
from csrkit.stores import EdgeStore, MemoryStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from csrkit.baselines import Subset
    from csrkit.vectors import SparseVectors

__all__ = ["TELLS_BLOCKS", "Rows", "Stored", "embedded", "stored"]

TELLS_BLOCKS = hasattr(os.stat_result, "st_blocks")  # not on Windows
FIELD = "bucket"  # of the payload, for the filters
# an entry of a posting list: in the engine's mutable index a uint32 id, a float32 weight and
# the float32 maximum of those after it; in MemoryStore an int64 row and a float64 weight
_EDGE_POSTING, _MEMORY_POSTING = 12, 16


def embedded() -> bool:
    """Tell whether codes can be measured in Qdrant's embedded engine."""
    from importlib.util import find_spec

    return find_spec("qdrant_edge") is not None


class Rows(NamedTuple):
    """What goes into a store, row by row.

    Attributes:
        codes: Of the documents.
        residuals: uint8 (n, width), or None.
        buckets: int64 (n,), into the payloads, for the filters.
    """

    codes: SparseVectors
    residuals: NDArray[np.uint8] | None
    buckets: NDArray[np.int64]

    def into(self, store: EdgeStore | MemoryStore) -> None:
        """Upsert it all."""
        payloads = [{FIELD: bucket} for bucket in self.buckets.tolist()]
        store.upsert(range(len(self.codes)), self.codes, payloads, residuals=self.residuals)


@dataclass(frozen=True)
class Stored:
    """A store with codes in it, and residuals if there are any.

    Attributes:
        store: The store.
        codes: What is in it.
        seconds: What it took to fill.
        code_bytes: Per vector, all that the codes take: stored vector, postings, id.
        residual_bytes: Per vector, what the residuals take.
        filter_below: Makes the store's filter for buckets below a number.
        memory: What it takes of it, if it could be measured.
    """

    store: EdgeStore | MemoryStore
    codes: SparseVectors
    seconds: float
    code_bytes: float
    residual_bytes: float
    filter_below: Callable[[int], Any]
    memory: Resident | None

    def filter(self, subset: Subset | None) -> Any:
        """Return the store's own filter for a subset; None for all."""
        return None if subset is None else self.filter_below(round(subset.share * BUCKETS))


def stored(rows: Rows, asked: SparseVectors) -> AbstractContextManager[Stored]:
    """Put rows into a new store, which goes when the context is left.

    Args:
        rows: Codes, residuals and buckets; row numbers become ids.
        asked: Query codes, for the memory to be measured with.

    Returns:
        A context with the store.
    """
    return (_in_engine if embedded() else _in_memory)(rows, asked)


@contextmanager
def _in_memory(rows: Rows, asked: SparseVectors) -> Iterator[Stored]:
    started = time.perf_counter()
    store = MemoryStore()
    rows.into(store)
    store.search(asked[:1])  # builds the index
    seconds = time.perf_counter() - started
    held = rows.codes.nnz / len(rows.codes) * (ENTRY_BYTES + _MEMORY_POSTING) + ID_BYTES
    width = 0.0 if rows.residuals is None else float(rows.residuals.shape[1])
    yield Stored(store, rows.codes, seconds, held, width, _memory_filter, None)


@contextmanager
def _in_engine(rows: Rows, asked: SparseVectors) -> Iterator[Stored]:
    with TemporaryDirectory(prefix="csrkit-evaluate-") as folder:
        started = time.perf_counter()
        with EdgeStore(folder) as store:
            rows.into(store)
            _index_buckets(store)
            store.optimize()
        seconds = time.perf_counter() - started
        memory = resident(Path(folder), asked)  # one process at a time may open it
        held, width = _disk_bytes(Path(folder), rows.codes)
        with EdgeStore(folder) as store:
            yield Stored(store, rows.codes, seconds, held, width, _edge_filter, memory)


def _index_buckets(store: EdgeStore) -> None:
    import qdrant_edge

    kind = qdrant_edge.PayloadSchemaType.Integer
    store.shard.update(qdrant_edge.UpdateOperation.create_field_index(FIELD, kind))


def _edge_filter(bucket: int) -> Any:
    import qdrant_edge

    below = qdrant_edge.RangeFloat(lt=bucket)
    return qdrant_edge.Filter(must=[qdrant_edge.FieldCondition(key=FIELD, range=below)])


def _memory_filter(bucket: int) -> Any:
    return lambda payload: payload[FIELD] < bucket


def _disk_bytes(folder: Path, codes: SparseVectors) -> tuple[float, float]:
    """Weigh what the disk gave per vector for codes, and for residuals; no payloads and no log.

    A small collection has no index on disk: its postings are made in memory at
    each start, and are counted as that.
    """
    parts = {"codes": 0, "residuals": 0, "index": 0}
    for path in (folder / "engine" / "segments").rglob("*"):
        names = path.relative_to(folder).parts
        if not path.is_file() or any(name.startswith("payload") for name in names):
            continue
        residual = any(name.endswith("_residual") for name in names)
        index = any(name.startswith("vector_index") for name in names)
        kind = "residuals" if residual else "index" if index else "codes"
        parts[kind] += _taken(path)
    postings = parts["index"] or codes.nnz * _EDGE_POSTING
    return (parts["codes"] + postings) / len(codes), parts["residuals"] / len(codes)


def _taken(path: Path) -> int:
    """Return the bytes that the disk gave a file; its length, which is more, if it is not told."""
    found = path.stat()
    return 512 * found.st_blocks if TELLS_BLOCKS else found.st_size
