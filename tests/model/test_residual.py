"""Residual bits: exact bytes, the formula in float64, what they buy, what is refused."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit.errors import FormatError, ShapeError
from csrkit.model import CSRModel, ModelConfig, Provenance, load
from csrkit.model.residual import STEPS, find_directions
from csrkit.vectors import SparseVectors

MakeModel = Callable[..., CSRModel]


def rows(n: int, dim: int = 12, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def raises(error: type[Exception], message: str) -> Any:
    """Expect exactly this message."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def unit(x: np.ndarray) -> np.ndarray:
    wide = np.asarray(x, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def with_directions(model: CSRModel, counts: tuple[int, ...], seed: int = 3) -> CSRModel:
    """Give a model random directions, as many with 1, 2, ... bits as counts says."""
    square = np.random.default_rng(seed).normal(size=(model.dim, model.dim))
    directions = np.linalg.qr(square)[0][:, : sum(counts)].T
    spread = np.linspace(0.5, 2, len(directions))[:, None]
    config = model.config.model_copy(update={"residual_bits": counts})
    return replace(model, config=config, residual_basis=directions * spread)


def sane(make_model: MakeModel, dim: int = 12, **shape: Any) -> CSRModel:
    """Return a model that explains something: atoms of norm 1, no biases, scales of 1/2."""
    model = make_model(dim=dim, **shape)
    atoms = unit(model.encoder)
    nothing = {"latent_bias": model.latent_bias * 0, "pre_bias": model.pre_bias * 0}
    half = np.full_like(model.scales, 0.5)
    return replace(model, encoder=atoms, decoder=atoms, scales=half, **nothing)


def depths(counts: tuple[int, ...]) -> list[int]:
    return [depth for depth, many in enumerate(counts, start=1) for _ in range(many)]


def read(row: np.ndarray, counts: tuple[int, ...]) -> tuple[list[int], float, float]:
    """Take one row apart, bit by bit: the levels and both scales."""
    *packed, a, b, c, d = row.tolist()
    bits = [byte >> (7 - place) & 1 for byte in packed for place in range(8)]
    levels = []
    for depth in depths(counts):
        levels.append(int("".join(map(str, bits[:depth])), 2))
        bits = bits[depth:]
    assert not any(bits)
    assert len(bits) < 8
    along, inverse = np.array([a | b << 8, c | d << 8], dtype=np.uint16).view(np.float16)
    return levels, float(along), float(inverse)


def quantised(
    model: CSRModel, left: np.ndarray, counts: tuple[int, ...], basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the levels of ``left``, what they stand for, and which rows are clear of ties."""
    sigma = np.linalg.norm(basis, axis=1)
    v = basis / sigma[:, None]
    rho = np.sqrt(np.square(left @ v.T).sum(axis=1, keepdims=True) / np.square(sigma).sum())
    step = np.array([STEPS[depth] for depth in depths(counts)])
    y = (left @ v.T) / (rho * sigma) / step
    most = 2.0 ** np.array(depths(counts))
    levels = np.clip(np.floor(y) + most / 2, 0, most - 1)
    raised = ((levels + 0.5 - most / 2) * step * sigma) @ v
    return levels, raised, np.abs(y - np.round(y)).min(axis=1) > 1e-4


# -- golden bytes: a change here loses what people have stored ------------------------


def golden() -> CSRModel:
    """Return a model of exact binary fractions with 5 bits, the same on every machine."""
    config = ModelConfig(
        dim=3,
        n_latents=4,
        ladder=(1, 2),
        residual_bits=(1, 2),
        provenance=Provenance(csrkit="0.0.1", rows=5, steps=2),
    )
    atoms = np.eye(4, 3)
    return CSRModel(
        config=config,
        encoder=atoms,
        latent_bias=np.zeros(4),
        pre_bias=np.zeros(3),
        decoder=atoms,
        scales=np.full(5, 0.5),
        loads=np.zeros((2, 4)),
        residual_basis=[[0, 0, 0.125], [0, 0.25, 0], [0.5, 0, 0]],
    )


def test_golden_bytes() -> None:
    # 6/7, 3/7, -2/7: the code holds the first alone; 3/7 is beyond 1 step, -2/7 below 0
    packed = golden().encode_residuals([[6, 3, -2]], golden().encode([[6, 3, -2]], k=1))
    assert read(packed[0], (1, 2))[0] == [0, 3, 2]
    assert packed.tobytes().hex() == GOLDEN


GOLDEN = "706a3d203c"


# -- bytes ------------------------------------------------------------------------------

COUNTS = [(), (12,), (3, 4), (0, 0, 5), (1, 0, 2, 0, 1), (1, 1, 1, 1, 1, 1, 1, 1)]


@pytest.mark.parametrize("counts", COUNTS)
def test_rows_are_the_formula(make_model: MakeModel, counts: tuple[int, ...]) -> None:
    made, x = sane(make_model), rows(400)
    model = with_directions(made, counts) if counts else made
    basis = np.eye(12) if model.residual_basis is None else model.residual_basis.astype(float)
    used = counts or (12,)  # without directions: one bit for each axis
    codes = model.encode(x, k=3)
    decoded = model.decode(codes).astype(np.float64)
    levels, raised, clear = quantised(model, unit(x) - decoded, used, basis)
    c = ((unit(x) - decoded) * raised).sum(axis=1) / np.square(raised).sum(axis=1)
    norm = np.linalg.norm(decoded + c[:, None] * raised, axis=1)
    assert clear.mean() > 0.9  # float32 may round the others to the next level

    packed = model.encode_residuals(x, codes)
    assert packed.dtype == np.uint8
    assert packed.shape == (400, model.residual_bytes)
    for row in np.flatnonzero(clear):
        found, along, inverse = read(packed[row], used)
        assert found == levels[row].tolist()
        np.testing.assert_allclose([along, inverse], [c[row] / norm[row], 1 / norm[row]], rtol=1e-3)


@pytest.mark.parametrize(("counts", "size"), [((), 6), ((8,), 5), ((9,), 6), ((2, 3, 3), 7)])
def test_a_row_is_its_bits_and_four_bytes(
    make_model: MakeModel, counts: tuple[int, ...], size: int
) -> None:
    model = make_model()
    assert (with_directions(model, counts) if counts else model).residual_bytes == size


# -- the estimate -----------------------------------------------------------------------


@pytest.mark.parametrize("asked", [1, 4, 50])  # few queries take another way than many
@pytest.mark.parametrize("counts", [(), (3, 4), (0, 0, 5)])
def test_estimates_are_cosines_with_what_the_bytes_say(
    make_model: MakeModel, counts: tuple[int, ...], asked: int
) -> None:
    made = sane(make_model)
    model = replace(with_directions(made, counts) if counts else made, pre_bias=np.full(12, 0.1))
    x, queries = rows(90), rows(asked, seed=2) * 3
    codes = model.encode(x, k=3)
    packed = model.encode_residuals(x, codes)
    basis = np.eye(12) if model.residual_basis is None else model.residual_basis.astype(float)
    expected = np.empty((asked, 90))
    for row in range(90):
        levels, along, inverse = read(packed[row], counts or (12,))
        near = model.decode(codes[row])[0].astype(float) * inverse
        for level, depth, direction in zip(levels, depths(counts or (12,)), basis, strict=True):
            near += along * (level + 0.5 - 2 ** (depth - 1)) * STEPS[depth] * direction
        expected[:, row] = unit(queries) @ near
    found = model.estimate_cosines(queries, codes, packed)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
    same = model.estimate_cosines(queries, SparseVectors.from_dense(codes.to_dense() * 7), packed)
    np.testing.assert_allclose(same, found, atol=1e-6)


def test_without_residuals_it_is_the_cosine_with_the_decoded_code(make_model: MakeModel) -> None:
    model, queries = make_model(), rows(3, seed=2) * 5
    codes = model.encode(rows(40), k=4)
    found = model.estimate_cosines(queries, codes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(queries) @ unit(model.decode(codes)).T, atol=1e-5)


def test_bits_bring_the_estimate_nearer_to_the_cosine(make_model: MakeModel) -> None:
    model, x, queries = sane(make_model, dim=64), rows(200, 64), rows(20, 64, seed=2)
    codes = model.encode(x, k=5)
    exact = unit(queries) @ unit(x).T

    def error(which: CSRModel, residuals: np.ndarray | None) -> float:
        return float(np.std(which.estimate_cosines(queries, codes, residuals) - exact))

    packed = model.encode_residuals(x, codes)
    assert error(model, packed) < 0.8 * error(model, None)
    assert error(model, packed) < 0.5 * error(model, packed[::-1])  # of other rows: no help
    twice = with_directions(model, (0, 64))
    assert error(twice, twice.encode_residuals(x, codes)) < 0.75 * error(model, packed)


def test_lengths_of_rows_do_not_matter(make_model: MakeModel) -> None:
    model, x, queries = make_model(), rows(20), rows(3, seed=2)
    codes = model.encode(x, k=4)
    packed = model.encode_residuals(x * 8, codes)
    np.testing.assert_array_equal(packed, model.encode_residuals(x, codes))
    np.testing.assert_array_equal(
        model.estimate_cosines(queries * 4, codes, packed),
        model.estimate_cosines(queries, codes, packed),
    )


def test_many_rows_are_rows_one_by_one(make_model: MakeModel) -> None:
    model, x = with_directions(sane(make_model), (3, 4)), rows(600)  # more than two blocks
    codes = model.encode(x, k=3)
    whole = model.encode_residuals(x, codes)
    single = [model.encode_residuals(x[i : i + 1], codes[i])[0] for i in range(0, 600, 7)]
    differ = (whole[::7] != np.stack(single)).any(axis=1)  # a last bit of float32 at an edge
    assert differ.mean() < 0.05


def test_nothing_unexplained_and_nothing_decoded(make_model: MakeModel) -> None:
    exact = golden()  # its first atom is the row, if only the scale is 1
    exact = replace(exact, scales=np.ones(5))
    codes = exact.encode([[1, 0, 0]], k=1)
    _, along, inverse = read(exact.encode_residuals([[1, 0, 0]], codes)[0], (1, 2))
    assert (along, inverse) == (0, 1)
    zero = replace(make_model(dim=4), pre_bias=np.zeros(4))
    empty = SparseVectors.from_dense(np.zeros((2, 50)))
    assert zero.estimate_cosines(rows(3, 4), empty).tolist() == [[0, 0]] * 3
    packed = zero.encode_residuals(rows(2, 4, seed=5), empty)  # the bits alone
    assert np.isfinite(zero.estimate_cosines(rows(1, 4), empty, packed)).all()
    flat = replace(with_directions(zero, (4,)), residual_basis=np.zeros((4, 4)))  # a broken file
    assert np.isfinite(
        flat.estimate_cosines(rows(1, 4), empty, flat.encode_residuals(rows(2, 4), empty))
    ).all()


def test_no_queries_and_no_codes(make_model: MakeModel) -> None:
    model = make_model()
    none = model.encode(rows(0))
    packed = model.encode_residuals(rows(0), none)
    assert packed.shape == (0, model.residual_bytes)
    assert model.estimate_cosines(rows(2), none, packed).shape == (2, 0)
    assert model.estimate_cosines(rows(0), model.encode(rows(2))).shape == (0, 2)
    two = model.encode(rows(2))
    packed = model.encode_residuals(rows(2), two)
    assert model.estimate_cosines(rows(0), two, packed).shape == (0, 2)


# -- directions -------------------------------------------------------------------------


def uneven(n: int, dim: int, seed: int = 1) -> np.ndarray:
    """Return rows whose variance falls from one hidden direction to the next."""
    mix = np.linalg.qr(np.random.default_rng(9).normal(size=(dim, dim)))[0]
    return unit(rows(n, dim, seed) * np.geomspace(1, 0.05, dim) @ mix).astype(np.float32)


def learned(model: CSRModel, x: np.ndarray, bits: int) -> CSRModel:
    basis, counts = find_directions(model, x, model.encode(x), bits)
    config = model.config.model_copy(update={"residual_bits": counts})
    return replace(model, config=config, residual_basis=basis)


def test_directions_of_the_data_beat_the_axes_at_equal_bytes(make_model: MakeModel) -> None:
    model, x, queries = sane(make_model, dim=32), uneven(900, 32), uneven(50, 32, seed=2)
    fitted = learned(model, x[:500], 32)
    assert fitted.residual_bytes == model.residual_bytes == 8
    codes = model.encode(x[500:], k=3)
    exact = queries @ x[500:].T

    def error(which: CSRModel) -> float:
        packed = which.encode_residuals(x[500:], codes)
        return float(np.std(which.estimate_cosines(queries, codes, packed) - exact))

    assert error(fitted) < 0.6 * error(model)


def test_directions_are_orthogonal_and_as_long_as_residuals_are_spread(
    make_model: MakeModel,
) -> None:
    model, x = sane(make_model, dim=32), uneven(500, 32)
    basis, counts = find_directions(model, x, model.encode(x), 32)
    assert sum(depth * many for depth, many in enumerate(counts, start=1)) == 32
    assert len(basis) == sum(counts)
    gram = basis.astype(float) @ basis.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6)
    directions = basis / np.sqrt(np.diag(gram))[:, None]
    covariance = np.cov(x, rowvar=False)
    np.testing.assert_allclose(  # principal: eigenvectors of the data's covariance
        directions @ covariance,
        np.diag(directions @ covariance @ directions.T)[:, None] * directions,
        atol=1e-4,
    )
    left = [x - model.decode(model.encode(x, k=k)) for k in model.ladder]
    power = np.mean([np.square(r @ directions.T).mean(axis=0) for r in left], axis=0)
    np.testing.assert_allclose(np.diag(gram), power, rtol=1e-3)


def test_alike_rows_give_no_directions(make_model: MakeModel) -> None:
    model = sane(make_model)
    x = np.tile(unit(rows(1)), (30, 1)).astype(np.float32)
    basis, counts = find_directions(model, x, model.encode(x), 12)
    assert (len(basis), counts) == (0, ())


def test_few_rows_have_few_directions(make_model: MakeModel) -> None:
    model, x = sane(make_model, dim=64), unit(rows(10, 64)).astype(np.float32)
    fitted = learned(model, x, 64)
    assert sum(fitted.config.residual_bits) <= 9
    codes = model.encode(x, k=3)
    found = fitted.estimate_cosines(x, codes, fitted.encode_residuals(x, codes))
    alone = fitted.estimate_cosines(x, codes)
    assert np.abs(found - x @ x.T).mean() < 0.7 * np.abs(alone - x @ x.T).mean()


# -- they belong to the model -------------------------------------------------------------


def test_directions_travel_with_the_model(make_model: MakeModel, tmp_path: Path) -> None:
    plain = make_model()
    model = with_directions(plain, (3, 4))
    model.save(tmp_path)
    for twin in (load(tmp_path), pickle.loads(pickle.dumps(model))):
        assert twin.fingerprint == model.fingerprint != plain.fingerprint
        np.testing.assert_array_equal(twin.residual_basis, model.residual_basis)
        assert not twin.residual_basis.flags.writeable
    other = replace(model, residual_basis=model.residual_basis * 2)
    assert other.fingerprint != model.fingerprint
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"residual_bits"', '"residue"'))
    with pytest.raises(FormatError, match="residue"):
        load(tmp_path)


def test_directions_that_do_not_fit_are_refused(make_model: MakeModel) -> None:
    model = with_directions(make_model(), (3, 4))
    with raises(ShapeError, "expected residual_basis of shape (7, 12), got (3, 12)"):
        replace(model, residual_basis=np.ones((3, 12)))
    with raises(ShapeError, "expected residual_basis of shape (7, 12), got ()"):
        replace(model, residual_basis=None)
    with raises(ShapeError, "expected residual_bits in the config of a residual_basis, got none"):
        replace(make_model(), residual_basis=np.ones((3, 12)))
    for counts in ((13,), (3, 0), (6, 7)):
        expected = f"at most 12 directions, the last number above 0, got {counts}"
        with pytest.raises(ValueError, match=re.escape(expected)):
            ModelConfig(**{**model.config.model_dump(), "residual_bits": counts})
    for counts in ((-1, 2), (0,) * 8 + (1,)):
        with pytest.raises(ValueError, match="residual_bits"):
            ModelConfig(**{**model.config.model_dump(), "residual_bits": counts})


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
    foreign = make_model(n_latents=49).encode(x)
    with pytest.raises(ShapeError, match="they come from another model"):
        model.estimate_cosines(x, foreign, packed)
    expected = "expected residuals as uint8 of shape (3, 6), one row per code as encode_residuals"
    for wrong, came in (
        (packed[:2], "uint8 of shape (2, 6)"),
        (packed[:, :3], "uint8 of shape (3, 3)"),
        (packed.astype(int), "int64 of shape (3, 6)"),
    ):
        with raises(ShapeError, f"{expected} made them, got {came}"):
            model.estimate_cosines(x, codes, wrong)
