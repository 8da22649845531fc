"""`SparseVectors` in files and in other processes: the same codes, or a refusal."""

from __future__ import annotations

import copy
import json
import multiprocessing
import operator
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from csrkit.errors import FormatError, ShapeError
from csrkit.vectors import SparseVectors


@pytest.fixture
def codes() -> SparseVectors:
    return SparseVectors(
        [0, 2, 2, 3, 7], [1, 4, 0, 0, 1, 2, 3], [0.6, 0.8, 1, 0.5, -2, 0.5, 0.5], dim=5
    )


# -- files --------------------------------------------------------------------------


def test_files_bring_back_the_same_codes(codes: SparseVectors, tmp_path: Path) -> None:
    for one in (codes, codes[1:1], codes[1:3], codes[::-1]):
        one.save(tmp_path / "codes.safetensors")
        loaded = SparseVectors.load(tmp_path / "codes.safetensors")
        assert loaded == one
        assert not loaded.values.flags.writeable


METADATA = {"csrkit": "SparseVectors", "format": "1", "dim": "5"}
ARRAYS = {
    "indptr": np.array([0, 1]),
    "indices": np.array([3], dtype=np.int32),
    "values": np.array([2], dtype=np.float32),
}
HOSTILE: list[tuple[dict[str, Any], dict[str, str] | None, str]] = [
    (ARRAYS, None, "is not a file of SparseVectors in format 1, it says {}"),
    (ARRAYS, {"format": "pt"}, "in format 1, it says {'format': 'pt'}"),
    (ARRAYS, {**METADATA, "format": "2"}, "'format': '2'"),
    (ARRAYS, {**METADATA, "csrkit": "CSRModel"}, "'csrkit': 'CSRModel'"),
    (ARRAYS, {"csrkit": "SparseVectors", "format": "1"}, "not a readable file"),
    (ARRAYS, {**METADATA, "dim": "3"}, "expected indices in [0, 3), got row 0 with [3]"),
    (ARRAYS, {**METADATA, "dim": "many"}, "not a readable file"),
    (ARRAYS, {**METADATA, "dim": "9" * 6000}, "not a readable file"),
    (ARRAYS, {**METADATA, "dim": "-5"}, "expected dim between 1 and"),
    ({k: v for k, v in ARRAYS.items() if k != "values"}, METADATA, "values"),
    ({**ARRAYS, "values": np.array([np.nan])}, METADATA, "expected finite values"),
    ({**ARRAYS, "values": np.array([[2.0]])}, METADATA, "in one dimension"),
    ({**ARRAYS, "indptr": np.array([0, 2**62])}, METADATA, "indptr to rise from 0 to nnz=1"),
    ({**ARRAYS, "indices": np.array([-1])}, METADATA, "expected indices in [0, 5)"),
    ({**ARRAYS, "indices": np.array([2**40])}, METADATA, "expected indices to fit int32"),
]


@pytest.mark.parametrize(("arrays", "metadata", "message"), HOSTILE)
def test_hostile_files_are_refused(
    arrays: dict[str, Any], metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "codes.safetensors"
    save_file(arrays, path, metadata)
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        SparseVectors.load(path)
    assert str(path) in str(caught.value)


def test_every_truncation_is_refused(codes: SparseVectors, tmp_path: Path) -> None:
    path = tmp_path / "codes.safetensors"
    codes.save(path)
    content = path.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match="is not a readable file of SparseVectors"):
            SparseVectors.load(path)


def test_other_files_are_refused(codes: SparseVectors, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"^no file of SparseVectors at .*nothing$"):
        SparseVectors.load(tmp_path / "nothing")
    with pytest.raises(FormatError, match="not a readable file"):
        SparseVectors.load(tmp_path)
    path = tmp_path / "codes"
    header = json.dumps({"__metadata__": METADATA}).encode()
    for content in (
        os.urandom(500),
        struct.pack("<Q", 2**63) + header,  # a header as long as the world
        pickle.dumps(codes),
        _half_precision(header=dict(METADATA)),
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="not a readable file"):
            SparseVectors.load(path)


def _half_precision(header: dict[str, str]) -> bytes:
    """Return a safetensors file whose values are bfloat16, which numpy has not."""
    entries = {
        "__metadata__": header,
        "indptr": {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]},
        "indices": {"dtype": "I32", "shape": [1], "data_offsets": [16, 20]},
        "values": {"dtype": "BF16", "shape": [1], "data_offsets": [20, 22]},
    }
    text = json.dumps(entries).encode()
    data = struct.pack("<qqiH", 0, 1, 3, 0x4000)
    return struct.pack("<Q", len(text)) + text + data


# -- other processes ----------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_content_and_protection(codes: SparseVectors, protocol: int) -> None:
    for one in (codes, codes[1:3], codes[:0]):
        back = pickle.loads(pickle.dumps(one, protocol))
        assert back == one
        assert not any(a.flags.writeable for a in (back.indptr, back.indices, back.values))


def test_copies_are_equal_and_protected(codes: SparseVectors) -> None:
    for twin in (copy.copy(codes), copy.deepcopy(codes)):
        assert twin == codes
        assert not twin.values.flags.writeable


def test_a_pickle_of_invalid_codes_is_refused(codes: SparseVectors) -> None:
    kind, arguments = codes.__reduce__()
    with pytest.raises(
        ShapeError, match=r"^expected indices in \[0, 2\), got row 0 with \[1, 4\]$"
    ):
        kind(*arguments[:3], 2)


def test_codes_travel_to_other_processes(codes: SparseVectors) -> None:
    # a function of the standard library: the other process cannot import this file
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map_async(operator.methodcaller("top", 1), [codes]).get(timeout=60)
    assert found == [codes.top(1)]


def test_selecting_with_an_empty_list_gives_an_empty_batch() -> None:
    codes = SparseVectors([0, 2, 3], [1, 4, 0], [0.5, 2.0, 1.0], dim=5)
    assert codes[[]] == SparseVectors([0], [], [], dim=5)
