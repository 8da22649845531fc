"""CSR as it is used: codes in a real store, asked by a `Searcher`, at one k after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.baselines import Footprint, Way
from csrkit.baselines.base import ID_BYTES
from csrkit.evaluation.built import Built
from csrkit.evaluation.measure import TIMED
from csrkit.evaluation.resident import Resident, resident
from csrkit.evaluation.trial import BUCKETS
from csrkit.metrics import ENTRY_BYTES, bytes_per_vector, posting_cost
from csrkit.model.card import Setting
from csrkit.search import Searcher
from csrkit.stores import EdgeStore, MemoryStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.baselines import Subset
    from csrkit.evaluation.trial import Floats, RowNumbers, Trial
    from csrkit.model import CSRModel
    from csrkit.model.card import Rescore
    from csrkit.stores import Store
    from csrkit.vectors import SparseVectors

__all__ = ["CANDIDATES", "coded", "embedded"]

CANDIDATES = 100  # of the sparse stage, where a second stage scores them
FIELD = "bucket"  # of the payload, for the filters
# an entry of a posting list: in the engine's mutable index a uint32 id, a float32 weight and
# the float32 maximum of those after it; in MemoryStore an int64 row and a float64 weight
_EDGE_POSTING, _MEMORY_POSTING = 12, 16


def embedded() -> bool:
    """Tell whether codes can be measured in Qdrant's embedded engine."""
    from importlib.util import find_spec

    return find_spec("qdrant_edge") is not None


@contextmanager
def coded(model: CSRModel, trial: Trial, k_doc: int, ks: Sequence[int]) -> Iterator[Built]:
    """Encode and store documents, and offer the ways to ask for them.

    Args:
        model: Encodes.
        trial: Documents, whose row numbers become ids, and queries.
        k_doc: Latents per stored code.
        ks: Latents per query code.

    Yields:
        For each k: sparse alone, rescored by codes, by codes and residual bits, and by
        the float32 vectors.
    """
    started = time.perf_counter()
    codes = model.encode(trial.docs, k=k_doc)
    residuals = model.encode_residuals(trial.docs, codes)
    encoded = time.perf_counter() - started
    asked = model.encode_query(trial.queries[:TIMED], k=max(ks))
    fill = _in_engine if embedded() else _in_memory
    with fill(_Written(codes, residuals, trial.buckets), asked) as stored:
        ways = [way for k in ks for way in _ways(model, trial, stored, k_doc, k)]
        yield Built(encoded + stored.seconds, ways)


class _Written(NamedTuple):
    """What goes into a store, row by row."""

    codes: SparseVectors
    residuals: NDArray[np.uint8]
    buckets: NDArray[np.int64]

    def into(self, store: EdgeStore | MemoryStore) -> None:
        """Upsert it all."""
        payloads = [{FIELD: bucket} for bucket in self.buckets.tolist()]
        store.upsert(range(len(self.codes)), self.codes, payloads, residuals=self.residuals)


@dataclass(frozen=True)
class _Stored:
    """A store with codes and residuals in it.

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


@contextmanager
def _in_memory(rows: _Written, asked: SparseVectors) -> Iterator[_Stored]:
    started = time.perf_counter()
    store = MemoryStore()
    rows.into(store)
    store.search(asked[:1])  # builds the index
    seconds = time.perf_counter() - started
    held = rows.codes.nnz / len(rows.codes) * (ENTRY_BYTES + _MEMORY_POSTING) + ID_BYTES
    width = float(rows.residuals.shape[1])
    yield _Stored(store, rows.codes, seconds, held, width, _memory_filter, None)


@contextmanager
def _in_engine(rows: _Written, asked: SparseVectors) -> Iterator[_Stored]:
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
            yield _Stored(store, rows.codes, seconds, held, width, _edge_filter, memory)


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
        parts[kind] += 512 * path.stat().st_blocks  # files are longer than what is in them
    postings = parts["index"] or codes.nnz * _EDGE_POSTING
    return (parts["codes"] + postings) / len(codes), parts["residuals"] / len(codes)


def _ways(model: CSRModel, trial: Trial, stored: _Stored, k_doc: int, k: int) -> Iterator[Way]:
    """Yield the ways to ask at one k, from the cheapest to the dearest."""
    store, kept = stored.store, _footprints(model, stored)
    searchers: dict[str, tuple[Searcher, Rescore | None]] = {
        "csr": (Searcher(model, store, k_doc=k_doc, rescore=None), None),
        "csr + codes": (Searcher(model, _CodesAlone(store), k_doc=k_doc), "codes"),
        "csr + bits": (Searcher(model, store, k_doc=k_doc), "codes"),
        "csr + dense": (
            Searcher(model, store, k_doc=k_doc, rescore="dense", dense=trial.docs),
            "dense",
        ),
    }
    words = f"k={k}" if k == k_doc else f"k={k} over k={k_doc}"
    cost = float(posting_cost(model.encode_query(trial.queries, k=k), stored.codes).mean())
    for name, (searcher, rescore) in searchers.items():
        setting = Setting(k, CANDIDATES if rescore else None, rescore)
        index = _Asked(searcher, setting, kept[name], stored.filter_below)
        told = f"{words}, {CANDIDATES} candidates" if rescore else words
        memory = _memory_of(name, stored, model.dim)
        yield Way(name, "csr", told, index, k=k, posting_cost=cost, resident=memory)


def _memory_of(name: str, stored: _Stored, dim: int) -> float | None:
    """Return the memory per vector of one way to ask; dense vectors are held as an array."""
    if stored.memory is None:
        return None
    searched, fetched, fetched_both = (size / len(stored.codes) for size in stored.memory)
    return {
        "csr": searched,
        "csr + codes": fetched,
        "csr + bits": fetched_both,
        "csr + dense": searched + 4.0 * dim,
    }[name]


def _footprints(model: CSRModel, stored: _Stored) -> dict[str, Footprint]:
    """Say what each way must keep; the dense vectors are kept outside of the store."""
    code = float(bytes_per_vector(stored.codes).mean())
    encoder = float(model.encoder.nbytes + model.latent_bias.nbytes + model.pre_bias.nbytes)
    decoder = 0.0 if model.decoder is model.encoder else float(model.decoder.nbytes)
    basis = 0.0 if model.residual_basis is None else float(model.residual_basis.nbytes)
    sparse = Footprint(stored.code_bytes, 0.0, code, encoder)
    decoded = sparse._replace(shared=encoder + decoder)
    originals = 4.0 * model.dim
    return {
        "csr": sparse,
        "csr + codes": decoded,
        "csr + bits": decoded._replace(
            per_vector=sparse.per_vector + stored.residual_bytes,
            retained=stored.residual_bytes,
            code=code + model.residual_bytes,
            shared=encoder + decoder + basis,
        ),
        "csr + dense": sparse._replace(
            per_vector=sparse.per_vector + originals, retained=originals
        ),
    }


@dataclass(frozen=True, eq=False)
class _Asked:
    """A `Searcher` at one setting, as an `Index`."""

    searcher: Searcher
    setting: Setting
    footprint: Footprint
    filter_below: Callable[[int], Any]

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        keep = None if among is None else self.filter_below(round(among.share * BUCKETS))
        found = self.searcher.run(queries, self.setting, limit=n, filter=keep)
        rows = np.full((len(queries), n), -1, dtype=np.int64)
        for row, hits in enumerate(found):
            rows[row, : len(hits)] = [hit.id for hit in hits]
        return rows


class _CodesAlone:
    """A store as it would be without residuals, so that codes alone rescore."""

    def __init__(self, store: Store) -> None:
        self.upsert, self.search, self.fetch = store.upsert, store.search, store.fetch
        self.delete, self.count = store.delete, store.count
