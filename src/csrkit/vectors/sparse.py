"""`SparseVectors`: the one sparse type.

A batch of codes in three arrays, row ``i`` in ``indptr[i]:indptr[i + 1]``::

    indptr  int64   (n + 1,)
    indices int32   (nnz,)    strictly increasing within a row, below dim
    values  float32 (nnz,)    finite, never zero

The invariants are checked once, in the constructor, and the arrays are read-only, so a
store adapter translates and never validates. `SparseVectors.to_scipy` does algebra.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from csrkit.errors import ShapeError
from csrkit.tensors import as_array
from csrkit.vectors.invariants import (
    MAX_DIM,
    as_float32,
    check,
    floats,
    integers,
    refuse_others,
    row_pointer,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

__all__ = ["SparseVectors"]

_BLOCK_ENTRIES = 1 << 20  # entries padded at a time in top(), 8 MB of work space


@dataclass(frozen=True, slots=True, eq=False)
class SparseVectors:
    """A batch of sparse vectors ("codes"), valid by construction.

    Attributes:
        indptr: int64 (n + 1,), row boundaries, from 0 to nnz.
        indices: int32 (nnz,), strictly increasing within each row, in [0, dim).
        values: float32 (nnz,), finite and non-zero. Document codes are
            positive; a query side may carry negative weights.
        dim: Width of the sparse space (a model's ``n_latents``).

    Raises:
        ShapeError: If any invariant does not hold; the message names the first
            offending row.

    Examples:
        >>> codes = SparseVectors([0, 2, 3], [1, 4, 0], [0.6, 0.8, 1.0], dim=5)
        >>> len(codes), codes.nnz
        (2, 3)
        >>> codes.top(1).to_dense()
        array([[0. , 0. , 0. , 0. , 0.8],
               [1. , 0. , 0. , 0. , 0. ]], dtype=float32)
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    dim: int

    def __post_init__(self) -> None:
        indptr = integers("indptr", self.indptr, np.int64)
        indices = integers("indices", self.indices, np.int32)
        values = floats(self.values)
        check(indptr, indices, values, self.dim)
        self._freeze(indptr, indices, values, int(self.dim))

    def _freeze(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        values: NDArray[np.float32],
        dim: int,
    ) -> None:
        for name, array in (("indptr", indptr), ("indices", indices), ("values", values)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "dim", dim)

    @classmethod
    def _trusted(
        cls,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        values: NDArray[np.float32],
        dim: int,
    ) -> Self:
        """Wrap arrays that are already valid and owned by csrkit, unchecked."""
        self = object.__new__(cls)
        self._freeze(indptr, indices, values, dim)
        return self

    # -- reading ------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        # through the constructor: what another process sends is checked and read-only again
        return type(self), (self.indptr, self.indices, self.values, self.dim)

    @property
    def nnz(self) -> int:
        """Number of stored entries over all rows."""
        return len(self.indices)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of entries of each row, int64 (n,)."""
        return np.diff(self.indptr)

    @property
    def is_nonnegative(self) -> bool:
        """True if no value is negative, as in every document code."""
        return bool(self.nnz == 0 or self.values.min() > 0)

    def __getitem__(self, key: int | slice | Sequence[int] | NDArray[Any]) -> Self:
        """Select rows; a single integer gives a batch of one row."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._span(start, max(start, stop))
            return self._take(np.arange(len(self))[key])  # numpy bounds any step
        rows = np.asarray(key)
        if rows.dtype == bool and rows.ndim:
            if rows.shape != (len(self),):
                raise IndexError(f"expected a mask of shape ({len(self)},), got {rows.shape}")
            return self._take(np.flatnonzero(rows))
        if rows.ndim > 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise IndexError(
                "expected a row number, a slice, or row numbers or a mask in one dimension, "
                f"got {rows.dtype} of shape {rows.shape}"
            )
        outside = (rows < -len(self)) | (rows >= len(self))
        if outside.any():
            raise IndexError(f"row {rows[outside].flat[0]} of {len(self)} sparse vectors")
        return self._take(np.atleast_1d(rows).astype(np.int64) % max(1, len(self)))

    def _span(self, start: int, stop: int) -> Self:
        lo, hi = self.indptr[start], self.indptr[stop]
        indptr = self.indptr[start : stop + 1] - lo
        return self._trusted(indptr, self.indices[lo:hi], self.values[lo:hi], self.dim)

    def _take(self, rows: NDArray[np.int64]) -> Self:
        starts = self.indptr[rows]
        counts = self.indptr[rows + 1] - starts  # not of all rows: few are taken from many
        indptr = row_pointer(counts)
        source = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        return self._trusted(indptr, self.indices[source], self.values[source], self.dim)

    def __iter__(self) -> Iterator[Self]:
        return (self._span(row, row + 1) for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseVectors):
            return NotImplemented
        return (
            self.dim == other.dim
            and np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]  # equal by content, like an array
    __array_ufunc__ = None  # or numpy would take ``codes == array`` apart row by row

    def __repr__(self) -> str:
        return f"SparseVectors(n={len(self)}, dim={self.dim}, nnz={self.nnz})"

    # -- transforming -------------------------------------------------------

    def top(self, k: int) -> Self:
        """Keep the k largest values of each row, unchanged.

        Ties go to the lower index, so the result does not depend on the
        machine. It selects and does not rescale:
        ``encode(x, 64).top(8).normalized()`` is ``encode(x, 8)``.

        Args:
            k: Entries to keep per row, at least 1. Larger k costs more
                postings per query and tells more.

        Returns:
            Rows of at most k entries.

        Raises:
            ShapeError: If k is not a whole number of at least 1.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ShapeError(f"expected k as a whole number of at least 1, got top(k={k!r})")
        counts = self.counts
        widest = int(counts.max(initial=0))
        if widest <= k:
            return self
        keep = np.ones(self.nnz, dtype=bool)
        rows_per_block = max(1, _BLOCK_ENTRIES // widest)
        for start in range(0, len(self), rows_per_block):
            self._keep_top(keep, start, min(start + rows_per_block, len(self)), k)
        indptr = row_pointer(np.minimum(counts, k))
        return self._trusted(indptr, self.indices[keep], self.values[keep], self.dim)

    def _keep_top(self, keep: NDArray[np.bool_], start: int, stop: int, k: int) -> None:
        """Clear keep for entries of rows start..stop that are not in the top k."""
        counts = self.counts[start:stop]
        lo, hi = self.indptr[start], self.indptr[stop]
        width = int(counts.max())
        filled = np.arange(width) < counts[:, None]  # (rows, width)
        padded = np.full(filled.shape, np.inf, dtype=np.float32)
        padded[filled] = -self.values[lo:hi]
        order = np.argsort(padded, axis=1, kind="stable")  # ties: lower index first
        chosen = np.zeros(filled.shape, dtype=bool)
        np.put_along_axis(chosen, order[:, :k], True, axis=1)
        keep[lo:hi] = chosen[filled]

    def norms(self) -> NDArray[np.float64]:
        """Euclidean norm of each row, float64 (n,); 0 for an empty row.

        In float64 because the norm of float32 values may leave their range.
        """
        squares = np.square(self.values, dtype=np.float64)
        norms = np.zeros(len(self), dtype=np.float64)
        filled = self.counts > 0
        if filled.any():  # reduceat would give an empty row its neighbour's first entry
            norms[filled] = np.sqrt(np.add.reduceat(squares, self.indptr[:-1][filled]))
        return norms

    def normalized(self) -> Self:
        """Scale every row to Euclidean norm 1; empty rows stay empty.

        Returns:
            Rows of norm 1 to float32 rounding. An entry too small to be
            represented after scaling is dropped.
        """
        norms = np.repeat(self.norms(), self.counts)
        with np.errstate(under="ignore"):
            values = (self.values / norms).astype(np.float32)
        if np.all(values):
            return self._trusted(self.indptr, self.indices, values, self.dim)
        keep = values != 0
        indptr = np.concatenate([[0], np.cumsum(keep)])[self.indptr]
        return self._trusted(indptr, self.indices[keep], values[keep], self.dim)

    def dot(self, other: SparseVectors) -> NDArray[np.float32]:
        """Inner product of every row with every row of another batch.

        Args:
            other: Codes over the same latents.

        Returns:
            float32 (len(self), len(other)), dense.

        Raises:
            ShapeError: If the two widths differ, or the other is no batch of codes.
        """
        refuse_others("dot of codes with codes", [other], SparseVectors)
        if self.dim != other.dim:
            raise ShapeError(
                f"expected codes over the same latents, got dot of dim {self.dim} "
                f"with dim {other.dim}: they come from two different models"
            )
        product = self.to_scipy() @ other.to_scipy().T
        return np.asarray(product.toarray(), dtype=np.float32)

    @classmethod
    def concat(cls, parts: Iterable[Self]) -> Self:
        """Stack batches, in order.

        Args:
            parts: At least one batch; all over the same latents.

        Returns:
            One batch of all rows.

        Raises:
            ShapeError: If there are no parts, one is none, or their widths differ.
        """
        parts = list(parts)
        refuse_others("concat of codes", parts, SparseVectors)
        dims = sorted({part.dim for part in parts})
        if len(dims) != 1:
            raise ShapeError(
                f"expected one or more parts of one dim, got {len(parts)} of dims {dims}"
            )
        counts = np.concatenate([part.counts for part in parts])
        return cls._trusted(
            row_pointer(counts),
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.values for part in parts]),
            dims[0],
        )

    # -- other spellings ----------------------------------------------------

    @classmethod
    def from_dense(cls, dense: ArrayLike) -> Self:
        """Take the non-zero entries of a dense array.

        Args:
            dense: Numbers of shape (n, dim). What is zero as float32 is left out.

        Returns:
            n sparse vectors of width dim.

        Raises:
            ShapeError: If the array is not two-dimensional, real and finite.
        """
        array = as_array(dense, "a dense array")
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise ShapeError(
                f"expected a dense array of real numbers of shape (n, dim), "
                f"got {array.dtype} of shape {array.shape}"
            )
        array = as_float32(array)
        rows, columns = np.nonzero(array)
        indptr = row_pointer(np.bincount(rows, minlength=len(array)))
        return cls(indptr, columns.astype(np.int32), array[rows, columns], array.shape[1])

    def to_dense(self) -> NDArray[np.float32]:
        """Return a dense float32 (n, dim) copy."""
        dense = np.zeros((len(self), self.dim), dtype=np.float32)
        dense[np.repeat(np.arange(len(self)), self.counts), self.indices] = self.values
        return dense

    @classmethod
    def from_scipy(cls, matrix: Any) -> Self:
        """Take a scipy sparse matrix or array of any layout, shape (n, dim).

        Args:
            matrix: Duplicates are summed and stored zeros dropped.

        Returns:
            n sparse vectors of width dim.

        Raises:
            ShapeError: If the object is not a two-dimensional scipy matrix.
        """
        if not hasattr(matrix, "tocsr") or len(matrix.shape) != 2:
            raise ShapeError(
                "expected a scipy sparse matrix of shape (n, dim), "
                f"got {type(matrix).__name__} of shape {getattr(matrix, 'shape', None)}"
            )
        rows = matrix.tocsr(copy=True)
        rows.sum_duplicates()
        if rows.dtype.kind in "fiu":  # others are refused by the constructor
            rows.data = as_float32(rows.data)
        rows.eliminate_zeros()
        return cls(rows.indptr, rows.indices, rows.data, rows.shape[1])

    def to_scipy(self) -> csr_array:
        """Return a scipy ``csr_array`` (n, dim) that shares the values."""
        from scipy.sparse import csr_array

        # a copy of the row pointer in the width of the indices: scipy would
        # otherwise widen all indices to int64 to match it
        narrow = self.indptr.astype(np.int32) if self.nnz <= MAX_DIM else self.indptr
        return csr_array((self.values, self.indices, narrow), shape=(len(self), self.dim))

    def save(self, path: str | Path) -> None:
        """Write the batch to one safetensors file, whole or not at all; see `save_blocks`.

        Args:
            path: File to write; one that exists is replaced at the very end.

        Raises:
            FormatError: If there is no such folder, or something other than a file is there.
        """  # noqa: DOC502  # raised by `save_blocks`
        from csrkit.vectors.files import save_blocks

        save_blocks([self], path, self.dim)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by `save`, checking every invariant again.

        Args:
            path: A safetensors file.

        Returns:
            The batch that was saved.

        Raises:
            FormatError: If the file is not one, is truncated, or is newer than
                this version of csrkit reads.
        """  # noqa: DOC502  # raised by `read`
        from csrkit.vectors.files import read

        return read(path, cls)
