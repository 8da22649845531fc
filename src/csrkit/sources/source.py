"""`Source`: checked embeddings that can be read many times, and `open_source`.

A shuffled pass over data on disk reads contiguous chunks in random order and
mixes many of them in each block, never row by row::

    file   | c0 | c1 | c2 | c3 | ...        block = rows of 32 random chunks, shuffled
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.sources.files import open_path, spool
from csrkit.sources.parts import Part, as_part
from csrkit.tensors import is_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Block", "Source", "open_source"]

CHUNKS_PER_BLOCK = 32  # more mix better and read smaller pieces: 4096 x 768 float32 gives 393 kB
DEFAULT_MEMORY = 512 << 20  # bytes of float32 up to which data is loaded once
_PIECE_BYTES = 16 << 20  # float32 bytes read and checked at a time
_PICK_ROWS = 128  # rows picked by number at a time: a kernel may map many pages around each


class Block(NamedTuple):
    """Some rows of a source; both arrays belong to the caller.

    Attributes:
        rows: int64 (m,), their numbers in the source, in [0, n).
        vectors: float32 (m, dim), the rows themselves.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Embeddings that can be read many times; made by `open_source`.

    Attributes:
        n: Number of rows, at least 1.
        dim: Width of a row, at least 1.
        in_memory: True if no read touches a disk.
    """

    n: int
    dim: int
    in_memory: bool
    _parts: tuple[Part, ...]
    _checked: bool = False

    def __len__(self) -> int:
        return self.n

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read consecutive rows.

        Args:
            start: First row, from 0.
            stop: One past the last row, at most n.

        Returns:
            float32 (stop - start, dim), a copy that belongs to the caller.

        Raises:
            ShapeError: If the range is not inside the source, or a row of it
                holds NaN, Inf or only zeros.
        """
        if not 0 <= start <= stop <= self.n:
            raise ShapeError(f"expected 0 <= start <= stop <= {self.n}, got rows({start}, {stop})")
        out = np.empty((stop - start, self.dim), dtype=np.float32)
        step = max(1, _PIECE_BYTES // (4 * self.dim))
        for part, first in self._located():
            low, high = max(start, first), min(stop, first + len(part))
            for a in range(low, high, step):
                b = min(a + step, high)
                out[a - start : b - start] = part.read(
                    slice(a - first, b - first), first=first, check=not self._checked
                )
        return out

    def take(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Read rows by number, for samples: far slower than `rows` on disk.

        Args:
            rows: Whole numbers in [0, n), in any order; repeats are allowed.

        Returns:
            float32 (len(rows), dim), in the order asked for.

        Raises:
            ShapeError: If a number is not a row of this source, or a row holds
                NaN, Inf or only zeros.
        """
        wanted = np.asarray(rows)
        if wanted.ndim != 1 or (wanted.size and not np.issubdtype(wanted.dtype, np.integer)):
            raise ShapeError(f"expected row numbers (m,), got {wanted.dtype} of {wanted.shape}")
        outside = (wanted < 0) | (wanted >= self.n)
        if outside.any():
            raise ShapeError(f"expected row numbers in [0, {self.n}), got {wanted[outside][0]}")
        order = np.argsort(wanted, kind="stable")  # a disk is read forwards
        ascending = wanted[order].astype(np.int64)
        out = np.empty((len(wanted), self.dim), dtype=np.float32)
        for part, first in self._located():
            low, high = np.searchsorted(ascending, [first, first + len(part)])
            for a in range(low, high, _PICK_ROWS):
                b = min(a + _PICK_ROWS, int(high))
                out[order[a:b]] = part.read(
                    ascending[a:b] - first, first=first, check=not self._checked
                )
        return out

    def blocks(self, block_rows: int, seed: int) -> Iterator[Block]:
        """Read every row once, shuffled.

        In memory the order is a full random permutation. On disk a block mixes
        rows of many random chunks, read contiguously, and at most one block and
        one chunk are held.

        Args:
            block_rows: Rows of a block, at least 1; the last block may be
                shorter. Larger blocks mix better and take 4 * dim bytes a row.
            seed: Same seed, same order.

        Returns:
            The blocks, one at a time.

        Raises:
            ConfigError: If block_rows is below 1.
        """
        if block_rows < 1:
            raise ConfigError(f"expected block_rows of at least 1, got {block_rows!r}")
        rng = np.random.default_rng(seed)
        return self._permuted(block_rows, rng) if self.in_memory else self._mixed(block_rows, rng)

    def _permuted(self, block_rows: int, rng: np.random.Generator) -> Iterator[Block]:
        order = rng.permutation(self.n)
        for start in range(0, self.n, block_rows):
            rows = order[start : start + block_rows]
            yield Block(rows, self.take(rows))

    def _mixed(self, block_rows: int, rng: np.random.Generator) -> Iterator[Block]:
        for spans in _random_spans(self.n, block_rows, rng):
            rows = np.concatenate([np.arange(a, b) for a, b in spans])
            place = rng.permutation(len(rows))  # where each row lands in the block
            vectors = np.empty((len(rows), self.dim), dtype=np.float32)
            done = 0
            for a, b in spans:
                vectors[place[done : done + b - a]] = self.rows(a, b)
                done += b - a
            yield Block(rows[np.argsort(place)], vectors)

    def _located(self) -> Iterator[tuple[Part, int]]:
        """Yield each part with the number of its first row."""
        first = 0
        for part in self._parts:
            yield part, first
            first += len(part)


def open_source(embeddings: Any, *, dim: int | None = None, memory: int = DEFAULT_MEMORY) -> Source:
    """Open embeddings of any kind, checking all that can be checked at once.

    Data that fits the budget, or is in memory already, is checked here; what is
    larger is checked as it is read. Iterators and Arrow columns are decoded
    once into an unnamed temporary float32 file (in ``TMPDIR``), which the
    system removes with the source.

    Args:
        embeddings: One of: a numpy array or memmap (float16, float32, float64
            or integers) or a torch tensor on any device, of shape (n, dim); a
            list of rows; the path of a ``.npy``, ``.safetensors``,
            ``.parquet``, ``.arrow`` or ``.feather`` file, or
            ``"file:name"`` for one of its tensors or columns; a folder or a list
            of such files, read in natural order; an iterable of batches
            (m, dim), or a function that returns one; a `Source`.
        dim: Width that the rows must have, or None for any.
        memory: Bytes of float32 up to which data is loaded once and kept.

    Returns:
        The source.

    Raises:
        ShapeError: If the rows are not a non-empty (n, dim) of finite, non-zero
            numbers; the message names the row.
        FormatError: If a file is missing, truncated, or of no known kind.
        MissingExtra: If an Arrow file is given and pyarrow is not installed.
    """
    if isinstance(embeddings, Source):
        _require_width(embeddings._parts, dim)
        return embeddings
    parts = tuple(_open(embeddings))
    _require_width(parts, dim)
    in_memory = all(part.mapped is None for part in parts)
    source = Source(sum(map(len, parts)), parts[0].shape[1], in_memory, parts)
    return _loaded(source, memory)


def _require_width(parts: Sequence[Part], dim: int | None) -> None:
    width = dim or parts[0].shape[1]
    for part in parts:
        if part.shape[1] != width:
            reason = "to fit the model or data it goes with" if dim else f"as in {parts[0].label}"
            raise ShapeError(
                f"expected {part.label} of shape (n, {width}), {reason}, got {part.shape}"
            )


def _loaded(source: Source, memory: int) -> Source:
    """Load what fits the budget; check what is in memory, without a copy."""
    as_is = source.in_memory and len(source._parts) == 1 and source._parts[0].is_float32
    if source.n * source.dim * 4 <= memory and not as_is:
        part = as_part("embeddings", source.rows(0, source.n))
        return Source(source.n, source.dim, True, (part,), _checked=True)
    if not source.in_memory:
        return source
    step = max(1, _PIECE_BYTES // (4 * source.dim))
    for start in range(0, source.n, step):
        source.rows(start, min(start + step, source.n))
    return replace(source, _checked=True)


def _random_spans(
    n: int, block_rows: int, rng: np.random.Generator
) -> Iterator[list[tuple[int, int]]]:
    """Cut [0, n) into chunks, shuffle them, and group them to block_rows each."""
    chunk = max(1, block_rows // CHUNKS_PER_BLOCK)
    shift = int(rng.integers(chunk))  # chunks of another pass have other borders
    borders = np.unique(np.clip(np.arange(shift - chunk, n + chunk, chunk), 0, n))
    spans: list[tuple[int, int]] = []
    room = block_rows
    for i in rng.permutation(len(borders) - 1):
        a, b = int(borders[i]), int(borders[i + 1])
        cut = min(b, a + room)
        spans.append((a, cut))
        room -= cut - a
        if room == 0:
            yield spans
            spans, room = ([(cut, b)] if cut < b else []), block_rows - (b - cut)
    if spans:
        yield spans


def _open(embeddings: Any) -> Iterator[Part]:
    if isinstance(embeddings, str | Path):
        yield from open_path(embeddings)
    elif _is_array(embeddings):
        yield as_part("embeddings", embeddings)
    elif isinstance(embeddings, list | tuple):
        yield from _open_list(embeddings)
    elif isinstance(embeddings, Iterable) and not isinstance(embeddings, Mapping | bytes):
        yield spool(embeddings, "the batches")
    elif callable(embeddings):
        batches = embeddings()
        if not isinstance(batches, Iterable):
            raise ShapeError(
                "expected a function that returns an iterable of batches, got one that returns "
                f"{type(batches).__name__}"
            )
        yield spool(batches, "the batches")
    else:
        raise ShapeError(
            "expected embeddings as an array (n, dim), a tensor, a path or an iterable of "
            f"batches, got {type(embeddings).__name__}"
        )


def _is_array(value: Any) -> bool:
    """Tell what is one array, though it may be sparse and so refused, from batches of them."""
    known = is_tensor(value) or isinstance(value, memoryview)
    return known or any(hasattr(value, name) for name in ("__array__", "indptr", "tocsr"))


def _open_list(items: Sequence[Any]) -> Iterator[Part]:
    """Tell a list of paths, of batches and of rows apart."""
    if items and all(isinstance(item, str | Path) for item in items):
        for item in items:
            yield from open_path(item)
    elif items and all(len(getattr(item, "shape", ())) == 2 for item in items):
        for number, batch in enumerate(items):
            yield as_part(f"batch {number}", batch)
    else:
        yield as_part("embeddings", items)
