"""Codes on disk: one safetensors file, written block by block, whole or not at all.

::

    header   512 bytes: names, shapes and offsets as JSON, written last
    indices  int32   (nnz,)
    values   float32 (nnz,)
    indptr   int64   (n + 1,)

safetensors itself wants all arrays in memory at once, so the header is written
here; reading is left to the library.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from csrkit.errors import FormatError, ShapeError
from csrkit.vectors.sparse import SparseVectors

__all__ = ["read", "save_blocks"]

Codes = TypeVar("Codes", bound=SparseVectors)
_HEADER_BYTES = 512  # room for the JSON with numbers of any size, padded with spaces
_LENGTH_BYTES = 8  # of which safetensors' own field for the length


def save_blocks(blocks: Iterable[SparseVectors], path: str | Path, dim: int) -> None:
    """Write batches of codes, one after the other, to one file; `SparseVectors.load` reads it.

    Memory holds one batch at a time. The folder of the file holds a draft meanwhile,
    and at the end half of its bytes twice; the file itself is replaced at once, when
    everything is on the disk: whatever stops the work leaves it as it was.

    Args:
        blocks: Batches, all ``dim`` wide; there may be none.
        path: File to write; replaced if it exists.
        dim: Width of the codes.

    Raises:
        ShapeError: If a batch has another width.
        FormatError: If there is no such folder, or something other than a file is there.
    """  # noqa: DOC502  # raised by helpers
    with _replacing(Path(path)) as (draft, values, indptr):
        draft.write(bytes(_HEADER_BYTES))
        indptr.write(_little(np.zeros(1), "<i8"))
        n = nnz = 0
        for codes in blocks:
            if codes.dim != dim:
                raise ShapeError(f"expected codes of width {dim}, got {codes.dim} at row {n}")
            draft.write(_little(codes.indices, "<i4"))
            values.write(_little(codes.values, "<f4"))
            indptr.write(_little(codes.indptr[1:] + nnz, "<i8"))
            n, nnz = n + len(codes), nnz + codes.nnz
        for part in (values, indptr):
            part.seek(0)
            shutil.copyfileobj(part, draft)
        draft.seek(0)
        draft.write(_header(n, nnz, dim))


def read(path: str | Path, make: Callable[..., Codes]) -> Codes:
    """Read a file of codes, checking every invariant again; see `SparseVectors.load`.

    Args:
        path: A file that `save_blocks` wrote.
        make: Takes indptr, indices, values and dim.

    Returns:
        What it makes.

    Raises:
        FormatError: If the file is not one, is truncated, or is too new.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if (metadata.get("csrkit"), metadata.get("format")) != ("SparseVectors", "1"):
                raise FormatError(
                    f"{path} is not a file of SparseVectors in format 1, it says {metadata!r}"
                )
            indptr, indices, values = map(file.get_tensor, ("indptr", "indices", "values"))
            return make(indptr, indices, values, int(metadata["dim"]))
    except FileNotFoundError as error:
        raise FormatError(f"no file of SparseVectors at {path}") from error
    except FormatError:
        raise
    except (SafetensorError, KeyError, TypeError, OSError, ValueError) as error:
        raise FormatError(f"{path} is not a readable file of SparseVectors: {error}") from error


def _little(array: np.ndarray, dtype: str) -> memoryview:
    return np.ascontiguousarray(array, dtype).data


def _header(n: int, nnz: int, dim: int) -> bytes:
    ends = (0, 4 * nnz, 8 * nnz, 8 * nnz + 8 * (n + 1))
    arrays = [("indices", "I32", nnz), ("values", "F32", nnz), ("indptr", "I64", n + 1)]
    content: dict[str, object] = {
        name: {"dtype": dtype, "shape": [length], "data_offsets": [start, stop]}
        for (name, dtype, length), start, stop in zip(arrays, ends[:-1], ends[1:], strict=True)
    }
    content["__metadata__"] = {"csrkit": "SparseVectors", "format": "1", "dim": str(dim)}
    size = _HEADER_BYTES - _LENGTH_BYTES
    text = json.dumps(content).encode().ljust(size)
    assert len(text) == size
    return size.to_bytes(_LENGTH_BYTES, "little") + text


@contextmanager
def _replacing(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO, BinaryIO]]:
    """Open a draft and two scratch files beside a file; put the draft in its place at the end."""
    target = Path(os.path.realpath(path))  # a link goes on pointing to the file
    if not target.parent.is_dir():
        raise FormatError(f"expected a folder to save codes in, found none at {target.parent}")
    if target.exists() and not target.is_file():
        raise FormatError(f"expected a file to save codes to, got {path}, which is none")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".saving-") as aside:
        with (
            open(Path(aside, target.name), "w+b") as draft,
            tempfile.TemporaryFile(dir=aside) as first,
            tempfile.TemporaryFile(dir=aside) as second,
        ):
            yield draft, first, second
            draft.flush()
            os.fsync(draft.fileno())
        if target.exists():
            shutil.copymode(target, draft.name)
        os.replace(draft.name, target)
