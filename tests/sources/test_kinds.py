"""`open_source`: every kind of input gives the same rows."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from csrkit.sources import open_source

from .reading import STREAM, everything, write_arrow

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
