"""Metrics refuse what could only be measured wrongly, and say what to pass."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from csrkit.errors import ShapeError
from csrkit.metrics import (
    bytes_per_vector,
    exact_top,
    hit_rate_at,
    latent_loads,
    mrr_at,
    ndcg_at,
    neighbour_accuracy,
    posting_cost,
    recall_at,
)
from csrkit.stores import Hit
from csrkit.vectors import SparseVectors

HIT = Hit("a", 0.5)
NAN = float("nan")


@pytest.mark.parametrize(
    ("found", "known", "message"),
    [
        ([[HIT]], [["a"]], "expected lists of ids, got hits: pass .*hit.id for hit in hits"),
        ([["1"], ["2"]], [[1], [2]], "ids of one kind, got '1' in found and 1 in"),
        ([[1]], [["d1", "d2"]], "ids of one kind, got 1 in found and 'd1' in"),
        ({0: ["a"]}, [["a"]], "expected found as a list with one entry per query, .* got dict"),
        ([["a"]], {0: ["a"]}, "as a list with one entry per query, in their order, got dict"),
        (["a"], [["a"]], "found as one list of ids per query, got 'a' for query 0"),
        ([7, 8], [[7], [8]], "found as one list of ids per query, got 7 for query 0"),
        ([{1, 2}], [[1]], r"found as one list of ids per query, got {1, 2} for query 0"),
        ([[[1]]], [[1]], r"expected a list of ids for each query, got \[\[1\]\]"),
    ],
)
@pytest.mark.parametrize("metric", [recall_at, ndcg_at, mrr_at, hit_rate_at])
def test_what_could_only_measure_zero_is_refused(
    metric: Any, found: Any, known: Any, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        metric(found, known, 10)


def test_missing_everything_measures_zero() -> None:
    assert recall_at([[1], []], [[2], [3]], 10).tolist() == [0, 0]
    assert mrr_at([["a"], []], ["b", "c"], 10).tolist() == [0, 0]
    assert mrr_at([["a", 1]], [2], 10).tolist() == [0]  # a store may hold both kinds


@pytest.mark.parametrize("n", [0, -1, 2.0, True, None, "2", NAN])
def test_depths_are_whole_numbers(n: Any) -> None:
    for metric in (recall_at, ndcg_at, mrr_at, hit_rate_at):
        with pytest.raises(ShapeError, match=f"depth of at least 1, got n={n!r}"):
            metric([[1]], [[1]], n)
    with pytest.raises(ShapeError, match=f"n between 1 and 3 documents, got n={n!r}"):
        exact_top(np.eye(3), np.eye(3), n)


@pytest.mark.parametrize("gain", [NAN, float("inf"), "2", None, -1])
def test_gains_are_finite_numbers(gain: Any) -> None:
    with pytest.raises(ShapeError, match=re.escape(f"got {{1: {gain!r}, 2: 1}} for query 0")):
        ndcg_at([[1]], [{1: gain, 2: 1}], 10)


def test_tensors_and_frames_are_lists_of_ids() -> None:
    ids = [[3, 1], [2, 4]]
    for found in (torch.tensor(ids), list(torch.tensor(ids))):
        assert recall_at(found, ids, 2).tolist() == [1, 1]
        assert ndcg_at(ids, found, 2).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        (np.eye(2) * 1j, "expected docs to be real numbers, got complex128"),
        ([["1", "2"]], "expected docs to be real numbers, got <U1"),
        (np.ma.masked_array(np.eye(2), mask=np.eye(2)), "docs without masked entries, got 2 of 4"),
        ([[1.0, 2.0], [1.0]], "docs with rows of one width"),
    ],
)
def test_exact_top_refuses_what_numpy_would_misread(docs: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        exact_top([[1.0, 0.0]], docs, 1)


def test_labels_of_two_kinds_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"of one kind .* got int64 of shape \(1,\) and <U1"):
        neighbour_accuracy([[0]], [1], ["1", "2"])


def test_cost_is_of_codes() -> None:
    codes = SparseVectors.from_dense(np.eye(2))
    for call in (latent_loads, bytes_per_vector, partial(posting_cost, codes)):
        with pytest.raises(ShapeError, match="expected codes, SparseVectors, got ndarray"):
            call(np.eye(2))  # type: ignore[arg-type]  # what is refused
