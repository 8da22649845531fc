"""Embeddings in files, and batches spooled into one.

``.npy`` and ``.safetensors`` files are mapped, not read. Arrow columns and
iterators are decoded once into a temporary float32 file that has no name
where the system allows it: it goes away with its last user, even on a crash.
Nothing here unpickles.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import FormatError, MissingExtra, ShapeError
from csrkit.sources.parts import Part, as_part, bfloat16_part, checked_float32

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

__all__ = ["open_path", "spool"]

_SUFFIXES = (".arrow", ".feather", ".npy", ".parquet", ".safetensors")
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
}  # fmt: skip
_ARROW_ROWS = 4096  # rows decoded at a time

# Any in this file is a batch before `as_part` has seen it, or an object of
# pyarrow, which ships no types.


def open_path(path: str | Path) -> list[Part]:
    """Open a file, one named array of it (``"file:name"``), or a folder of files.

    Args:
        path: A folder is read in natural order (``2.npy`` before ``10.npy``),
            without its subfolders and other kinds of files.

    Returns:
        The parts, in order.

    Raises:
        FormatError: If there is no such file, it is of no known kind, or it is
            not what it claims to be.
        MissingExtra: If an Arrow file is given and pyarrow is not installed.
        ShapeError: If an Arrow column holds a row that is refused.
    """
    file, name = _split_name(path)
    if not os.path.isdir(file):  # of a text, which is no path, it says no
        return [_open_file(file, name)]
    files = sorted((f for f in file.iterdir() if f.suffix in _SUFFIXES), key=_natural)
    if not files:
        raise FormatError(f"expected a folder with files {_SUFFIXES}, found none in {file}")
    return [_open_file(entry, None) for entry in files]


def spool(batches: Iterable[Any], label: str) -> Part:
    """Write batches to a temporary float32 file, holding one at a time.

    Args:
        batches: Arrays, tensors or lists of rows, all of one width; empty ones
            are skipped.
        label: What an error calls all of them.

    Returns:
        The rows of all batches, mapped from the file.

    Raises:
        ShapeError: If there are no rows, a batch is not (m, dim) numbers of the
            width of those before, or a row is refused.
    """
    n = dim = 0
    with tempfile.TemporaryFile(prefix="csrkit-") as file:
        for number, batch in enumerate(batches):
            if hasattr(batch, "__len__") and len(batch) == 0:
                continue
            part = as_part(f"batch {number} of {label}", batch)
            dim = dim or part.shape[1]
            if part.shape[1] != dim:
                raise ShapeError(
                    f"expected {part.label} of shape (m, {dim}), as before, got {part.shape}"
                )
            raw = part.decode(part.array)
            rows = np.arange(n, n + len(raw))
            file.write(np.ascontiguousarray(checked_float32(raw, label, rows)).data)
            n += len(raw)
        if n == 0:
            raise ShapeError(f"expected at least one row, got {label} with none")
        file.flush()
        return as_part(label, np.memmap(file, np.float32, mode="r", shape=(n, dim)))


def _split_name(path: str | Path) -> tuple[Path, str | None]:
    """Split ``"file:name"``, unless a file of that whole name exists."""
    whole = Path(path)
    match = re.fullmatch(r"(.*\.(?:arrow|feather|parquet|safetensors)):(.+)", str(path))
    if match is None or os.path.exists(whole):
        return whole, None
    return Path(match[1]), match[2]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Order digits by their number: shard-2 comes before shard-10."""
    pieces = re.split(r"(\d+)", path.name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _open_file(path: Path, name: str | None) -> Part:
    is_there = os.path.isfile(path)
    if path.suffix not in _SUFFIXES:
        got = str(path)
        if not is_there:
            got = f"{shorten(got, 80)!r}, which is no file; texts are to be embedded first"
        raise FormatError(f"expected a file that ends in one of {_SUFFIXES}, got {got}")
    if not is_there:
        raise FormatError(f"no file of embeddings at {path}")
    if path.suffix == ".npy":
        return as_part(str(path), _map_npy(path))
    if path.suffix == ".safetensors":
        return _map_safetensors(path, name)
    return spool(_arrow_batches(path, name), f"{path}")


def _map_npy(path: Path) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):  # a hostile shape overflows before it is refused
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, TypeError, OSError, EOFError, OverflowError) as error:
        raise FormatError(f"{path} is not a readable .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise FormatError(f"{path} is an archive of arrays, not a .npy file: load it and pass one")
    return array


def _map_safetensors(path: Path, name: str | None) -> Part:
    """Map one tensor; the library checks the file, numpy maps it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is not a readable safetensors file: {error}") from error
    key = _choose(path, name, [key for key, shape in shapes.items() if len(shape) == 2], "tensor")
    with path.open("rb") as raw:
        size = int.from_bytes(raw.read(8), "little")
        entry = json.loads(raw.read(size))[key]
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise FormatError(f"expected {path}:{key} in one of {list(_DTYPES)}, got {entry['dtype']}")
    if 0 in shapes[key]:
        raise ShapeError(f"expected {path}:{key} with rows and columns, got shape {shapes[key]}")
    offset = 8 + size + entry["data_offsets"][0]
    array = np.memmap(path, dtype, mode="r", offset=offset, shape=shapes[key])
    label = f"{path}:{key}"
    return bfloat16_part(label, array) if entry["dtype"] == "BF16" else as_part(label, array)


def _choose(path: Path, name: str | None, names: list[str], kind: str) -> str:
    """Find the one array meant; ask for its name where there are several."""
    if name in names or (name is None and len(names) == 1):
        return name or names[0]
    if not names:
        raise FormatError(f"expected a {kind} of rows in {path}, found none")
    wanted = f"{kind} {name!r}" if name else f"exactly one two-dimensional {kind}"
    hint = f": name one as '{path}:{names[0]}'"
    raise FormatError(f"expected {wanted} in {path}, found {sorted(names)}{hint}")


def _pyarrow(module: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", f"reading {path.name}") from error


def _arrow_batches(path: Path, name: str | None) -> Iterator[NDArray[Any]]:
    """Decode a list column, a few thousand rows at a time."""
    arrow = _pyarrow("pyarrow", path)
    first = 0
    try:
        for column in _arrow_columns(path, name):
            for start in range(0, len(column), _ARROW_ROWS):
                yield _matrix(column.slice(start, _ARROW_ROWS), path, first + start)
            first += len(column)
    except (arrow.ArrowException, OSError) as error:
        raise FormatError(f"{path} is not a readable {path.suffix} file: {error}") from error


def _arrow_columns(path: Path, name: str | None) -> Iterator[Any]:
    if path.suffix == ".parquet":
        parquet = _pyarrow("pyarrow.parquet", path)
        with parquet.ParquetFile(path, buffer_size=1 << 20) as file:  # streams a row group
            key = _choose(path, name, _list_columns(file.schema_arrow), "list column")
            for batch in file.iter_batches(_ARROW_ROWS, columns=[key]):
                yield batch.column(key)
        return
    ipc = _pyarrow("pyarrow.ipc", path)
    arrow = _pyarrow("pyarrow", path)
    with arrow.OSFile(str(path)) as raw:
        try:
            reader = ipc.open_file(raw)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        except arrow.ArrowInvalid:  # the other Arrow layout, which has no footer
            raw.seek(0)
            reader = batches = ipc.open_stream(raw)
        key = _choose(path, name, _list_columns(reader.schema), "list column")
        for batch in batches:
            yield batch.column(key)


def _list_columns(schema: Any) -> list[str]:
    lists = ("list<", "large_list<", "fixed_size_list<")
    return [field.name for field in schema if str(field.type).startswith(lists)]


def _matrix(column: Any, path: Path, first: int) -> NDArray[Any]:
    """Turn a chunk of lists into numbers (m, dim)."""
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)  # NaN for a missing list
    odd = np.flatnonzero(lengths != lengths[0])
    if column.null_count or odd.size:
        row = int(odd[0]) if odd.size else 0
        came = "no list" if not column[row].is_valid else f"{lengths[row]:.0f} numbers"
        raise ShapeError(f"expected lists of one width in {path}, got {came} in row {first + row}")
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), -1)
