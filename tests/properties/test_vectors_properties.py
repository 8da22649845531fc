"""Laws of `SparseVectors`, each against the dense array or plain Python."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from csrkit.vectors import SparseVectors

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)  # denormals included
FEW = st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5, 1.0, -1.0])  # many ties and zeros


def dense_arrays(elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(0, 6), st.integers(1, 9))
    return hnp.arrays(np.float32, shapes, elements=elements, fill=st.just(0.0))


ANY = dense_arrays(FEW) | dense_arrays(FLOATS)
MILD = dense_arrays(FEW | st.floats(-100, 100, width=16))


@given(ANY)
def test_dense_round_trip(dense: np.ndarray) -> None:
    codes = SparseVectors.from_dense(dense)
    np.testing.assert_array_equal(codes.to_dense(), dense)
    assert codes.nnz == np.count_nonzero(dense)
    assert codes.counts.tolist() == np.count_nonzero(dense, axis=1).tolist()
    assert codes.is_nonnegative == bool((dense >= 0).all())


@given(ANY)
def test_the_constructor_accepts_what_every_method_makes(dense: np.ndarray) -> None:
    codes = SparseVectors.from_dense(dense)
    made = [codes[1:], codes[::-2], codes.top(2), codes.normalized(), *codes]
    made.append(SparseVectors.concat([codes, codes]))
    for one in made:
        assert SparseVectors(one.indptr, one.indices, one.values, one.dim) == one


@given(ANY)
def test_every_spelling_of_the_same_codes_is_equal(dense: np.ndarray) -> None:
    codes = SparseVectors.from_dense(dense)
    np.testing.assert_array_equal(codes.to_scipy().toarray(), dense)
    assert SparseVectors.from_scipy(codes.to_scipy()) == codes
    assert SparseVectors.from_scipy(scipy.sparse.csc_matrix(dense)) == codes
    assert pickle.loads(pickle.dumps(codes)) == codes
    with tempfile.TemporaryDirectory() as folder:
        codes.save(Path(folder) / "codes")
        assert SparseVectors.load(Path(folder) / "codes") == codes


@given(ANY, st.data())
def test_rows_are_those_of_the_dense_array(dense: np.ndarray, data: st.DataObject) -> None:
    codes, n = SparseVectors.from_dense(dense), len(dense)
    part = data.draw(st.slices(n))
    np.testing.assert_array_equal(codes[part].to_dense(), dense[part])
    mask = data.draw(hnp.arrays(bool, n))
    np.testing.assert_array_equal(codes[mask].to_dense(), dense[mask])
    rows = data.draw(st.lists(st.integers(-n, n - 1), max_size=8)) if n else []
    np.testing.assert_array_equal(codes[rows].to_dense(), dense[np.array(rows, dtype=int)])
    for row, one in enumerate(codes):
        assert one == codes[row] == codes[row - n]
        np.testing.assert_array_equal(one.to_dense(), dense[row : row + 1])


@given(ANY, st.data())
def test_concat_undoes_slicing(dense: np.ndarray, data: st.DataObject) -> None:
    codes = SparseVectors.from_dense(dense)
    cut = data.draw(st.integers(0, len(codes)))
    assert SparseVectors.concat([codes[:cut], codes[cut:]]) == codes


def naive_top(dense: np.ndarray, k: int) -> np.ndarray:
    """Sort the entries of each row by falling value, then rising index, in plain Python."""
    kept = np.zeros_like(dense)
    for row, values in enumerate(dense.tolist()):
        entries = sorted((-value, index) for index, value in enumerate(values) if value)
        for _, index in entries[:k]:
            kept[row, index] = dense[row, index]
    return kept


@given(ANY, st.integers(1, 10))
def test_top_keeps_the_largest_and_ties_go_to_the_lower_index(dense: np.ndarray, k: int) -> None:
    np.testing.assert_array_equal(
        SparseVectors.from_dense(dense).top(k).to_dense(), naive_top(dense, k)
    )


@given(ANY, st.integers(1, 10), st.integers(1, 10))
def test_top_is_nested(dense: np.ndarray, j: int, k: int) -> None:
    codes = SparseVectors.from_dense(dense)
    assert codes.top(max(j, k)).top(min(j, k)) == codes.top(min(j, k))


@given(ANY)
def test_normalized_rows_are_the_dense_rows_over_their_norm(dense: np.ndarray) -> None:
    codes = SparseVectors.from_dense(dense)
    wide = dense.astype(np.float64)
    norms = np.sqrt(np.square(wide).sum(axis=1))  # squares of float32 fit float64
    np.testing.assert_allclose(codes.norms(), norms, rtol=1e-12)
    expected = np.divide(wide, norms[:, None], out=np.zeros_like(wide), where=wide != 0)
    found = codes.normalized()
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-6, atol=1e-45)
    np.testing.assert_allclose(found.norms(), norms > 0, atol=1e-6)


@given(MILD, st.data())
def test_dot_is_the_dense_product(dense: np.ndarray, data: st.DataObject) -> None:
    shape = (data.draw(st.integers(0, 5)), dense.shape[1])
    other = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(-100, 100, width=16)))
    found = SparseVectors.from_dense(dense).dot(SparseVectors.from_dense(other))
    assert found.dtype == np.float32
    expected = dense.astype(np.float64) @ other.T.astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-2)
