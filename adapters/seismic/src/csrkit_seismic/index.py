"""`Index`: Seismic over the first rows of a table; it gives candidates, and never changes.

Its raw index numbers documents and components, as we do: without the texts that Seismic's other
index has for both, a query is quicker. Seismic keeps values in 16 bits, and prints while
it builds: that goes to the standard error, for the standard output is for results.
"""

from __future__ import annotations

import os
import sys
import tempfile
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
_PART = 2**16  # rows that are spelled at a time


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
        self._native, self._latents, self._dim = native, latents, native.dim

    @classmethod
    def built(cls, codes: SparseVectors, *, n_postings: int) -> Index:
        """Build an index, by way of a temporary file; empty rows are in none of its lists."""
        latents = _latents(codes)
        with _reported("build the index"), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "codes.bin"
            with path.open("wb") as file:
                file.writelines(_spelled(codes, latents))
            native = _kind(codes, latents).build(str(path), n_postings=n_postings)
        return cls(native, latents)

    @classmethod
    def load(cls, path: str, codes: SparseVectors) -> Index:
        """Read an index that was saved over these codes."""
        latents = _latents(codes)
        with _reported(f"read {path}"):
            return cls(_kind(codes, latents).load(path), latents)

    def save(self, path: str) -> None:
        """Write the index to a file."""
        with _reported(f"write {path}"):
            self._native.save(path)

    def rows(self, query: SparseVectors, top: int, knobs: Knobs) -> list[int]:
        """Return at most ``top`` rows that share a latent with a query, nearly the nearest."""
        indices: NDArray[Any] = query.indices
        values = query.values
        if self._latents is not None:
            _, indices, which = np.intersect1d(
                self._latents, indices, assume_unique=True, return_indices=True
            )
            indices, values = indices.astype(np.int32), values[which]
        elif indices[-1] >= self._dim:  # beyond the last latent of any code
            known = int(indices.searchsorted(self._dim))
            indices, values = indices[:known], values[:known]
        if not len(indices):
            return []
        try:
            found = self._native.search(indices, values, top, *knobs, 0, True)
        except BaseException as error:
            _report("search", error)
        return [row for _, row in found]


def _latents(codes: SparseVectors) -> NDArray[np.int32] | None:
    """Return the latents that occur, where there are too many to have a list each."""
    return None if codes.dim <= _NARROW else np.unique(codes.indices)


def _kind(codes: SparseVectors, latents: NDArray[np.int32] | None) -> Any:
    width = codes.dim if latents is None else len(latents)
    return seismic.SeismicIndexRaw if width <= _NARROW else seismic.SeismicIndexRawLV


def _spelled(codes: SparseVectors, latents: NDArray[np.int32] | None) -> Iterator[bytes]:
    """Spell codes as Seismic reads them: their number, then each: length, components, values."""
    yield np.array(len(codes), "<u4").tobytes()
    for first in range(0, len(codes), _PART):
        part = codes[first : first + _PART]
        known = part.indices if latents is None else np.searchsorted(latents, part.indices)
        words = np.empty(len(part) + 2 * part.nnz, "<u4")
        heads = np.arange(len(part)) + 2 * part.indptr[:-1]
        words[heads] = part.counts
        shift = (heads + 1 - part.indptr[:-1]).repeat(part.counts)
        where = np.arange(part.nnz) + shift
        words[where] = known
        words[where + part.counts.repeat(part.counts)] = part.values.astype("<f4").view("<u4")
        yield words.tobytes()


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
