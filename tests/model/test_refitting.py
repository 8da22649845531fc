"""Refitted codes against scipy's solver, and what they are for: decoding better."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import nnls

from csrkit.errors import ShapeError
from csrkit.model import CSRModel
from csrkit.vectors import SparseVectors

MakeModel = Callable[..., CSRModel]


def rows(n: int, dim: int = 24, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def some(make_model: MakeModel, dim: int = 24) -> CSRModel:
    """Return a model whose atoms have norm 1 and which has biases."""
    model = make_model(dim=dim)
    atoms = unit(model.encoder)
    half = np.full_like(model.scales, 0.5)
    return replace(
        model, encoder=atoms, decoder=atoms, scales=half, latent_bias=model.latent_bias / 8
    )


def test_values_are_the_non_negative_least_squares(make_model: MakeModel) -> None:
    model, x = some(make_model), rows(300)
    codes = model.encode(x, k=6)
    found = model.refit(x, codes)
    dropped = 0
    for row, (code, plain) in enumerate(zip(found, codes, strict=True)):
        left = unit(x)[row].astype(float) - model.pre_bias
        values, error = nnls(model.decoder[plain.indices].astype(float).T, left)
        best = values / np.linalg.norm(values)
        assert set(code.indices) <= set(plain.indices)
        mine = np.zeros(model.n_latents)
        mine[code.indices] = code.values
        # the error of the best multiple of the direction that was found
        decoded = mine @ model.decoder
        scale = decoded @ left / (decoded @ decoded)
        assert np.linalg.norm(left - scale * decoded) < error + 2e-3
        np.testing.assert_allclose(mine[plain.indices], best, atol=0.05)
        dropped += plain.nnz - code.nnz
    assert dropped > 0  # that is tested, too
    np.testing.assert_allclose(found.norms(), 1, rtol=1e-6)


def test_refitted_codes_decode_nearer_to_the_rows(make_model: MakeModel) -> None:
    model, x = some(make_model), rows(700)  # more than two blocks
    codes = model.encode(x, k=6)

    def cosines(which: SparseVectors) -> np.ndarray:
        return np.einsum("ij,ij->i", unit(model.decode(which)), unit(x))

    plain, better = cosines(codes), cosines(model.refit(x, codes))
    assert better.mean() > plain.mean() + 0.01
    assert (better > plain).mean() > 0.7


def test_lengths_of_rows_and_codes_do_not_matter(make_model: MakeModel) -> None:
    model, x = some(make_model), rows(20)
    codes = model.encode(x, k=5)
    longer = SparseVectors.from_dense(codes.to_dense() * 4)
    assert model.refit(x * 8, longer) == model.refit(x, codes)


@pytest.mark.parametrize("held", [1, 1 << 9, 1 << 30])
def test_blocks_of_any_size_give_the_same(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    model, x = some(make_model), rows(300)
    codes = model.encode(x, k=5)
    expected = model.refit(x, codes).to_dense()
    monkeypatch.setattr("csrkit.model.refitting.BLOCK_NUMBERS", held)
    np.testing.assert_allclose(model.refit(x, codes).to_dense(), expected, atol=1e-6)


def test_what_cannot_be_fitted_stays(make_model: MakeModel) -> None:
    model = some(make_model)
    x = rows(3)
    empty = SparseVectors.from_dense(np.zeros((3, 50)))
    assert model.refit(x, empty) == empty
    assert len(model.refit(rows(0), model.encode(rows(0)))) == 0
    # a latent that points away from its row: the best value is 0, the code stays
    away = int(np.argmin(model.decoder @ (unit(x)[0] - model.pre_bias)))
    code = SparseVectors([0, 1], [away], [1.0], 50)
    assert model.refit(x[:1], code) == code


def test_rows_that_do_not_fit_are_refused(make_model: MakeModel) -> None:
    model, x = some(make_model), rows(3)
    message = "expected one code per embedding, got 2 embeddings and 3 codes"
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        model.refit(x[:2], model.encode(x))
    with pytest.raises(ShapeError, match="they come from another model"):
        model.refit(x, make_model(n_latents=49, dim=24).encode(x))
    with pytest.raises(ShapeError, match="row 1 with all zeros"):
        model.refit(x * [[1], [0], [1]], model.encode(x))


def test_what_is_no_codes_is_refused(make_model: MakeModel) -> None:
    model, x = some(make_model), rows(3)
    for other in (None, [model.encode(x)], model.encode(x).to_scipy()):
        for call in (model.refit, model.encode_residuals):
            with pytest.raises(
                ShapeError, match=f"codes, SparseVectors, got {type(other).__name__}"
            ):
                call(x, other)  # type: ignore[arg-type]  # what is refused
