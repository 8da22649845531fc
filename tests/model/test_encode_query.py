"""`CSRModel.encode_query`: the latents of a document's code, with flatter values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from csrkit.model import CSRModel

MakeModel = Callable[..., CSRModel]


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 12)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 8, None])
def test_a_query_has_the_latents_of_a_document_and_flatter_values(
    make_model: MakeModel, k: int | None
) -> None:
    model, x = make_model(), rows(20)
    query, code = model.encode_query(x, k=k), model.encode(x, k=k)
    np.testing.assert_array_equal(query.indices, code.indices)
    np.testing.assert_array_equal(query.indptr, code.indptr)
    expected = code.to_dense() ** 0.8
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(query.to_dense(), expected, rtol=1e-5)


def test_a_query_in_which_no_latent_fires_is_empty(make_model: MakeModel) -> None:
    silent = dataclasses.replace(make_model(), latent_bias=np.full(50, -1e3))
    assert silent.encode_query(rows(2), k=4).nnz == 0
