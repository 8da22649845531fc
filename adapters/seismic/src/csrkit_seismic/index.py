"""`Index`: Seismic over the first rows of a table; it gives candidates, and never changes.

Seismic numbers a batch of codes by row, keeps their values in 16 bits, and prints while it
builds: that goes to the standard error, for the standard output is for results.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import seismic
from numpy.typing import NDArray

from csrkit.errors import StoreError
from csrkit.vectors import SparseVectors

__all__ = ["Index", "Knobs"]

_NARROW = 2**16  # latents that Seismic's index of 16-bit components can tell apart
_FEW = 2**13  # latents whose names are kept, 3 MB
_SUFFIX = ".index.seismic"  # what Seismic adds to the name of a file


class Knobs(NamedTuple):
    """How much of the index a search looks at.

    Attributes:
        query_cut: Most latents of a query whose lists are looked at, the heaviest first.
        heap_factor: From 0, where no block of a list is skipped, to 1: a block is skipped if its
            estimate is below this share of the worst score found so far.
    """

    query_cut: int
    heap_factor: float


class Index:
    """Seismic's index and the latents it knows."""

    def __init__(self, native: Any, latents: NDArray[np.int32] | None) -> None:
        self._native, self._latents = native, latents
        self._words = np.arange(_FEW).astype(seismic.get_seismic_string())

    @classmethod
    def built(cls, codes: SparseVectors, *, n_postings: int, threads: int) -> Index:
        """Build an index; empty rows are in none of its lists."""
        latents = _latents(codes)
        known = codes.indices if latents is None else np.searchsorted(latents, codes.indices)
        width = codes.dim if latents is None else max(1, len(latents))
        data, kind = _kinds(width)
        with _reported("build the index"):
            rows = data(dim=width)
            ids = list(map(str, range(len(codes))))
            rows.add_documents_by_id(ids, known.astype(np.int64), codes.values, codes.indptr)
            native = kind.build_from_dataset(rows, n_postings=n_postings, num_threads=threads)
        return cls(native, latents)

    @classmethod
    def load(cls, path: Path, codes: SparseVectors) -> Index:
        """Read an index that was saved over these codes."""
        latents = _latents(codes)
        _, kind = _kinds(codes.dim if latents is None else max(1, len(latents)))
        with _reported(f"read {path}{_SUFFIX}"):
            return cls(kind.load(f"{path}{_SUFFIX}"), latents)

    def save(self, path: Path) -> None:
        """Write the index to a file, whose name gets Seismic's suffix."""
        with _reported(f"write {path}{_SUFFIX}"):
            self._native.save(str(path))

    def rows(self, query: SparseVectors, top: int, knobs: Knobs) -> list[int]:
        """Return at most ``top`` rows that share a latent with a query, nearly the nearest."""
        indices: NDArray[Any] = query.indices
        values = query.values
        if self._latents is not None:
            _, indices, which = np.intersect1d(
                self._latents, indices, assume_unique=True, return_indices=True
            )
            values = values[which]
        if not len(indices):
            return []
        is_few = indices[-1] < _FEW
        words = self._words.take(indices) if is_few else indices.astype(self._words.dtype)
        try:
            found = self._native.search("", words, values, top, *knobs)
        except BaseException as error:
            _report("search", error)
        return [int(row) for _, _, row in found]


def _latents(codes: SparseVectors) -> NDArray[np.int32] | None:
    """Return the latents that occur, where there are too many to have a list each."""
    return None if codes.dim <= _NARROW else np.unique(codes.indices)


def _kinds(width: int) -> tuple[Any, Any]:
    if width <= _NARROW:
        return seismic.SeismicDataset, seismic.SeismicIndex
    return seismic.SeismicDatasetLV, seismic.SeismicIndexLV


@contextmanager
def _reported(doing: str) -> Iterator[None]:
    """Report what Seismic raises; see the module on what it prints."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    except BaseException as error:
        _report(doing, error)
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _report(doing: str, error: BaseException) -> NoReturn:
    """Turn what Seismic raises, its panics too, into StoreError."""
    # a panic derives from BaseException, as Ctrl-C does, and its class cannot be imported
    if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
        raise error
    raise StoreError(f"Seismic cannot {doing}: {error}") from error
