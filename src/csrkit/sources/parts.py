"""`Part`: one array or tensor of a source, and the checks every row passes.

A part is not copied: it is sliced, decoded to float32 and checked piece by
piece. A row is refused if, in float32, it holds NaN, Inf or only zeros.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError
from csrkit.tensors import as_numbers, check_dense, is_tensor, tensor_to_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Part", "as_part", "bfloat16_part", "checked_float32"]

# Any in this file is an array or tensor whose library or dtype is not known
# yet: `as_part` refuses what cannot be read, and what is read is float32.


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One array or tensor (n, dim), in memory or mapped from a file.

    Attributes:
        label: What an error calls it.
        array: numpy array or torch tensor (n, dim).
        decode: Turns a slice of the array into numbers numpy knows.
        mapped: The file map behind the array, if any.
    """

    label: str
    array: Any
    decode: Callable[[Any], NDArray[Any]]
    mapped: np.memmap[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.array)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        n, dim = self.array.shape
        return int(n), int(dim)

    @property
    def is_float32(self) -> bool:
        """True if reading it converts nothing."""
        return isinstance(self.array, np.ndarray) and self.array.dtype == np.float32

    def read(
        self, index: slice | NDArray[np.int64], *, first: int, check: bool
    ) -> NDArray[np.float32]:
        """Read rows as float32, giving mapped pages back; refuse as `checked_float32`.

        Args:
            index: Rows of this part; a slice has a start and no step.
            first: Number of this part's first row in the source.
            check: False if these rows passed before.

        Returns:
            float32 (m, dim).
        """
        raw = self.decode(self.array[index])
        if check:
            rows = index.start + np.arange(len(raw)) if isinstance(index, slice) else index
            vectors = checked_float32(raw, self.label, first + rows)
        else:
            vectors = _to_float32(raw)
        if self.mapped is not None:
            if vectors is raw:  # still a view of the pages to be given back
                vectors = vectors.copy()
            _release(self.mapped)
        return vectors


def _release(mapped: np.memmap[Any, Any]) -> None:
    """Give mapped pages back, so that they do not add up to the whole file.

    A copy-on-write map may hold the only copy of a change: it is left alone.
    """
    if mapped.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # no public name


def as_part(label: str, array: Any) -> Part:
    """Wrap an array or tensor; refuse what can never be read as (n, dim) numbers.

    Args:
        label: What an error calls it.
        array: Whatever numpy or torch holds.

    Returns:
        The part; nothing was copied or read.

    Raises:
        ShapeError: If it is not two-dimensional, not numeric, or empty.
    """
    tensor = is_tensor(array)
    if tensor:
        check_dense(array)
        dtype = tensor_to_numpy(array[:0] if array.ndim else array).dtype
    else:
        array = as_numbers(array, label)
        dtype = array.dtype
    shape = tuple(array.shape)
    if dtype.kind not in "fiu":
        raise ShapeError(f"expected {label} to be real numbers, got {dtype} of shape {shape}")
    if len(shape) != 2:
        hint = ": for one vector pass embeddings[None]" if len(shape) == 1 and shape[0] else ""
        raise ShapeError(f"expected {label} of shape (n, dim), got {shape} of {dtype}{hint}")
    if 0 in shape:
        raise ShapeError(f"expected {label} with at least one row and column, got shape {shape}")
    if tensor:
        return Part(label, array, tensor_to_numpy)
    return Part(label, array, _same, _memmap_of(array))


def bfloat16_part(label: str, bits: np.memmap[Any, Any]) -> Part:
    """Wrap the uint16 bit patterns of bfloat16 numbers, which numpy lacks.

    Args:
        label: What an error calls it.
        bits: uint16 (n, dim).

    Returns:
        A part that reads as float32, exactly.
    """
    return Part(label, bits, _from_bfloat16, bits)


def checked_float32(raw: NDArray[Any], label: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Convert rows to float32 and refuse NaN, Inf, overflow and zero rows.

    Args:
        raw: Numbers (m, dim) of any real dtype.
        label: What the error calls them.
        rows: int64 (m,), the numbers by which the error names them.

    Returns:
        float32 (m, dim); raw itself if it is that already.

    Raises:
        ShapeError: If a row is refused; the message names the first.
    """
    vectors = _to_float32(raw)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)  # one pass, no temporary
        suspects = np.flatnonzero(~np.isfinite(squares) | (squares == 0))
    for i in suspects:  # a square may over- or underflow where the number does not
        row = vectors[i]
        if np.isfinite(row).all() and row.any():
            continue
        raise ShapeError(f"expected finite, non-zero rows, got {_fault(raw[i], row)} "
                         f"in row {rows[i]} of {label}")  # fmt: skip
    return vectors


def _fault(raw: NDArray[Any], row: NDArray[np.float32]) -> str:
    bad = np.flatnonzero(~np.isfinite(row))
    if not bad.size:
        return "a zero vector, which has no direction,"
    column = int(bad[0])
    beyond = " (beyond float32)" if np.isfinite(raw[column]) else ""
    return f"{raw[column]}{beyond} at column {column}"


def _to_float32(raw: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # an overflow becomes inf, which the check names
        return raw.astype(np.float32, copy=False)


def _memmap_of(array: Any) -> np.memmap[Any, Any] | None:
    """Find the map that an array is a view of, if any."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and getattr(array, "_mmap", None) is not None:
            return array
        array = array.base
    return None


def _same(array: NDArray[Any]) -> NDArray[Any]:
    return array


def _from_bfloat16(bits: NDArray[Any]) -> NDArray[Any]:
    return (bits.astype(np.uint32) << 16).view(np.float32)
