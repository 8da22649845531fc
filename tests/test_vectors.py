"""`SparseVectors`: what it refuses, in which words; rows and spellings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from csrkit.errors import ShapeError
from csrkit.vectors import SparseVectors

DENSE = np.array(
    [[0, 0.6, 0, 0, 0.8], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0.5, -2, 0.5, 0.5, 0]],
    dtype=np.float32,
)


@pytest.fixture
def codes() -> SparseVectors:
    return SparseVectors(
        [0, 2, 2, 3, 7], [1, 4, 0, 0, 1, 2, 3], [0.6, 0.8, 1, 0.5, -2, 0.5, 0.5], dim=5
    )


def raises(error: type[Exception], message: str) -> Any:
    """Expect exactly this message."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


# -- invariants ---------------------------------------------------------------

INVALID = [
    (([0, 2], [1, 1], [1, 1], 5), "expected indices that rise strictly, got row 0 with [1, 1]"),
    (
        ([0, 1, 1, 3], [4, 3, 2], [1, 1, 1], 5),
        "expected indices that rise strictly, got row 2 with [3, 2]",
    ),
    (([0, 1], [5], [1], 5), "expected indices in [0, 5), got row 0 with [5]"),
    (([0, 0, 2], [-1, 2], [1, 1], 5), "expected indices in [0, 5), got row 1 with [-1, 2]"),
    (([0, 1], [0], [np.nan], 5), "expected finite values, got row 0 with [nan]"),
    (([0, 1, 2], [0, 0], [1, -np.inf], 5), "expected finite values, got row 1 with [-inf]"),
    (([0, 1], [0], [1e39], 5), "expected finite values, got row 0 with [inf]"),
    (([0, 1], [0], [0.0], 5), "expected no stored zeros, got row 0 with [0.0]"),
    (([0, 1], [0], [1e-60], 5), "expected no stored zeros, got row 0 with [0.0]"),
    (([0, 1], [0], [1, 2], 5), "expected one value per index, got 1 indices and 2 values"),
    (([], [], [], 5), "expected indptr to rise from 0 to nnz=0, got []... ending at None"),
    (([0, 1], [], [], 5), "expected indptr to rise from 0 to nnz=0, got [0, 1]... ending at 1"),
    (
        ([1, 2], [0, 1], [1, 1], 5),
        "expected indptr to rise from 0 to nnz=2, got [1, 2]... ending at 2",
    ),
    (
        ([0, 2, 1, 2], [0, 1], [1, 1], 5),
        "expected indptr to rise from 0 to nnz=2, got [0, 2, 1, 2]... ending at 2",
    ),
    # differences of these wrap around in int64 and all look positive
    (
        ([0, 2**63 - 1, -2, 1], [0], [1], 5),
        "expected indptr to rise from 0 to nnz=1, "
        "got [0, 9223372036854775807, -2, 1]... ending at 1",
    ),
    (([0], [], [], 0), "expected dim between 1 and 2147483647, got 0"),
    (([0], [], [], 2**31), "expected dim between 1 and 2147483647, got 2147483648"),
    (([0], [], [], 5.0), "expected dim between 1 and 2147483647, got 5.0"),
    (([0], [], [], True), "expected dim between 1 and 2147483647, got True"),
    (
        ([0.0, 1.0], [0], [1], 5),
        "expected indptr to be whole numbers in one dimension, got float64 of shape (2,)",
    ),
    (
        ([0, 1], [[0]], [1], 5),
        "expected indices to be whole numbers in one dimension, got int64 of shape (1, 1)",
    ),
    (([0, 1], [2**31], [1], 5), "expected indices to fit int32, got up to 2147483648"),
    (
        ([0, 1], [0], ["a"], 5),
        "expected values to be real numbers in one dimension, got <U1 of shape (1,)",
    ),
    (
        ([0, 1], [0], [1j], 5),
        "expected values to be real numbers in one dimension, got complex128 of shape (1,)",
    ),
    (
        ([0, 1], [0], [True], 5),
        "expected values to be real numbers in one dimension, got bool of shape (1,)",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID)
def test_refuses_what_breaks_an_invariant(arguments: tuple[Any, ...], message: str) -> None:
    with raises(ShapeError, message):
        SparseVectors(*arguments)


def test_a_long_row_is_shown_in_part() -> None:
    with raises(ShapeError, f"expected indices in [0, 9), got row 0 with {list(range(8))}"):
        SparseVectors([0, 10], np.arange(10), np.ones(10), dim=9)


def test_types_are_made_exact() -> None:
    codes = SparseVectors(
        np.array([0, 1], dtype=np.uint64), np.array([3], np.int8), [2], dim=np.int64(5)
    )
    assert (codes.indptr.dtype, codes.indices.dtype, codes.values.dtype) == ("i8", "i4", "f4")
    assert type(codes.dim) is int


def test_callers_arrays_are_copied_and_stay_writable() -> None:
    arrays = [np.array([0, 1]), np.array([3], dtype=np.int32), np.array([2], dtype=np.float32)]
    codes = SparseVectors(*arrays, dim=5)
    for array in arrays:
        array[:] = 0
    np.testing.assert_array_equal(codes.to_dense(), [[0, 0, 0, 2, 0]])


def test_nothing_can_be_written(codes: SparseVectors) -> None:
    made = [codes, codes[1:], codes[[0, 3]], codes.top(1), codes.normalized()]
    made += [SparseVectors.concat([codes, codes]), SparseVectors.from_dense(DENSE)]
    for one in made:
        for array in (one.indptr, one.indices, one.values):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    with pytest.raises(AttributeError, match="dim"):
        codes.dim = 6  # type: ignore[misc]


def test_equality_is_by_content(codes: SparseVectors) -> None:
    same = SparseVectors.from_dense(DENSE)
    assert codes == same
    assert codes is not same
    others = [
        SparseVectors.from_dense(np.pad(DENSE, ((0, 0), (0, 1)))),  # wider
        SparseVectors.from_dense(DENSE * 2),
        SparseVectors.from_dense(DENSE[:, ::-1]),
        codes[:3],
        codes[[1, 0, 2, 3]],
        DENSE,
    ]
    assert [codes == other for other in others] == [False] * len(others)
    with pytest.raises(TypeError, match="unhashable"):
        hash(codes)


def test_says_what_it_is(codes: SparseVectors) -> None:
    assert repr(codes) == "SparseVectors(n=4, dim=5, nnz=7)"
    assert codes.counts.tolist() == [2, 0, 1, 4]
    assert not codes.is_nonnegative
    assert codes[:3].is_nonnegative
    assert codes[1].is_nonnegative  # empty


# -- rows -----------------------------------------------------------------------

BAD_KEYS = [
    (4, "row 4 of 4 sparse vectors"),
    (-5, "row -5 of 4 sparse vectors"),
    ([0, 4], "row 4 of 4 sparse vectors"),
    (np.array([0, -5]), "row -5 of 4 sparse vectors"),
    (np.ones(3, dtype=bool), "expected a mask of shape (4,), got (3,)"),
    (np.ones((4, 4), dtype=bool), "expected a mask of shape (4,), got (4, 4)"),
    *(
        (
            key,
            "expected a row number, a slice, or row numbers or a mask in one dimension, "
            f"got {told}",
        )
        for key, told in [
            (1.0, "float64 of shape ()"),
            ("1", "<U1 of shape ()"),
            (True, "bool of shape ()"),
            ([0.0], "float64 of shape (1,)"),
            ([[0]], "int64 of shape (1, 1)"),
        ]
    ),
]


@pytest.mark.parametrize(("key", "message"), BAD_KEYS)
def test_refuses_rows_that_are_not_there(codes: SparseVectors, key: Any, message: str) -> None:
    with raises(IndexError, message):
        codes[key]


@pytest.mark.parametrize(
    "key", [0, -1, np.int8(2), np.uint64(3), [], [3, 3, -4], (0, 2), np.array([1], np.uint8)]
)
def test_rows_by_number_are_those_of_the_dense_array(codes: SparseVectors, key: Any) -> None:
    rows = np.atleast_1d(np.asarray(key, dtype=np.int64))
    np.testing.assert_array_equal(codes[key].to_dense(), DENSE[rows])


def test_an_empty_batch_does_everything() -> None:
    empty = SparseVectors([0], [], [], dim=5)
    assert (len(empty), empty.nnz, list(empty)) == (0, 0, [])
    assert empty == empty.top(3) == empty.normalized() == empty[:] == empty[[]]
    assert empty == SparseVectors.concat([empty, empty]) == SparseVectors.from_dense(DENSE[:0])
    assert empty == SparseVectors.from_scipy(empty.to_scipy())
    assert empty.to_dense().shape == (0, 5)
    assert empty.norms().shape == (0,)
    assert empty.dot(SparseVectors.from_dense(DENSE)).shape == (0, 4)
    with raises(IndexError, "row 0 of 0 sparse vectors"):
        empty[0]


# -- transforming -----------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1, 1.0, True, "2", None])
def test_top_refuses_a_k_that_is_none(codes: SparseVectors, k: Any) -> None:
    with raises(ShapeError, f"expected k as a whole number of at least 1, got top(k={k!r})"):
        codes.top(k)


def test_top_breaks_ties_by_index_and_keeps_negative_values_last(codes: SparseVectors) -> None:
    np.testing.assert_array_equal(codes[3].top(2).to_dense(), [[0.5, 0, 0.5, 0, 0]])
    np.testing.assert_array_equal(codes[3].top(4).to_dense(), DENSE[3:])


def test_top_breaks_many_ties_of_long_rows_by_index() -> None:
    dense = np.random.default_rng(0).integers(0, 4, (20, 300))  # short rows sort stably anyway
    found = SparseVectors.from_dense(dense).top(100)
    for row, values in enumerate(dense.tolist()):
        order = sorted(range(300), key=lambda index: (-values[index], index))
        assert found[row].indices.tolist() == sorted(order[:100])


def test_top_is_the_same_when_rows_are_done_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = np.random.default_rng(0).integers(0, 4, (50, 30)).astype(np.float32)
    codes = SparseVectors.from_dense(dense)
    whole = codes.top(3)
    monkeypatch.setattr("csrkit.vectors.sparse._BLOCK_ENTRIES", 1)
    assert codes.top(3) == whole


def test_normalized_reaches_the_ends_of_float32() -> None:
    largest, smallest = np.finfo(np.float32).max, np.float32(1e-45)
    codes = SparseVectors([0, 4, 6], [0, 1, 2, 3, 0, 1], [largest] * 4 + [smallest] * 2, dim=4)
    expected = np.array([[0.5] * 4, [0.5**0.5, 0.5**0.5, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(codes.normalized().to_dense(), expected)
    np.testing.assert_allclose(codes.norms(), [2 * float(largest), 2**0.5 * float(smallest)])


def test_normalized_drops_what_becomes_zero() -> None:
    codes = SparseVectors([0, 2, 3], [0, 1, 4], [1e30, 1e-30, 1e-30], dim=5)
    assert codes.normalized() == SparseVectors([0, 1, 2], [0, 4], [1, 1], dim=5)


def test_codes_of_two_models_do_not_mix(codes: SparseVectors) -> None:
    other = SparseVectors([0], [], [], dim=6)
    with raises(
        ShapeError,
        "expected codes over the same latents, got dot of dim 5 with dim 6: "
        "they come from two different models",
    ):
        codes.dot(other)
    with raises(ShapeError, "expected one or more parts of one dim, got 2 of dims [5, 6]"):
        SparseVectors.concat([codes, other])
    with raises(ShapeError, "expected one or more parts of one dim, got 0 of dims []"):
        SparseVectors.concat([])


def test_concat_takes_any_iterable(codes: SparseVectors) -> None:
    assert SparseVectors.concat(row for row in codes) == codes


def test_what_is_no_codes_is_refused(codes: SparseVectors) -> None:
    with raises(ShapeError, "expected dot of codes with codes, SparseVectors, got csr_array"):
        codes.dot(codes.to_scipy())  # type: ignore[arg-type]  # what is refused
    with raises(ShapeError, "expected concat of codes, SparseVectors, got ndarray"):
        SparseVectors.concat([codes, codes.to_dense()])  # type: ignore[list-item]


def test_masked_values_are_not_taken_for_values() -> None:
    masked = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    with raises(
        ShapeError,
        "expected values without masked entries, got 1 of 2 masked: leave their rows out, "
        "or fill them",
    ):
        SparseVectors([0, 2], [0, 1], masked, dim=2)
    with raises(ShapeError, "expected indptr with rows of one width, got row 0 with 1 numbers "
                "and row 1 with 2"):  # fmt: skip
        SparseVectors([[0], [1, 2]], [0], [1.0], dim=2)  # type: ignore[list-item]


# -- other spellings ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("dense", "told"),
    [
        (np.ones(3), "float64 of shape (3,)"),
        (np.ones((2, 2), dtype=complex), "complex128 of shape (2, 2)"),
        (np.ones((2, 2), dtype=bool), "bool of shape (2, 2)"),
        ([["a"]], "<U1 of shape (1, 1)"),
    ],
)
def test_from_dense_refuses_what_is_not_numbers_in_rows(dense: Any, told: str) -> None:
    message = f"expected a dense array of real numbers of shape (n, dim), got {told}"
    with raises(ShapeError, message):
        SparseVectors.from_dense(dense)


def test_from_dense_names_the_row_that_is_not_finite() -> None:
    with raises(ShapeError, "expected finite values, got row 1 with [1.0, nan]"):
        SparseVectors.from_dense([[1, 0], [1, np.nan]])


def test_what_is_zero_as_float32_is_zero(codes: SparseVectors) -> None:
    dense = np.array([[1e-300, 1.0], [0.0, -1e-46]])
    expected = SparseVectors([0, 1, 1], [1], [1], dim=2)
    assert SparseVectors.from_dense(dense) == expected
    assert SparseVectors.from_scipy(scipy.sparse.csr_array(dense)) == expected


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "lil", "dok", "bsr"])
@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_from_every_scipy_layout(codes: SparseVectors, layout: str, kind: Any) -> None:
    assert SparseVectors.from_scipy(kind(DENSE).asformat(layout)) == codes


def test_from_scipy_sums_duplicates_drops_zeros_and_leaves_the_matrix_alone() -> None:
    rows, columns, values = [0, 0, 0, 1, 1], [3, 1, 3, 2, 2], [1.0, 5.0, 1.0, 4.0, -4.0]
    matrix = scipy.sparse.csr_array(
        (values, columns, [0, 3, 5]), shape=(2, 4)
    )  # unsorted, with duplicates
    expected = SparseVectors([0, 2, 2], [1, 3], [5, 2], dim=4)
    assert SparseVectors.from_scipy(matrix) == expected
    assert matrix.indices.tolist() == columns
    assert SparseVectors.from_scipy(scipy.sparse.coo_array((values, (rows, columns)))) == expected


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (DENSE, "ndarray of shape (4, 5)"),
        ([1], "list of shape None"),
        (scipy.sparse.coo_array([1.0]), "coo_array of shape (1,)"),
    ],
)
def test_from_scipy_refuses_other_things(thing: Any, told: str) -> None:
    with raises(ShapeError, f"expected a scipy sparse matrix of shape (n, dim), got {told}"):
        SparseVectors.from_scipy(thing)


def test_to_scipy_shares_its_values_and_cannot_be_used_to_change_them(
    codes: SparseVectors,
) -> None:
    matrix = codes.to_scipy()
    assert np.shares_memory(matrix.data, codes.values)
    assert np.shares_memory(matrix.indices, codes.indices)
    with pytest.raises(ValueError, match="read-only"):
        matrix.data[0] = 9
