"""`open_source`: every kind of input gives the same rows; what is wrong is named."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from csrkit.errors import ConfigError, FormatError, MissingExtra, ShapeError
from csrkit.sources import Source, open_source

STREAM = 0  # a memory budget that nothing fits


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(203, 12)).astype(np.float32)


@pytest.fixture
def npy(data: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "docs.npy"
    np.save(path, data)
    return path


def everything(source: Source) -> np.ndarray:
    return source.rows(0, source.n)


# -- kinds of input -----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "longdouble"])
@pytest.mark.parametrize("memory", [STREAM, 1 << 30])
def test_arrays_of_every_float(data: np.ndarray, dtype: str, memory: int) -> None:
    source = open_source(data.astype(dtype), memory=memory)
    assert (source.n, source.dim, source.in_memory, len(source)) == (203, 12, True, 203)
    rows = everything(source)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, data.astype(dtype).astype(np.float32))


def test_integers_are_numbers() -> None:
    small = np.array([[1, -2], [127, 0]], dtype=np.int8)
    np.testing.assert_array_equal(everything(open_source(small)), [[1, -2], [127, 0]])


def test_float32_in_memory_is_not_copied_and_never_handed_out(data: np.ndarray) -> None:
    source = open_source(data)
    assert np.shares_memory(source._parts[0].array, data)
    source.rows(0, 3)[:] = 9
    source.take([0])[:] = 9
    next(source.blocks(8, 0)).vectors[:] = 9
    assert not (data == 9).any()


@pytest.mark.parametrize("view", ["whole", "slice", "columns", "reversed", "plain array"])
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memmaps_and_their_views(npy: Path, data: np.ndarray, view: str, mode: str) -> None:
    pick = {
        "whole": lambda a: a,
        "slice": lambda a: a[5:150],
        "columns": lambda a: a[:, 2:9],
        "reversed": lambda a: a[::-1],
        "plain array": lambda a: np.asarray(a)[3:],
    }[view]
    source = open_source(pick(np.load(npy, mmap_mode=mode)), memory=STREAM)
    assert not source.in_memory
    np.testing.assert_array_equal(everything(source), pick(data))
    np.testing.assert_array_equal(everything(source), pick(data))  # after pages were given back


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_unsaved_changes_of_a_memmap_survive_reading(npy: Path, mode: str) -> None:
    mapped = np.load(npy, mmap_mode=mode)
    mapped[:] = 5
    source = open_source(mapped, memory=STREAM)
    assert (everything(source) == 5).all()
    assert (mapped == 5).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_torch_tensors(data: np.ndarray, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(data).to(getattr(torch, dtype)).requires_grad_()
    source = open_source(tensor, memory=STREAM)
    want = tensor.detach().float().numpy()
    np.testing.assert_array_equal(everything(source), want)
    np.testing.assert_array_equal(source.take([9, 2, 9]), want[[9, 2, 9]])
    np.testing.assert_array_equal(everything(open_source(list(tensor))), want)
    np.testing.assert_array_equal(everything(open_source(torch.nn.Parameter(tensor))), want)


def test_opening_arrays_does_not_import_torch_or_pyarrow() -> None:
    code = (
        "import sys, numpy as np; from csrkit.sources import open_source\n"
        "open_source(np.ones((3, 2))); open_source(iter([np.ones((3, 2))]))\n"
        "print(sorted({'torch', 'pyarrow'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("as_type", [str, Path])
def test_npy_path(data: np.ndarray, tmp_path: Path, order: str, as_type: type) -> None:
    np.save(tmp_path / "x.npy", np.asarray(data, order=order))
    source = open_source(as_type(tmp_path / "x.npy"), memory=STREAM)
    assert not source.in_memory
    np.testing.assert_array_equal(everything(source), data)


def test_folder_is_read_in_natural_order(data: np.ndarray, tmp_path: Path) -> None:
    for number, part in enumerate(np.array_split(data, 11)):
        np.save(tmp_path / f"shard-{number}.npy", part)
    (tmp_path / "notes.txt").write_text("not data")
    for memory in (STREAM, 1 << 30):
        source = open_source(tmp_path, memory=memory)
        np.testing.assert_array_equal(everything(source), data)
        np.testing.assert_array_equal(source.rows(15, 60), data[15:60])
        np.testing.assert_array_equal(source.take([202, 0, 18, 19]), data[[202, 0, 18, 19]])


def test_list_of_paths_keeps_its_order(data: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", data[:9])
    np.save(tmp_path / "a.npy", data[9:].astype(np.float64))
    source = open_source([tmp_path / "b.npy", str(tmp_path / "a.npy")], memory=STREAM)
    np.testing.assert_array_equal(everything(source), data)


def test_safetensors(data: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"bias": data[0], "docs": data.astype(np.float16)}, path)
    want = data.astype(np.float16).astype(np.float32)
    for spelling in (path, str(path), f"{path}:docs"):
        source = open_source(spelling, memory=STREAM)
        assert not source.in_memory
        np.testing.assert_array_equal(everything(source), want)


def test_safetensors_of_bfloat16(data: np.ndarray, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    tensor = torch.from_numpy(data).bfloat16()
    save_torch({"e": tensor}, tmp_path / "x.safetensors")
    source = open_source(tmp_path / "x.safetensors", memory=STREAM)
    np.testing.assert_array_equal(everything(source), tensor.float().numpy())


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed_size_list"])
@pytest.mark.parametrize("form", ["parquet", "arrow", "feather", "stream"])
def test_arrow_columns(data: np.ndarray, tmp_path: Path, kind: str, form: str) -> None:
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / f"x.{'arrow' if form == 'stream' else form}"
    inner = pa.float16() if kind == "list" else pa.float64()
    types = {
        "list": pa.list_(inner),
        "large_list": pa.large_list(inner),
        "fixed_size_list": pa.list_(inner, 12),
    }
    numpy_type = inner.to_pandas_dtype()
    column = pa.array(list(data.astype(numpy_type)), type=types[kind])
    table = pa.table({"text": ["t"] * 203, "vector": column})
    write_arrow(table, path, form)
    want = data.astype(numpy_type).astype(np.float32)
    np.testing.assert_array_equal(everything(open_source(path)), want)
    np.testing.assert_array_equal(everything(open_source(f"{path}:vector", memory=STREAM)), want)


def write_arrow(table: object, path: Path, form: str) -> None:
    from pyarrow import feather, ipc, parquet

    if form == "parquet":
        parquet.write_table(table, path, row_group_size=50)
    elif form == "feather":
        feather.write_feather(table, path, chunksize=64)
    else:
        writer = ipc.new_stream if form == "stream" else ipc.new_file
        with writer(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=40)


def batches(data: np.ndarray):  # a one-shot generator, with an empty batch
    yield data[:0]
    yield data[:50].astype(np.float64)
    yield data[50:51].tolist()
    yield data[51:]


@pytest.mark.parametrize("memory", [STREAM, 1 << 30])
def test_batches(data: np.ndarray, memory: int) -> None:
    again = (batches(data), lambda: batches(data), [data[:50], data[50:]], map(np.copy, [data]))
    for embeddings in again:
        source = open_source(embeddings, memory=memory)
        np.testing.assert_array_equal(everything(source), data)
        np.testing.assert_array_equal(everything(source), data)  # more than once


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads the list of mapped files")
def test_spooled_batches_leave_no_file(
    data: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = open_source(batches(data), memory=STREAM)
    assert str(tmp_path) in Path("/proc/self/maps").read_text()  # it is on disk
    assert os.listdir(tmp_path) == []  # under no name: nothing to clean after a crash
    np.testing.assert_array_equal(everything(source), data)
    del source
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_an_error_of_the_iterator_comes_through(data: np.ndarray) -> None:
    def broken():
        yield data
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        open_source(broken())


def test_lists_of_rows_and_sources(data: np.ndarray) -> None:
    source = open_source(data.tolist())
    np.testing.assert_array_equal(everything(source), data)
    np.testing.assert_array_equal(everything(open_source(list(data))), data)
    assert open_source(source) is source


# -- memory -------------------------------------------------------------------


RESIDENT = """
import sys, threading, time, numpy as np
from csrkit.sources import open_source
path, n, peak, done = sys.argv[1], 200_000, 0, False
np.lib.format.open_memmap(path, "w+", np.float32, (n, 256))[:] = 1

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def watch():
    global peak
    while not done:
        peak = max(peak, resident())
        time.sleep(0.001)

thread = threading.Thread(target=watch)
before, rows = resident(), 0
thread.start()
for embeddings in (path, np.load(path, mmap_mode="r")):
    for block in open_source(embeddings, memory=0).blocks(8192, seed=1):
        rows += len(block.rows)
done = True
thread.join()
print(rows, (peak - before) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory from /proc")
def test_streaming_keeps_resident_memory_low(tmp_path: Path) -> None:
    """200 MB pass through 8 MB blocks, and mapped pages do not add up."""
    command = [sys.executable, "-c", RESIDENT, str(tmp_path / "big.npy")]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, peak = map(int, out.stdout.split())
    assert rows == 400_000
    assert peak < 80


# -- what is refused ----------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((0, 4)), r"at least one row and column, got shape \(0, 4\)"),
        (np.zeros((4, 0)), r"at least one row and column, got shape \(4, 0\)"),
        (np.ones(4), r"shape \(n, dim\), got \(4,\) of float64: for one vector .*\[None\]"),
        (np.ones((2, 3, 4)), r"shape \(n, dim\), got \(2, 3, 4\)"),
        (np.float32(3), r"shape \(n, dim\), got \(\)"),
        (np.array([["a", "b"]]), "real numbers, got <U1"),
        (np.ones((2, 2), complex), "real numbers, got complex128"),
        (np.ones((2, 2), bool), "real numbers, got bool"),
        (np.array([[1, None]], object), "real numbers, got object"),
        ([[1.0, 2.0], [3.0, 4.0], [5.0]], "row 0 with 2 numbers and row 2 with 1"),
        ([], r"shape \(n, dim\), got \(0,\)"),
        ({"vectors": [1]}, "got dict"),
        (b"bytes", "got bytes"),
        (3.5, "got float"),
        (None, "got NoneType"),
        (iter([]), "at least one row, got the batches with none"),
        (iter([np.ones(3)]), r"batch 0 of the batches of shape \(n, dim\), got \(3,\)"),
        (iter([np.ones((2, 3)), np.ones((2, 4))]), r"batch 1 .* \(m, 3\), as before, got \(2, 4\)"),
        ([np.ones((2, 3)), np.ones((2, 4))], r"batch 1 of shape \(n, 3\), as in batch 0, got"),
    ],
)
def test_refused_at_once(bad: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        open_source(bad)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "nan at column 4 in row 140"),
        (np.inf, "inf at column 4 in row 140"),
        (-np.inf, "-inf at column 4 in row 140"),
        (1e39, r"1e\+39 \(beyond float32\) at column 4 in row 140"),
    ],
)
@pytest.mark.parametrize("memory", [STREAM, 1 << 30])
def test_bad_numbers_are_named(
    data: np.ndarray, tmp_path: Path, value: float, message: str, memory: int
) -> None:
    wide = data.astype(np.float64)
    wide[140, 4] = value
    np.save(tmp_path / "x.npy", wide)
    with pytest.raises(ShapeError, match=message):
        open_source(wide, memory=memory)
    with pytest.raises(ShapeError, match=message + " of the batches"):
        open_source(iter(np.array_split(wide, 7)), memory=memory)
    with pytest.raises(ShapeError, match=message + f" of {re.escape(str(tmp_path))}.x.npy"):
        everything(open_source(tmp_path / "x.npy", memory=memory))
    with pytest.raises(ShapeError, match=message):
        open_source(tmp_path / "x.npy", memory=STREAM).take([7, 140, 3])
    with pytest.raises(ShapeError, match=message):
        list(open_source(tmp_path / "x.npy", memory=STREAM).blocks(32, seed=0))


def test_zero_rows_are_refused_and_small_or_large_ones_are_not(data: np.ndarray) -> None:
    data[3] *= 1e-30  # its squares underflow, the row does not
    data[4] *= 1e25  # its squares overflow
    np.testing.assert_array_equal(everything(open_source(data)), data)
    data[140] = 0
    with pytest.raises(ShapeError, match=r"zero vector, which has no direction, in row 140"):
        open_source(data)
    tiny = np.full((2, 3), 1e-60)
    with pytest.raises(ShapeError, match=r"zero vector.* row 0"):  # zero once it is float32
        open_source(tiny)


def test_expected_width(data: np.ndarray, tmp_path: Path) -> None:
    assert open_source(data, dim=12).dim == 12
    with pytest.raises(
        ShapeError,
        match=r"shape \(n, 768\), to fit the model or data it goes with, got \(203, 12\)",
    ):
        open_source(data, dim=768)
    with pytest.raises(ShapeError, match=r"\(n, 768\)"):
        open_source(open_source(data), dim=768)
    np.save(tmp_path / "1.npy", data)
    np.save(tmp_path / "2.npy", data[:, :5])
    with pytest.raises(
        ShapeError, match=r"2.npy of shape \(n, 12\), as in .*1.npy, got \(203, 5\)"
    ):
        open_source(tmp_path)


def test_files_that_are_not_what_they_claim(data: np.ndarray, npy: Path, tmp_path: Path) -> None:
    whole = npy.read_bytes()
    np.save(tmp_path / "object.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.savez(tmp_path / "zip.npz", a=data)
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    huge = whole.replace(b"(203, 12)", b"(9999999999999999, 99999999)", 1)
    cases = {"cut.npy": whole[:-1], "head.npy": whole[:20], "empty.npy": b"", "huge.npy": huge}
    cases |= {"x.safetensors": b"\xff" * 40, "short.safetensors": b"\x00" * 3}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    for name in [*cases, "object.npy", "zip.npy"]:
        with pytest.raises(FormatError, match=re.escape(name)):
            open_source(tmp_path / name)


def test_pickles_are_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    bomb = np.empty(1, object)
    bomb[0] = Bomb()
    np.save(tmp_path / "bomb.npy", bomb, allow_pickle=True)
    with pytest.raises(FormatError, match=r"bomb\.npy"):
        open_source(tmp_path / "bomb.npy")
    assert not (tmp_path / "ran").exists()


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no file of embeddings at .*absent.npy"):
        open_source(tmp_path / "absent.npy")
    with pytest.raises(FormatError, match=r"one of .*'.npy'.*, got .*docs.csv"):
        open_source(tmp_path / "docs.csv")
    with pytest.raises(FormatError, match=r"folder with files .*, found none"):
        open_source(tmp_path)


def test_several_tensors_need_a_name(data: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": data, "b": data[:2]}, path)
    with pytest.raises(FormatError, match=r"exactly one .* found \['a', 'b'\]: name one as '.*:a'"):
        open_source(path)
    with pytest.raises(FormatError, match="expected tensor 'c'"):
        open_source(f"{path}:c")
    assert open_source(f"{path}:b").n == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [3.0]], "got 1 numbers in row 1"),
        ([[1.0, 2.0], None], "got no list in row 1"),
        ([None, [1.0, 2.0]], "got no list in row 0"),
        ([[1.0, 2.0], [3.0, None]], "nan at column 1 in row 1"),
    ],
)
def test_odd_arrow_lists(tmp_path: Path, rows: list[object], message: str) -> None:
    pa = pytest.importorskip("pyarrow")
    write_arrow(
        pa.table({"v": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "x.parquet", "parquet"
    )
    with pytest.raises(ShapeError, match=message):
        open_source(tmp_path / "x.parquet")


def test_odd_arrow_files(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    write_arrow(pa.table({"text": ["a"]}), tmp_path / "text.parquet", "parquet")
    for name in ("junk.parquet", "junk.arrow", "junk.feather"):
        (tmp_path / name).write_bytes(b"this is no Arrow file at all")
        with pytest.raises(FormatError, match=name):
            open_source(tmp_path / name)
    with pytest.raises(FormatError, match=r"expected a list column of rows in .*, found none"):
        open_source(tmp_path / "text.parquet")


def test_missing_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # what the import system itself uses
    with pytest.raises(MissingExtra, match=re.escape('pip install "csrkit[parquet]"')):
        open_source(tmp_path / "x.parquet")


def test_ranges_and_numbers_outside(data: np.ndarray) -> None:
    source = open_source(data)
    assert source.rows(4, 4).shape == (0, 12)
    assert source.take([]).shape == (0, 12)
    for start, stop in ((-1, 3), (5, 4), (0, 204)):
        with pytest.raises(ShapeError, match=rf"<= 203, got rows\({start}, {stop}\)"):
            source.rows(start, stop)
    with pytest.raises(ShapeError, match=r"in \[0, 203\), got 203"):
        source.take([0, 203])
    with pytest.raises(ShapeError, match=r"in \[0, 203\), got -1"):
        source.take([-1])
    with pytest.raises(ShapeError, match="row numbers"):
        source.take([0.5])
    with pytest.raises(ConfigError, match="block_rows of at least 1, got 0"):
        source.blocks(0, seed=0)
