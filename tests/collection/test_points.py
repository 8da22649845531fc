"""Records as a `Page`: against numpy, and how often the engine is asked to spell a vector."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from csrkit.collection.facts import CodeVector
from csrkit.collection.homes._points import dense_rows, page_of


class Asked:
    """A record that counts how often its vector is asked for, as each time makes new lists."""

    def __init__(self, one: int, vector: Any) -> None:
        self.id, self._vector, self.times = one, vector, 0

    @property
    def vector(self) -> Any:
        self.times += 1
        return self._vector


def code(*pairs: tuple[int, float]) -> Any:
    return SimpleNamespace(indices=[i for i, _ in pairs], values=[v for _, v in pairs])


def test_rows_are_those_of_numpy() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 7)).tolist()

    assert np.array_equal(dense_rows(iter(rows), 7), np.array(rows, np.float32))
    assert dense_rows(iter([]), 7).shape == (0, 7)


@pytest.mark.parametrize("odd", [None, [1.0], [None, 1.0, 2.0], [math.nan, 1.0, 2.0], []])
def test_a_row_that_is_none_is_nan_and_leaves_the_others_alone(odd: Any) -> None:
    found = dense_rows([[1.0, 2.0, 3.0], odd, [4.0, 5.0, 6.0]], 3)

    assert found[[0, 2]].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert np.isnan(found[1]).any()


def test_a_number_beyond_float32_is_infinite_and_leaves_the_others_alone() -> None:
    found = dense_rows([[1.0, 2.0], [1e300, -1.0]], 2)

    assert found.tolist() == [[1.0, 2.0], [math.inf, -1.0]]


def test_a_page_asks_for_each_vector_once_and_keeps_the_order_asked_for() -> None:
    wanted = CodeVector("csr", 10, 2)
    full = {"d": [1.0, 2.0], "csr": code((7, 0.5), (3, 1.5)), "csr_residual": [8.0, 9.0]}
    records = [
        Asked(5, {"d": [3.0, 4.0]}),
        Asked(2, full),
        Asked(9, {**full, "csr_residual": None}),
    ]

    page = page_of([2, 1, 9, 5], records, ("d", 2), wanted, False)

    assert [record.times for record in records] == [1, 1, 1]
    assert page.ids == [2, 9, 5]
    assert page.vectors is not None
    assert page.vectors.tolist() == [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]
    assert page.codes is not None
    assert page.codes.to_dense().tolist()[2] == [0.0] * 10
    assert page.codes[0].indices.tolist() == [3, 7]
    assert page.codes[0].values.tolist() == [1.5, 0.5]
    assert page.is_coded is not None
    assert page.is_coded.tolist() == [True, False, False]
    assert page.residuals is not None
    assert page.residuals.tolist() == [[8, 9], [0, 0], [0, 0]]


def test_what_is_no_code_of_the_width_is_there_and_wrong() -> None:
    codes = [code((1, 0.5)), code((10, 1.0)), code((2, math.nan)), code((-1, 1.0)), code()]
    records = [Asked(i, {"csr": one}) for i, one in enumerate(codes)]

    page = page_of(range(5), records, None, CodeVector("csr", 10), False)

    assert page.is_coded is not None
    assert page.is_coded.all()
    assert page.codes is not None
    assert [one.indices.tolist() for one in page.codes] == [[1], [0], [0], [0], []]
    assert [one.values.tolist() for one in page.codes] == [[0.5], [-1], [-1], [-1], []]


def test_a_page_of_dense_vectors_asks_once_too() -> None:
    records = [Asked(1, {"": [1.0]}), Asked(2, [2.0]), Asked(3, None)]

    page = page_of([1, 2, 3], records, ("", 1), None, False)

    assert [record.times for record in records] == [1, 1, 1]
    assert page.vectors is not None
    assert page.vectors[:2].tolist() == [[1.0], [2.0]]
    assert np.isnan(page.vectors[2]).all()
