"""Residual bits: exact bytes, the formula in float64, what is refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from csrkit.errors import ShapeError
from csrkit.model import CSRModel, array_shapes, residual
from csrkit.vectors import SparseVectors

MakeModel = Callable[..., CSRModel]


def rows(n: int, dim: int = 12, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def raises(error: type[Exception], message: str) -> Any:
    """Expect exactly this message."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def rotation(dim: int) -> np.ndarray:
    """Spell R out as a matrix in float64: flip, DCT-II, flip, DCT-II."""
    j, i = np.arange(dim)[:, None], np.arange(dim)
    transform = np.sqrt(2 / dim) * np.cos(np.pi * j * (2 * i + 1) / (2 * dim))
    transform[0] /= np.sqrt(2)
    stream = hashlib.shake_256(f"csrkit residual {dim}".encode()).digest(dim)
    bits = [byte >> (7 - bit) & 1 for byte in stream for bit in range(8)]
    first, second = np.array(bits[:dim]) * 2 - 1, np.array(bits[dim : 2 * dim]) * 2 - 1
    return transform @ np.diag(second) @ transform @ np.diag(first)


def unit(x: np.ndarray) -> np.ndarray:
    wide = np.asarray(x, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


# -- golden bytes: a change here loses what people have stored ------------------------


def test_golden_bytes() -> None:
    left = np.arange(-5, 6, dtype=np.float32) ** 3 / 1000  # 11 dimensions: 2 bytes of bits
    assert residual.pack(left[None]).tobytes().hex() == GOLDEN


GOLDEN = "63c0de2c"


def test_the_layout_is_bits_then_a_float16() -> None:
    left = rows(5, dim=19)
    packed = residual.pack(left)
    assert packed.shape == (5, residual.row_bytes(19)) == (5, 5)
    rotated = left.astype(np.float64) @ rotation(19).T
    for row, expected in zip(packed, rotated, strict=True):
        bits = [int(row[d // 8]) >> (7 - d % 8) & 1 for d in range(24)]
        assert bits == [*(expected >= 0).astype(int), 0, 0, 0, 0, 0]
        scale = int(row[3]) | int(row[4]) << 8  # little-endian
        exact = (expected**2).sum() / np.abs(expected).sum()
        assert scale == int(np.float16(exact).view(np.uint16))


@pytest.mark.parametrize("dim", [1, 2, 7, 8, 12, 100])
def test_the_rotation_is_orthogonal_and_the_one_written_down(dim: int) -> None:
    found = residual.rotate(np.eye(dim, dtype=np.float32)).T
    np.testing.assert_allclose(found, rotation(dim), atol=1e-6)
    np.testing.assert_allclose(found @ found.T, np.eye(dim), atol=1e-6)


# -- the estimate -----------------------------------------------------------------------


@pytest.mark.parametrize("dim", [5, 8, 12])
def test_estimates_are_the_formula(make_model: MakeModel, dim: int) -> None:
    model, x, queries = make_model(dim=dim), rows(300, dim), rows(4, dim, seed=2) * 3
    codes = model.encode(x, k=3)
    decoded = model.decode(codes).astype(np.float64)
    left = (unit(x) - decoded) @ rotation(dim).T
    scale = (left**2).sum(axis=1) / np.abs(left).sum(axis=1)
    signs = np.where(left >= 0, 1, -1)
    clear = np.abs(left).min(axis=1) > 1e-5  # float32 may round the others to the other side
    assert clear.mean() > 0.9
    asked = unit(queries)
    expected = asked @ decoded.T + (asked @ rotation(dim).T) @ signs.T * scale

    packed = model.encode_residuals(x, codes)
    assert packed.dtype == np.uint8
    assert packed.shape == (300, model.residual_bytes)
    found = model.estimate_cosines(queries, codes, packed)
    assert found.dtype == np.float32
    # the scale is a float16: half a unit in its eleventh bit, times at most |R q|_1
    tolerance = 1e-4 + 2.0**-11 * np.sqrt(dim) * scale
    assert (np.abs(found - expected) <= tolerance)[:, clear].all()


def test_without_residuals_it_is_the_cosine_with_the_decoded_code(make_model: MakeModel) -> None:
    model, queries = make_model(), rows(3, seed=2) * 5
    codes = model.encode(rows(40), k=4)
    found = model.estimate_cosines(queries, codes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(queries) @ unit(model.decode(codes)).T, atol=1e-5)


def test_a_query_along_the_residual_is_estimated_exactly(make_model: MakeModel) -> None:
    """There the estimator has no error: <R r, signs> |r|^2 / |r|_1 is |r|^2."""
    model, x = make_model(), rows(30)
    codes = model.encode(x, k=4)
    left = unit(x) - model.decode(codes)
    found = model.estimate_cosines(left, codes, model.encode_residuals(x, codes))
    np.testing.assert_allclose(np.diag(found), (unit(left) * unit(x)).sum(axis=1), atol=3e-3)


def test_bits_bring_the_estimate_nearer_to_the_cosine(make_model: MakeModel) -> None:
    made, x, queries = make_model(dim=64), rows(200, 64), rows(20, 64, seed=2)
    arrays = {name: getattr(made, name) for name in array_shapes(made.config)}
    atoms = {"encoder": unit(made.encoder), "decoder": unit(made.encoder)}
    silent = {
        "latent_bias": np.zeros(50),
        "pre_bias": np.zeros(64),
        "scales": arrays["scales"] ** 0,
    }
    model = CSRModel(config=made.config, **{**arrays, **atoms, **silent})
    codes = model.encode(x, k=5)
    exact = unit(queries) @ unit(x).T

    def error(residuals: np.ndarray | None) -> float:
        return float(np.std(model.estimate_cosines(queries, codes, residuals) - exact))

    packed = model.encode_residuals(x, codes)
    assert error(packed) < 0.8 * error(None)
    assert error(packed) < 0.5 * error(packed[::-1])  # the bits of other rows are no help


def test_lengths_of_rows_do_not_matter(make_model: MakeModel) -> None:
    model, x, queries = make_model(), rows(20), rows(3, seed=2)
    codes = model.encode(x, k=4)
    packed = model.encode_residuals(x * 8, codes)
    np.testing.assert_array_equal(packed, model.encode_residuals(x, codes))
    np.testing.assert_array_equal(
        model.estimate_cosines(queries * 4, codes, packed),
        model.estimate_cosines(queries, codes, packed),
    )


def test_nothing_unexplained_and_nothing_decoded(make_model: MakeModel) -> None:
    assert residual.pack(np.zeros((1, 8), dtype=np.float32)).tolist() == [[255, 0, 0]]
    model = make_model(dim=4)
    arrays = {name: getattr(model, name) for name in array_shapes(model.config)}
    zero = CSRModel(config=model.config, **{**arrays, "pre_bias": np.zeros(4)})
    empty = SparseVectors.from_dense(np.zeros((2, 50)))
    assert zero.estimate_cosines(rows(3, 4), empty).tolist() == [[0, 0]] * 3


def test_no_queries_and_no_codes(make_model: MakeModel) -> None:
    model = make_model()
    none = model.encode(rows(0))
    packed = model.encode_residuals(rows(0), none)
    assert packed.shape == (0, model.residual_bytes)
    assert model.estimate_cosines(rows(2), none, packed).shape == (2, 0)
    assert model.estimate_cosines(rows(0), model.encode(rows(2))).shape == (0, 2)


# -- refusals -----------------------------------------------------------------------------


def test_rows_that_do_not_fit_are_refused(make_model: MakeModel) -> None:
    model, x = make_model(), rows(3)
    codes = model.encode(x)
    packed = model.encode_residuals(x, codes)
    with raises(ShapeError, "expected one code per embedding, got 2 embeddings and 3 codes"):
        model.encode_residuals(x[:2], codes)
    with pytest.raises(ShapeError, match="row 1 with all zeros"):
        model.encode_residuals(x * [[1], [0], [1]], codes)
    with pytest.raises(ShapeError, match=r"expected embeddings of shape \(n, 12\), got \(12,\)"):
        model.estimate_cosines(x[0], codes)
    expected = "expected residuals as uint8 of shape (3, 4), one row per code as encode_residuals"
    for wrong, came in (
        (packed[:2], "uint8 of shape (2, 4)"),
        (packed[:, :3], "uint8 of shape (3, 3)"),
        (packed.astype(int), "int64 of shape (3, 4)"),
    ):
        with raises(ShapeError, f"{expected} made them, got {came}"):
            model.estimate_cosines(x, codes, wrong)
