"""What holds of every `SparseVectors`: conversions that lose nothing, and the checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError
from csrkit.tensors import as_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MAX_DIM = 2**31 - 1  # indices are int32


def row_pointer(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return the running total of row counts with a leading 0, int64 (n + 1,)."""
    indptr = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    return indptr


def integers(name: str, array: ArrayLike, dtype: type[np.integer[Any]]) -> NDArray[Any]:
    """Copy to a 1-d integer array; refuse what would be rounded or wrapped."""
    source = as_array(array, name)
    if source.ndim != 1 or not (source.size == 0 or np.issubdtype(source.dtype, np.integer)):
        raise ShapeError(
            f"expected {name} to be whole numbers in one dimension, "
            f"got {source.dtype} of shape {source.shape}"
        )
    limits = np.iinfo(dtype)
    if source.size and (source.min() < limits.min or source.max() > limits.max):
        raise ShapeError(f"expected {name} to fit {np.dtype(dtype)}, got up to {source.max()}")
    return source.astype(dtype)  # always a copy: the caller keeps a writable array


def floats(array: ArrayLike) -> NDArray[np.float32]:
    """Copy to a 1-d float32 array; refuse what is not a real number."""
    source = as_array(array, "values")
    numeric = np.issubdtype(source.dtype, np.floating) or np.issubdtype(source.dtype, np.integer)
    if source.ndim != 1 or not (source.size == 0 or numeric):
        raise ShapeError(
            f"expected values to be real numbers in one dimension, "
            f"got {source.dtype} of shape {source.shape}"
        )
    return as_float32(source)


def as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Copy; an overflow becomes inf, which `check` names."""
    with np.errstate(over="ignore", under="ignore"):
        return array.astype(np.float32)


def check(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32], dim: int
) -> None:
    """Raise ShapeError naming the first row that breaks an invariant."""
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer) or not 1 <= dim <= MAX_DIM:
        raise ShapeError(f"expected dim between 1 and {MAX_DIM}, got {dim!r}")
    if len(indices) != len(values):
        raise ShapeError(
            f"expected one value per index, got {len(indices)} indices and {len(values)} values"
        )
    if (
        len(indptr) < 1
        or indptr[0] != 0
        or indptr[-1] != len(indices)
        or np.any(indptr[1:] < indptr[:-1])  # a difference could wrap around
    ):
        raise ShapeError(
            f"expected indptr to rise from 0 to nnz={len(indices)}, got {indptr.tolist()[:5]}..."
            f" ending at {indptr[-1] if len(indptr) else None}"
        )
    rising = np.diff(indices) > 0
    inner = indptr[1:-1]
    rising[inner[(inner > 0) & (inner < len(indices))] - 1] = True  # a new row may start lower
    refuse(~rising, indptr, "indices that rise strictly", indices)
    refuse((indices < 0) | (indices >= dim), indptr, f"indices in [0, {dim})", indices)
    refuse(~np.isfinite(values), indptr, "finite values", values)
    refuse(values == 0, indptr, "no stored zeros", values)


def refuse(
    bad: NDArray[np.bool_], indptr: NDArray[np.int64], expected: str, array: NDArray[Any]
) -> None:
    """Raise ShapeError naming the row of the first bad entry, if there is one."""
    if not bad.any():
        return
    entry = int(np.argmax(bad))
    row = int(np.searchsorted(indptr, entry, side="right")) - 1
    start, stop = int(indptr[row]), int(indptr[row + 1])
    shown = array[start : min(stop, start + 8)].tolist()
    raise ShapeError(f"expected {expected}, got row {row} with {shown}")


def refuse_others(expected: str, values: Iterable[Any], kind: type) -> None:
    """Raise ShapeError naming the type of the first value that is of another kind."""
    for value in values:
        if not isinstance(value, kind):
            raise ShapeError(f"expected {expected}, {kind.__name__}, got {type(value).__name__}")
