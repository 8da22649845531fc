"""`CSRModel.encode` and `decode`: against the formula, on every kind of input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from csrkit.errors import ConfigError, MissingExtra, ShapeError
from csrkit.model import CSRModel, array_shapes, torch_encode
from csrkit.model.rows import as_rows
from csrkit.vectors import SparseVectors

MakeModel = Callable[..., CSRModel]
DenseCodes = Callable[[CSRModel, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
PATHS = ["numpy", "torch"]  # the second is for GPUs and runs on any device


def encode(model: CSRModel, x: Any, path: str, k: int | None = None) -> SparseVectors:
    if path == "numpy":
        return model.encode(x, k=k)
    return torch_encode.encode(model, x, k or model.ladder[-1], "cpu")


def raises(error: type[Exception], message: str) -> Any:
    """Expect exactly this message."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def rows(n: int, dim: int = 12, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def same_codes(a: SparseVectors, b: SparseVectors) -> None:
    np.testing.assert_array_equal(a.indptr, b.indptr)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.values, b.values, rtol=3e-5, atol=1e-6)


# -- the formula ----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    dim=st.integers(1, 9),
    latents=st.integers(1, 70),  # below, at and between multiples of 16
    n=st.integers(0, 5),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
@pytest.mark.parametrize("path", PATHS)
def test_codes_are_those_of_the_formula(
    make_model: MakeModel,
    dense_codes: DenseCodes,
    path: str,
    dim: int,
    latents: int,
    n: int,
    seed: int,
    data: st.DataObject,
) -> None:
    model = make_model(dim, latents, ladder=(1,), seed=seed)
    k = data.draw(st.integers(1, latents))
    x = rows(n, dim, seed) * data.draw(st.sampled_from([1e-6, 1.0, 1e6]))
    expected, clear = dense_codes(model, x, k)
    found = encode(model, x, path, k=k)
    assert found.counts.max(initial=0) <= k
    assert found.is_nonnegative
    dense = found.to_dense()
    np.testing.assert_array_equal((dense > 0)[clear], (expected > 0)[clear])
    np.testing.assert_allclose(dense[clear], expected[clear], atol=2e-5)


def test_most_rows_are_clear_of_ties(make_model: MakeModel, dense_codes: DenseCodes) -> None:
    assert dense_codes(make_model(), rows(300), 5)[1].mean() > 0.95


@pytest.mark.parametrize("n_latents", [16, 100, 513, 4099])
@pytest.mark.parametrize("k", [1, 6, 32, 90])
def test_wide_models_at_every_k(
    make_model: MakeModel, dense_codes: DenseCodes, n_latents: int, k: int
) -> None:
    k = min(k, n_latents)
    model, x = make_model(8, n_latents), rows(300, 8)  # more rows than a block
    expected, clear = dense_codes(model, x, k)
    found = model.encode(x, k=k).to_dense()
    np.testing.assert_array_equal((found > 0)[clear], (expected > 0)[clear])
    np.testing.assert_allclose(found[clear], expected[clear], atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), j=st.integers(1, 20), k=st.integers(1, 20))
def test_a_short_code_is_a_prefix_of_a_long_one(
    make_model: MakeModel, dense_codes: DenseCodes, seed: int, j: int, k: int
) -> None:
    model, x = make_model(seed=seed), rows(4, seed=seed)
    assume(dense_codes(model, x, j)[1].all())
    same_codes(model.encode(x, k=max(j, k)).top(j).normalized(), model.encode(x, k=j))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), path=st.sampled_from(PATHS))
def test_a_row_alone_gets_the_code_it_gets_in_a_batch(
    make_model: MakeModel, dense_codes: DenseCodes, seed: int, path: str
) -> None:
    model, x = make_model(seed=seed), rows(6, seed=seed)
    x[2] *= np.float32(1e30)  # sends its whole block the long way
    assume(dense_codes(model, x, 5)[1].all())
    batch = encode(model, x, path)
    for row in range(len(x)):
        same_codes(encode(model, x[row : row + 1], path), batch[row])


@pytest.mark.parametrize("path", PATHS)
def test_ties_go_to_the_lower_latent(make_model: MakeModel, path: str) -> None:
    model = make_model(n_latents=64)
    one_row = {name: np.zeros(shape) for name, shape in array_shapes(model.config).items()}
    one_row["encoder"] += 1.0  # all latents alike
    one_row["latent_bias"][[9, 40]] = 0.5
    tied = CSRModel(config=model.config, **one_row)
    codes = encode(tied, np.ones((2, 12)), path, k=4)
    np.testing.assert_array_equal(codes.indices, [0, 1, 9, 40] * 2)
    assert encode(tied, np.ones((1, 12)), path, k=1).indices.tolist() == [9]


@pytest.mark.parametrize("path", PATHS)
def test_a_row_in_which_nothing_fires_gets_an_empty_code(make_model: MakeModel, path: str) -> None:
    model = make_model()
    arrays = {name: getattr(model, name) for name in array_shapes(model.config)}
    silent = CSRModel(config=model.config, **{**arrays, "latent_bias": np.full(50, -1e3)})
    codes = encode(silent, rows(3), path)
    assert codes == SparseVectors.from_dense(np.zeros((3, 50)))
    np.testing.assert_array_equal(silent.decode(codes), np.tile(silent.pre_bias, (3, 1)))


def test_decode_is_the_formula(make_model: MakeModel) -> None:
    model = make_model(ladder=(2, 3))  # scales for up to 12 latents
    dense = np.zeros((15, 50))
    for row in range(15):  # 0 to 14 latents, longer than there are scales
        dense[row, np.random.default_rng(row).permutation(50)[:row]] = np.arange(1, row + 1) - 2.5
    expected = []
    for code in dense:
        unit = code / max(np.linalg.norm(code), 1e-300)
        scale = float(model.scales[min(np.count_nonzero(code), 12)])
        expected.append(model.pre_bias + scale * unit @ model.decoder.astype(np.float64))
    found = model.decode(SparseVectors.from_dense(dense))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        model.decode(SparseVectors.from_dense(dense * 7)), expected, atol=1e-5
    )


def test_decode_refuses_codes_of_another_model(make_model: MakeModel) -> None:
    with raises(ShapeError, "expected codes of width 50, got 49: they come from another model"):
        make_model().decode(make_model(n_latents=49).encode(rows(1)))


# -- inputs -----------------------------------------------------------------------

GRID = np.random.default_rng(3).integers(-60, 60, (40, 12))  # exact in every type below


def memmap(folder: Path, mode: Any) -> np.ndarray:
    path = folder / "rows.npy"
    np.save(path, GRID.astype(np.float32))
    return np.load(path, mmap_mode=mode)


def read_only() -> np.ndarray:
    x = GRID.astype(np.float32)
    x.flags.writeable = False
    return x


INPUTS: dict[str, Callable[[Path], Any]] = {
    **{d: lambda _, d=d: GRID.astype(d) for d in ["f2", "f8", ">f4", "i1", "i8", "longdouble"]},
    "list": lambda _: GRID.tolist(),
    "fortran": lambda _: np.asfortranarray(GRID.astype(np.float32)),
    "strided": lambda _: np.repeat(GRID.astype(np.float32), 2, axis=1)[:, ::2],
    "reversed": lambda _: GRID[::-1, ::-1].astype(np.float32)[::-1, ::-1],
    "read-only": lambda _: read_only(),
    "memmap": lambda folder: memmap(folder, "r"),
    "tensor": lambda _: torch.from_numpy(GRID).float(),
    "int tensor": lambda _: torch.from_numpy(GRID),
    "half tensor": lambda _: torch.from_numpy(GRID).half(),
    "bfloat tensor": lambda _: torch.from_numpy(GRID).bfloat16(),  # 8 bits hold 60
    "parameter": lambda _: torch.nn.Parameter(torch.from_numpy(GRID).double()),
    "transposed tensor": lambda _: torch.from_numpy(GRID.T.copy()).double().T,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", INPUTS)
def test_every_kind_of_input_gives_the_same_codes(
    make_model: MakeModel, name: str, path: str, tmp_path: Path
) -> None:
    model = make_model()
    x = INPUTS[name](tmp_path)
    same_codes(encode(model, x, path), model.encode(GRID.astype(np.float32)))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("dtype", "factor"),
    [("f4", 1e30), ("f4", 1e-30), ("f4", 1e-38), ("f8", 1e200), ("f8", 1e-200), ("f8", 1e-306)],
)
def test_rows_of_any_length_get_the_code_of_their_direction(
    make_model: MakeModel, path: str, dtype: str, factor: float
) -> None:
    model = make_model()
    x = GRID.astype(np.float64) / 64
    same_codes(
        encode(model, (x * factor).astype(dtype), path),
        model.encode(x),
    )


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_batch_gives_an_empty_batch(make_model: MakeModel, path: str) -> None:
    model = make_model()
    codes = encode(model, np.zeros((0, 12)), path)
    assert (len(codes), codes.dim, codes.nnz) == (0, 50, 0)
    assert codes == model.encode(torch.zeros(0, 12))
    assert model.decode(codes).shape == (0, 12)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("value", "what"),
    [(np.nan, "NaN or Inf in it"), (np.inf, "NaN or Inf in it"), (-np.inf, "NaN or Inf in it")],
)
@pytest.mark.parametrize("row", [0, 299])
def test_the_first_bad_row_is_named(
    make_model: MakeModel, path: str, value: float, what: str, row: int
) -> None:
    x = rows(301)
    x[row, 3] = value
    x[300] = 0
    with raises(ShapeError, f"expected finite, non-zero embeddings, got row {row} with {what}"):
        encode(make_model(), x, path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_a_zero_row_is_named(make_model: MakeModel, path: str, dtype: str) -> None:
    x = GRID.astype(dtype)
    x[7] = 0
    with raises(ShapeError, "expected finite, non-zero embeddings, got row 7 with all zeros"):
        encode(make_model(), x, path)


FITTED = "this model was fitted on 12 dimensions"
BAD_INPUTS: list[tuple[Any, str]] = [
    (np.ones((3, 11)), f"expected embeddings of shape (n, 12), got (3, 11): {FITTED}"),
    (torch.ones(3, 11), f"expected embeddings of shape (n, 12), got (3, 11): {FITTED}"),
    (
        np.ones(12),
        f"expected embeddings of shape (n, 12), got (12,): {FITTED}; for one vector pass x[None]",
    ),
    (torch.ones(2, 3, 12), f"expected embeddings of shape (n, 12), got (2, 3, 12): {FITTED}"),
    ([], f"expected embeddings of shape (n, 12), got (0,): {FITTED}"),
    (
        np.ones((2, 12), dtype=complex),
        "expected embeddings to be real numbers, got complex128 of shape (2, 12)",
    ),
    (
        torch.ones(2, 12) * 1j,
        "expected embeddings to be real numbers, got complex64 of shape (2, 12)",
    ),
    (
        np.ones((2, 12), dtype=bool),
        "expected embeddings to be real numbers, got bool of shape (2, 12)",
    ),
    (torch.ones(2, 12) > 0, "expected embeddings to be real numbers, got bool of shape (2, 12)"),
]


@pytest.mark.parametrize(("x", "message"), BAD_INPUTS)
def test_what_is_not_rows_of_numbers_is_refused(
    make_model: MakeModel, x: Any, message: str
) -> None:
    with raises(ShapeError, message):
        make_model().encode(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(3, 11), f"expected embeddings of shape (n, 12), got (3, 11): {FITTED}"),
        (torch.ones(12), f"expected embeddings of shape (n, 12), got (12,): {FITTED}"),
        (torch.ones(2, 12) * 1j, "expected embeddings of numbers, got dtype torch.complex64"),
        (torch.ones(2, 12) > 0, "expected embeddings of numbers, got dtype torch.bool"),
        (
            torch.empty(2, 12, device="meta"),
            "expected a dense tensor, got one of device meta, which holds no numbers",
        ),
    ],
)
def test_the_torch_path_refuses_other_tensors(
    make_model: MakeModel, x: torch.Tensor, message: str
) -> None:
    with raises(ShapeError, message):
        encode(make_model(), x, "torch")


def test_ragged_rows_are_refused(make_model: MakeModel) -> None:
    with pytest.raises(ShapeError, match=r"of one width, got row 0 with 12 .* row 1 with 11"):
        make_model().encode([[1.0] * 12, [1.0] * 11])


@pytest.mark.parametrize("k", [0, -1, 51, 2.0, "2", True, np.array([2])])
def test_k_is_a_whole_number_of_latents(make_model: MakeModel, k: Any) -> None:
    with raises(ConfigError, f"expected k from 1 to n_latents=50, got encode(k={k!r})"):
        make_model().encode(rows(1), k=k)


def test_k_may_be_numpys_and_is_the_longest_rung_by_default(make_model: MakeModel) -> None:
    model = make_model()
    assert model.encode(rows(9)) == model.encode(rows(9), k=np.int64(5))


def test_weights_whose_codes_would_overflow_are_refused_when_they_do(
    make_model: MakeModel,
) -> None:
    model = make_model()
    arrays = {name: getattr(model, name) for name in array_shapes(model.config)}
    huge = CSRModel(config=model.config, **{**arrays, "encoder": np.full((50, 12), 3e38)})
    with (
        np.errstate(all="ignore"),
        raises(
            ShapeError, "expected finite codes, got NaN or Inf: the model's weights are too large"
        ),
    ):
        huge.encode(np.ones((1, 12)))


# -- devices ------------------------------------------------------------------------


def test_a_cpu_tensor_is_encoded_by_numpy_without_a_copy(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = make_model(), rows(9)
    tensor = torch.from_numpy(x)
    assert np.shares_memory(as_rows(tensor, 12), x)
    monkeypatch.setattr(torch_encode, "encode", None)  # the other path is not taken
    for found in (
        model.encode(tensor),
        model.encode(tensor, device="cpu"),
        model.encode(x, device="cpu:0"),
        model.encode(x, device=torch.device("cpu")),  # type: ignore[arg-type]  # as torch's users do
    ):
        assert found == model.encode(x)  # to the bit


def test_other_devices_are_left_to_torch(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def record(model: CSRModel, x: Any, k: int, device: str | None) -> SparseVectors:
        asked.append((k, device))
        return SparseVectors([0], [], [], dim=50)

    monkeypatch.setattr(torch_encode, "encode", record)
    make_model().encode(rows(1), k=3, device="cuda")
    make_model().encode(torch.empty(1, 12, device="meta"))
    assert asked == [(3, "cuda"), (5, None)]


def test_a_device_that_is_not_there_is_told(make_model: MakeModel) -> None:
    message = (
        r"^expected a device of this machine, got encode\(device='abacus'\): Expected one of cpu"
    )
    with pytest.raises(ConfigError, match=message):
        make_model().encode(rows(1), device="abacus")
    for odd in ("cpux", True):
        with pytest.raises(ConfigError, match=rf"of this machine, got encode\(device={odd!r}\)"):
            make_model().encode(rows(1), device=odd)  # type: ignore[arg-type]


def test_without_torch_a_device_asks_for_it(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    message = (
        "encode(device='cuda') needs torch, which is not installed: pip install \"csrkit[train]\""
    )
    with raises(MissingExtra, message):
        make_model().encode(rows(1), device="cuda")
    assert len(make_model().encode(rows(1), device="cpu")) == 1
