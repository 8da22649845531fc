"""How codes are written: block by block in bounded memory, and whole or not at all."""

from __future__ import annotations

import json
import re
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from csrkit.errors import FormatError, ShapeError
from csrkit.vectors import SparseVectors, save_blocks


def make_codes(n: int, seed: int = 0, dim: int = 50) -> SparseVectors:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(n, dim)).astype(np.float32)
    dense[rng.random((n, dim)) < 0.8] = 0
    return SparseVectors.from_dense(dense)


# -- the format -----------------------------------------------------------------------


def test_the_library_of_the_format_reads_the_same_arrays(tmp_path: Path) -> None:
    codes = make_codes(40)
    codes.save(tmp_path / "c.safetensors")
    arrays = load_file(tmp_path / "c.safetensors")
    assert {name: str(a.dtype) for name, a in arrays.items()} == {
        "indptr": "int64", "indices": "int32", "values": "float32",
    }  # fmt: skip
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, getattr(codes, name))
    with safe_open(tmp_path / "c.safetensors", framework="np") as file:
        assert file.metadata() == {"csrkit": "SparseVectors", "format": "1", "dim": "50"}


def test_files_have_the_bytes_that_the_module_says(tmp_path: Path) -> None:
    codes = SparseVectors([0, 1, 1, 3], [4, 0, 2], [0.5, 1, -2], dim=5)
    codes.save(tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    assert content[:8] == (504).to_bytes(8, "little")
    assert json.loads(content[8:512])["indptr"] == {
        "dtype": "I64", "shape": [4], "data_offsets": [24, 56],
    }  # fmt: skip
    arrays = (codes.indices, codes.values, codes.indptr)
    assert content[512:] == b"".join(array.tobytes() for array in arrays)


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    codes = make_codes(9)
    arrays = {name: getattr(codes, name) for name in ("indptr", "indices", "values")}
    metadata = {"csrkit": "SparseVectors", "format": "1", "dim": "50"}
    save_file(arrays, tmp_path / "old", metadata)  # the layout that safetensors chooses
    assert SparseVectors.load(tmp_path / "old") == codes


# -- block by block -------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[], [0], [9], [3, 3, 7]])
def test_blocks_join_to_the_whole(cuts: list[int], tmp_path: Path) -> None:
    codes = make_codes(9)
    parts = [codes[a:b] for a, b in zip([0, *cuts], [*cuts, 9], strict=True)]
    save_blocks(iter(parts), tmp_path / "blocks", dim=50)
    assert SparseVectors.load(tmp_path / "blocks") == codes
    codes.save(tmp_path / "whole")
    assert (tmp_path / "blocks").read_bytes() == (tmp_path / "whole").read_bytes()


def test_no_blocks_make_a_file_of_no_codes(tmp_path: Path) -> None:
    save_blocks([], tmp_path / "none", dim=7)
    assert SparseVectors.load(tmp_path / "none") == SparseVectors([0], [], [], dim=7)


def test_a_block_of_another_width_is_refused(tmp_path: Path) -> None:
    blocks = [make_codes(4), make_codes(1, dim=49)]
    with pytest.raises(ShapeError, match=r"^expected codes of width 50, got 49 at row 4$"):
        save_blocks(blocks, tmp_path / "c", dim=50)
    assert list(tmp_path.iterdir()) == []


def peak_bytes(blocks: int, path: Path) -> int:
    """Return the most memory that numpy and Python held while so many blocks were written."""
    block = make_codes(1000)
    tracemalloc.start()
    try:
        save_blocks((block for _ in range(blocks)), path, dim=50)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = {blocks: peak_bytes(blocks, tmp_path / "c") for blocks in (1, 60)}
    written = (tmp_path / "c").stat().st_size
    assert written > 5_000_000
    assert peaks[60] < peaks[1] + 1_000_000  # a block, and the buffers of a copy
    assert peaks[60] < written / 2


# -- whole or not at all ----------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_save_leaves_the_old_file(
    error: type[BaseException], tmp_path: Path
) -> None:
    old = make_codes(9)
    old.save(tmp_path / "c")

    def stopped() -> Iterator[SparseVectors]:
        yield make_codes(5, seed=1)
        raise error

    with pytest.raises(error):
        save_blocks(stopped(), tmp_path / "c", dim=50)
    assert SparseVectors.load(tmp_path / "c") == old
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    old = make_codes(9)
    old.save(tmp_path / "c")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # what a full disk does
    try:
        with pytest.raises(OSError, match="too large"):
            make_codes(2000).save(tmp_path / "c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert SparseVectors.load(tmp_path / "c") == old
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_link_stays_a_link_and_private_stays_private(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make_codes(2).save(tmp_path / "data" / "c")
    (tmp_path / "data" / "c").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "c")
    make_codes(3).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(SparseVectors.load(tmp_path / "data" / "c")) == 3
    assert (tmp_path / "data" / "c").stat().st_mode & 0o777 == 0o600


def test_what_is_no_place_for_a_file_is_refused(tmp_path: Path) -> None:
    for path, message in {
        tmp_path: f"expected a file to save codes to, got {tmp_path}, which is none",
        Path("/dev/null"): "expected a file to save codes to, got /dev/null, which is none",
        tmp_path / "no" / "c": f"expected a folder to save codes in, found none at {tmp_path}/no",
    }.items():
        with pytest.raises(FormatError, match=f"^{re.escape(message)}$"):
            make_codes(1).save(path)
