"""Bytes per point, and the pace of writing, in Qdrant's embedded engine on a sample.

A scratch shard gets the sample's dense vectors and, as a job would write them, their codes
at every k. Then the engine optimises it, and the pages of each file that hold anything are
counted. Payloads, ids and log are left out: they stay as they are. Without the engine a
formula stands in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.collection.home import CodeVector, Page
from csrkit.collection.jobs.backfill import Coder
from csrkit.collection.plans.facts import Collection, Stored
from csrkit.collection.plans.target import ENTRY_BYTES, POSTING_BYTES, source_bytes
from csrkit.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.collection.homes.edge import EdgeHome
    from csrkit.model import CSRModel

    Floats = NDArray[np.float32]

__all__ = ["CodeBytes", "Weighed", "weigh"]

ROWS = 10_000  # weighed at most: more change little, and the graph takes time to build
GRAPH_BYTES = 128  # 32 links of 4 bytes on the ground floor, Qdrant's default
_BATCH = 500
_PAGE = 4096
_DENSE = "dense"


@dataclass(frozen=True)
class CodeBytes:
    """Bytes per point of the codes of one k.

    Attributes:
        code: Of the stored code.
        postings: Of its postings.
        residual: Of the residual beside it.
    """

    code: float
    postings: float
    residual: float


@dataclass(frozen=True)
class Weighed:
    """What the scratch shard showed.

    Attributes:
        dense: The dense vector.
        codes: By k.
        encode_rate: Points per second, codes and residuals, at the middle k.
        write_rate: Points per second, at the middle k; None without the engine.
    """

    dense: Stored
    codes: dict[int, CodeBytes]
    encode_rate: float
    write_rate: float | None


def weigh(model: CSRModel, rows: Floats, ks: Sequence[int], source: Collection) -> Weighed:
    """Store a sample as a job would, and weigh it.

    Args:
        model: Encodes.
        rows: float32 (n, dim), the sample.
        ks: Latents per stored code.
        source: The collection, whose datatype and distance the scratch shard has.

    Returns:
        Bytes and rates.

    Raises:
        StoreError: If the engine fails, or the disk of the temporary folder is full.
    """
    middle = ks[len(ks) // 2]
    rows = rows[:ROWS]
    pages, rate = _encoded(model, rows, middle)
    if find_spec("qdrant_edge") is None:
        sizes = {k: _by_formula(model, k) for k in ks}
        return Weighed(Stored(source_bytes(source), GRAPH_BYTES, False), sizes, rate, None)
    try:
        with _scratch(rows, source) as (folder, home):
            pace = _written(home, _codes(model, middle), pages)
            for k in set(ks) - {middle}:
                _written(home, _codes(model, k), _encoded(model, rows, k)[0])
            home.shard.optimize()
            home.shard.flush()
            sizes = {k: _of_codes(folder, model, k, len(rows)) for k in ks}
            dense = Stored(
                _bytes(folder, f"vector_storage-{_DENSE}") / len(rows),
                _bytes(folder, f"vector_index-{_DENSE}") / len(rows),
                True,
            )
    except OSError as error:
        raise StoreError(f"cannot weigh the sample in a temporary folder: {error}") from error
    return Weighed(dense, sizes, rate, pace)


def _codes(model: CSRModel, k: int) -> CodeVector:
    return CodeVector(f"csr{k}", model.n_latents, model.residual_bytes)


def _by_formula(model: CSRModel, k: int) -> CodeBytes:
    return CodeBytes(k * ENTRY_BYTES, k * POSTING_BYTES, model.residual_bytes)


def _encoded(model: CSRModel, rows: Floats, k: int) -> tuple[list[Page], float]:
    """Encode as a backfill does, and return points per second."""
    coder = Coder(model, _DENSE, _codes(model, k), k)
    coder.encode(Page([0], vectors=rows[:1]))  # what it imports is no part of it
    started = time.perf_counter()
    pages = [
        coder.encode(Page(list(range(at, at + len(part))), vectors=part))[0]
        for at in range(0, len(rows), _BATCH)
        if len(part := rows[at : at + _BATCH])
    ]
    return pages, len(rows) / max(time.perf_counter() - started, 1e-9)


def _written(home: EdgeHome, codes: CodeVector, pages: Sequence[Page]) -> float:
    """Write codes as a backfill does, and return points per second."""
    home.add(codes)
    started = time.perf_counter()
    for page in pages:
        home.write(codes, page)
    return sum(len(page.ids) for page in pages) / max(time.perf_counter() - started, 1e-9)


@contextmanager
def _scratch(rows: Floats, source: Collection) -> Iterator[tuple[Path, EdgeHome]]:
    """Yield a shard with the rows as dense vectors; it goes with its folder."""
    from csrkit.collection.homes.edge import EdgeHome
    from csrkit.stores._engine import edge_module

    edge = edge_module()
    with _folder() as folder:
        shard = edge.EdgeShard.create(str(folder), _config(edge, source))
        try:
            for at in range(0, len(rows), _BATCH):
                part = enumerate(rows[at : at + _BATCH].tolist(), at)
                points = [edge.Point(one, {_DENSE: row}, {}) for one, row in part]
                shard.update(edge.UpdateOperation.upsert_points(points))
            yield folder, EdgeHome(folder, shard=shard)
        finally:
            shard.close()


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a temporary folder, which goes even if Ctrl-C comes while it is being made."""
    folder = Path(gettempdir()) / f"csrkit-plan-{token_hex(8)}"
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def _config(edge: Any, source: Collection) -> Any:
    kinds = edge.VectorStorageDatatype
    kind = {"float16": kinds.Float16, "uint8": kinds.Uint8}.get(source.datatype, kinds.Float32)
    vector = edge.EdgeVectorParams(
        size=source.dim, distance=getattr(edge.Distance, source.distance), datatype=kind
    )
    # index at once, as a large collection has it, and keep no log
    always = edge.EdgeOptimizersConfig(indexing_threshold=1)
    return edge.EdgeConfig(vectors={_DENSE: vector}, optimizers=always, wal_enabled=False)


def _of_codes(folder: Path, model: CSRModel, k: int, n: int) -> CodeBytes:
    name = _codes(model, k).name
    return CodeBytes(
        code=_bytes(folder, f"vector_storage-{name}") / n,
        postings=_bytes(folder, f"vector_index-{name}") / n,
        residual=_bytes(folder, f"vector_storage-{name}_residual") / n,
    )


def _bytes(folder: Path, part: str) -> int:
    """Sum what the disk gave to the files of one part of the segments."""
    files = (path for path in (folder / "segments").rglob("*") if path.is_file())
    return sum(_content_bytes(path) for path in files if part in path.parts)


def _content_bytes(path: Path) -> int:
    """Count the pages that hold anything: files are longer than what is in them.

    What the disk gave (``st_blocks``) says the same, except in memory disks, as ``/tmp`` often
    is one, where the engine's maps of 32 MB are given whole.
    """
    content = np.fromfile(path, dtype=np.uint8)
    whole = content[: len(content) // _PAGE * _PAGE].reshape(-1, _PAGE)
    return _PAGE * int(whole.any(axis=1).sum()) + len(content) % _PAGE
