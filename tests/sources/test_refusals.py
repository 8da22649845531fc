"""`open_source`: what is wrong with an input is named."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from csrkit.errors import ConfigError, FormatError, MissingExtra, ShapeError
from csrkit.sources import open_source

from .reading import STREAM, everything, write_arrow


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
    for text in ("a text", "a text " * 1000, "nul\0"):
        for given in (text, [text, "another"]):
            with pytest.raises(FormatError, match=r"got '.*, which is no file; texts are"):
                open_source(given)
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
