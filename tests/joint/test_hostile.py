"""What is given in the wrong form: each gets an error of csrkit that says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from csrkit import joint
from csrkit.errors import ConfigError, CsrkitError, ShapeError

X, Y = np.random.default_rng(0).normal(size=(2, 40, 6))
E = np.random.default_rng(1).normal(size=(30, 8))
CAPTIONS = [[i % 30, i * 7 % 30] for i in range(40)]
QUICK = {"epochs": 1, "batch_size": 16}


def fit(**given: Any) -> joint.JointModel:
    config = joint.JointConfig(**QUICK, **given.pop("settings", {}))
    return joint.fit(X, Y, **{"embeddings": E, "config": config, "progress": False} | given)


@pytest.fixture(scope="module")
def model() -> joint.JointModel:
    return fit(captions=CAPTIONS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"embeddings": np.ones((30, 8))}, r"embeddings that differ, got 30 rows of \[1. 1. 1.\]"),
        ({"tokens": {"a": 0}}, r"tokens as a list of strings, got \{'a': 0\}"),
        ({"tokens": (str(i) for i in range(30))}, "tokens as a list of strings, got <generator"),
        ({"tokens": [None] * 30}, "tokens as strings, got None"),
        ({"vocabulary": [[1], [2, 3]]}, "a vocabulary of row numbers, got .*inhomogeneous"),
        ({"captions": [1] * 40}, "one list of token ids per text, got 'int' object"),
        ({"captions": [None] * 40}, "one list of token ids per text, got 'NoneType' object"),
        ({"captions": {"input_ids": CAPTIONS}}, "one list of token ids per text, got a dict"),
        ({"captions": [[[1]]] * 40}, "whole numbers, got dtype int64 of lists"),
        ({"captions": [[[1], [1, 2]]] * 40}, "as lists of token ids, got .*inhomogeneous"),
        ({"captions": CAPTIONS, "special": 0}, "special as a list of token ids, got 0"),
        ({"captions": CAPTIONS, "special": ["[CLS]"]}, "special as lists .* got dtype <U5"),
        ({"text_projection": (X, X, X)}, r"text_projection=\(weight, bias\), got a tuple of 3"),
    ],
)
def test_forms_of_the_inputs(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        fit(**given)


def test_captions_in_other_ids_are_not_passed_over() -> None:
    with pytest.raises(ConfigError, match=r"30 latents for JointConfig\(head_start='auto'\), got "):
        fit(captions=[[99]] * 40)
    with pytest.raises(ConfigError, match=r"device='meta'\): "):
        fit(settings={"device": "meta"})


def test_captions_may_be_lists_arrays_or_tensors(model: joint.JointModel) -> None:
    forms: list[Any] = [np.array(CAPTIONS), torch.tensor(CAPTIONS), map(np.array, CAPTIONS)]
    assert {fit(captions=form).fingerprint for form in forms} == {model.fingerprint}
    again = [[1, 1, 1], [5, 7], [7]]
    for caption in (again, [torch.tensor(row) for row in again], [np.array(row) for row in again]):
        np.testing.assert_array_equal(joint.frequent_tokens(caption, 1), [7])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.words(X), "expected codes, SparseVectors, got ndarray"),
        (lambda m: m.explain(X[:1], Y[0]), r"one text vector of shape \(6,\), got \(1, 6\)"),
        (lambda m: m.explain(X[0], 3), r"one image vector of shape \(6,\), got \(\)"),
        (lambda m: m.latents_of([1, 2]), "one list of token ids per text"),
        (lambda m: joint.frequent_tokens(CAPTIONS, 1.5), r"got frequent_tokens\(n=1.5\)"),
        (lambda m: joint.frequent_tokens(CAPTIONS, True), r"got frequent_tokens\(n=True\)"),
        (lambda m: joint.frequent_tokens(CAPTIONS, 2, leave_out=["a"]), "leave_out as lists"),
        (lambda m: joint.measure(m, X, Y, captions=CAPTIONS, special=1), "special as a list"),
    ],
)
def test_forms_of_what_a_model_is_asked(
    call: Callable[[joint.JointModel], object], message: str, model: joint.JointModel
) -> None:
    with pytest.raises(CsrkitError, match=message):
        call(model)


def test_a_vector_may_be_a_tensor_in_training(model: joint.JointModel) -> None:
    row = torch.tensor(X[0], requires_grad=True)
    assert model.explain(row, Y[0]) == model.explain(X[0], Y[0])


def test_a_share_of_captions_needs_rows_of_both(model: joint.JointModel) -> None:
    words, codes = model.latents_of(CAPTIONS), model.encode_image(Y)
    assert 0 <= joint.caption_share(words, codes, [[0, 0]]) <= 1
    with pytest.raises(ShapeError, match="got image 99 in pair 0; the image side has 40 rows"):
        joint.caption_share(words, codes, [[0, 99]])
    with pytest.raises(ShapeError, match="expected codes of width 30, got 6"):
        joint.caption_share(words, type(codes).from_dense(np.abs(Y)), [[0, 0]])


def test_adapters_whose_factors_are_finite_alone_have_diverged() -> None:
    with pytest.raises(ConfigError, match=r"diverged by step \d+: lower JointConfig\(head_rate="):
        fit(settings={"adapter_rate": 1e15})
