"""`csrkit.tensors`: what holds numbers is read, and what numpy would misread is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from csrkit.errors import ShapeError
from csrkit.sources import open_source
from csrkit.tensors import as_numbers
from csrkit.vectors import SparseVectors

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
TENSOR = torch.from_numpy(ROWS.copy())
GRADIENT = TENSOR.clone().requires_grad_()


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        ROWS.tolist(),
        tuple(ROWS),
        memoryview(ROWS),
        np.ma.masked_array(ROWS),
        TENSOR,
        GRADIENT,
        TENSOR.bfloat16(),
        list(GRADIENT),
        list(TENSOR.bfloat16()),
        [*TENSOR[:2], *GRADIENT[2:]],
        [ROWS[0], *GRADIENT[1:]],
    ],
)
def test_numbers_are_read_as_they_are(value: Any) -> None:
    np.testing.assert_array_equal(as_numbers(value, "embeddings"), ROWS)
    np.testing.assert_array_equal(open_source(value).rows(0, 3), ROWS)


def test_an_array_is_not_copied(tmp_path: Any) -> None:
    assert as_numbers(ROWS, "embeddings") is ROWS
    np.save(tmp_path / "x.npy", ROWS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert as_numbers(mapped, "embeddings") is mapped


VECTORS = np.empty(3, dtype=object)
VECTORS[:] = list(ROWS)

REFUSED = [
    (np.ma.masked_greater(ROWS, 10), "without masked entries, got 2 of 12 masked: leave their"),
    (scipy.sparse.csr_matrix(ROWS), r"dense \S+, got the sparse csr_matrix: pass .toarray\(\)"),
    (scipy.sparse.coo_array(ROWS), r"dense \S+, got the sparse coo_array: pass .toarray\(\)"),
    (SparseVectors.from_dense(ROWS), "got SparseVectors, which are codes: pass the embeddings"),
    (torch.ones(3, 4, device="meta"), "got one of device meta, which holds no numbers"),
    (TENSOR.to_sparse(), r"got one of layout torch.sparse_coo: pass .to_dense\(\)"),
    (VECTORS, r"got object of shape \(3,\), a list of vectors: np.stack\(list\(...\)\)"),
    (ROWS.astype(object), r"object of shape \(3, 4\): convert it first, .*astype"),
    (ROWS.astype(str), r"<U32 of shape \(3, 4\): texts are to be embedded first"),
    ([[1.0, None]], r"object of shape \(1, 2\): convert it first"),
    ([*TENSOR[:2], TENSOR[2, :3]], "rows of one width, got row 0 with 4 numbers and row 2 with 3"),
    ([ROWS, ROWS[0]], r"one width, got row 0 with \(3, 4\) numbers and row 1 with 4"),
    (ROWS > 3, "real numbers, got bool of shape"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_what_numpy_would_misread_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        as_numbers(value, "embeddings")
    with pytest.raises(ShapeError, match=message):
        open_source(value)


@pytest.mark.parametrize("value", [None, {1: 2}, {1, 2}, object(), (one for one in ROWS)])
def test_what_is_no_array_is_named(value: Any) -> None:
    with pytest.raises(ShapeError, match=f"real numbers, got {type(value).__name__}$"):
        as_numbers(value, "embeddings")


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
def test_tensors_that_are_not_plain_are_refused() -> None:
    quantised = torch.quantize_per_tensor(TENSOR, 0.1, 0, torch.qint8)
    with pytest.raises(ShapeError, match=r"quantised numbers: pass .dequantize\(\)"):
        as_numbers(quantised, "embeddings")


def test_a_function_has_to_return_batches() -> None:
    assert open_source(lambda: [ROWS]).n == 3
    with pytest.raises(ShapeError, match="got one that returns NoneType"):
        open_source(lambda: None)
    with pytest.raises(ShapeError, match="batch 0 of the batches with rows of one width"):
        open_source(zip(range(3), ROWS, strict=True))
