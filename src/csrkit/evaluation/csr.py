"""CSR as it is used: codes in a real store, asked by a `Searcher`, at one k after the other.

Two stores per k: codes with residual bits, and refitted codes, which are rescored without.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from csrkit.baselines import Footprint, Way
from csrkit.evaluation.built import Built
from csrkit.evaluation.measure import TIMED
from csrkit.evaluation.stored import Rows, Stored, stored
from csrkit.metrics import bytes_per_vector, posting_cost
from csrkit.model import CSRModel
from csrkit.model.card import Setting
from csrkit.search import Searcher

if TYPE_CHECKING:
    from csrkit.baselines import Subset
    from csrkit.evaluation.trial import Floats, RowNumbers, Trial
    from csrkit.model.card import Rescore
    from csrkit.search import HeadEncoder, SearchEncoder
    from csrkit.stores import Hit
    from csrkit.vectors import SparseVectors

__all__ = ["CANDIDATES", "coded", "lexical", "refitted", "row_numbers"]

_How: TypeAlias = "Mapping[str, tuple[Searcher, Rescore | None]]"  # by name of the row

CANDIDATES = 100  # of the sparse stage, where a second stage scores them


@contextmanager
def coded(model: CSRModel, trial: Trial, k_doc: int, ks: Sequence[int]) -> Iterator[Built]:
    """Encode and store documents with residual bits, and offer the ways to ask for them.

    Args:
        model: Encodes.
        trial: Documents, whose row numbers become ids, and queries.
        k_doc: Latents per stored code.
        ks: Latents per query code.

    Yields:
        For each k: sparse alone, rescored by codes and residual bits, and by the float32
        vectors.
    """
    model.encode(trial.docs[:1])  # what it imports is no part of a build
    started = time.perf_counter()
    codes = model.encode(trial.docs, k=k_doc)
    residuals = model.encode_residuals(trial.docs, codes)
    encoded = time.perf_counter() - started
    with stored(Rows(codes, residuals, trial.buckets), _asked(model, trial, ks)) as index:
        kept, searcher = _footprints(model, index), partial(Searcher, model, index.store)
        how: _How = {
            "csr": (searcher(k_doc=k_doc, rescore=None), None),
            "csr + bits": (searcher(k_doc=k_doc), "codes"),
            "csr + dense": (searcher(k_doc=k_doc, rescore="dense", dense=trial.docs), "dense"),
        }
        yield Built(encoded + index.seconds, list(_ways(trial, index, kept, how, ks)))


@contextmanager
def refitted(model: CSRModel, trial: Trial, k_doc: int, ks: Sequence[int]) -> Iterator[Built]:
    """Store refitted codes and nothing else, and offer to rescore by them.

    Args:
        model: Encodes.
        trial: Documents, whose row numbers become ids, and queries.
        k_doc: Latents per stored code.
        ks: Latents per query code.

    Yields:
        One way for each k.
    """
    model.refit(trial.docs[:1], model.encode(trial.docs[:1]))  # as in coded
    started = time.perf_counter()
    codes = model.refit(trial.docs, model.encode(trial.docs, k=k_doc))
    encoded = time.perf_counter() - started
    with stored(Rows(codes, None, trial.buckets), _asked(model, trial, ks)) as index:
        how: _How = {"csr + codes": (Searcher(model, index.store, k_doc=k_doc), "codes")}
        ways = _ways(trial, index, _footprints(model, index), how, ks)
        yield Built(encoded + index.seconds, list(ways))


@contextmanager
def lexical(model: HeadEncoder, trial: Trial, k_doc: int, ks: Sequence[int]) -> Iterator[Built]:
    """Store the codes of an encoder that cannot decode, such as `csrkit.joint.Side`.

    Args:
        model: Encodes, and tells its ``nbytes``.
        trial: Documents, whose row numbers become ids, and queries.
        k_doc: Latents per stored code.
        ks: Latents per query code.

    Yields:
        For each k: sparse alone, and rescored by the float32 vectors.
    """
    started = time.perf_counter()
    codes = model.encode(trial.docs, k=k_doc)
    encoded = time.perf_counter() - started
    with stored(Rows(codes, None, trial.buckets), _asked(model, trial, ks)) as index:
        searcher = partial(Searcher, model, index.store, k_doc=k_doc)
        how: _How = {
            "lexical": (searcher(rescore=None), None),
            "lexical + dense": (searcher(rescore="dense", dense=trial.docs), "dense"),
        }
        ways = _ways(trial, index, _footprints(model, index), how, ks)
        yield Built(encoded + index.seconds, list(ways))


def _asked(model: SearchEncoder, trial: Trial, ks: Sequence[int]) -> SparseVectors:
    return model.encode_query(trial.queries[:TIMED], k=max(ks))


def _ways(
    trial: Trial,
    index: Stored,
    kept: Mapping[str, Footprint],
    how: _How,
    ks: Sequence[int],
) -> Iterator[Way]:
    """Yield the ways to ask at each k, from the cheapest to the dearest."""
    for k, (name, (searcher, rescore)) in product(ks, how.items()):
        model, k_doc = searcher.model, searcher.k_doc
        words = f"k={k}" if k == k_doc else f"k={k} over k={k_doc}"
        cost = float(posting_cost(model.encode_query(trial.queries, k=k), index.codes).mean())
        setting = Setting(k, CANDIDATES if rescore else None, rescore)
        asked = _Asked(searcher, setting, kept[name], index)
        told = f"{words}, {CANDIDATES} candidates" if rescore else words
        memory = _memory_of(name, index, model.dim)
        yield Way(name, "csr", told, asked, k=k, posting_cost=cost, resident=memory)


def _memory_of(name: str, index: Stored, dim: int) -> float | None:
    """Return the memory per vector of one way to ask; dense vectors are held as an array."""
    if index.memory is None:
        return None
    searched, fetched, fetched_both = (size / len(index.codes) for size in index.memory)
    return {
        "csr": searched,
        "csr + codes": fetched,
        "csr + bits": fetched_both,
        "csr + dense": searched + 4.0 * dim,
        "lexical": searched,
        "lexical + dense": searched + 4.0 * dim,
    }[name]


def _footprints(model: CSRModel | HeadEncoder, index: Stored) -> dict[str, Footprint]:
    """Say what each way must keep; the dense vectors are kept outside of the store."""
    code = float(bytes_per_vector(index.codes).mean())
    originals = 4.0 * model.dim
    if not isinstance(model, CSRModel):
        plain = Footprint(index.code_bytes, 0.0, code, float(model.nbytes))
        kept = plain._replace(per_vector=plain.per_vector + originals, retained=originals)
        return {"lexical": plain, "lexical + dense": kept}
    encoder = float(model.encoder.nbytes + model.latent_bias.nbytes + model.pre_bias.nbytes)
    decoder = 0.0 if model.decoder is model.encoder else float(model.decoder.nbytes)
    basis = 0.0 if model.residual_basis is None else float(model.residual_basis.nbytes)
    sparse = Footprint(index.code_bytes, 0.0, code, encoder)
    decoded = sparse._replace(shared=encoder + decoder)
    return {
        "csr": sparse,
        "csr + codes": decoded,
        "csr + bits": decoded._replace(
            per_vector=sparse.per_vector + index.residual_bytes,
            retained=index.residual_bytes,
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
    index: Stored

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        keep = self.index.filter(among)
        return row_numbers(self.searcher.run(queries, self.setting, limit=n, filter=keep), n)


def row_numbers(found: Sequence[Sequence[Hit]], n: int) -> RowNumbers:
    """Return the ids of hits, which are row numbers, as int64 (q, n); -1 where there is none."""
    rows = np.full((len(found), n), -1, dtype=np.int64)
    for row, hits in enumerate(found):
        rows[row, : len(hits)] = [hit.id for hit in hits]
    return rows
