"""Batches: every row once per pass, aligned with its pair and label, none held out."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csrkit.sources import open_source
from csrkit.training import data as module
from csrkit.training.data import TrainingData, unit_tensor


def numbered(n: int) -> np.ndarray:
    """Rows that tell their number by their direction."""
    angle = np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32) * 3


def numbers(x: torch.Tensor, n: int) -> list[int]:
    return (torch.atan2(x[:, 1], x[:, 0]) * n).round().int().tolist()


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(10, 60),
    size=st.integers(1, 10),
    held=st.sets(st.integers(0, 9), max_size=5),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_pass_has_every_row_once_and_none_held_out(
    block_bytes: int, n: int, size: int, held: set[int], seed: int
) -> None:
    size = min(size, n - len(held))
    training = TrainingData(
        open_source(numbered(n), memory=0),
        positives=open_source(-numbered(n)),
        labels=np.arange(n) * 7,
        held_out=np.array(sorted(held), dtype=np.int64),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block_bytes)
        per_pass = (n - len(held)) // size
        stream = training.batches(size, 0, torch.Generator().manual_seed(seed), "cpu")
        for _ in range(2):
            seen: list[int] = []
            for one in islice(stream, per_pass):
                rows = numbers(one.x, n)
                assert len(rows) == size
                torch.testing.assert_close(one.x.norm(dim=1), torch.ones(size))
                assert one.positives is not None
                assert one.labels is not None
                assert numbers(-one.positives, n) == rows
                assert one.labels.tolist() == [7 * row for row in rows]
                assert one.queries is None
                seen += rows
            assert len(set(seen)) == len(seen) == per_pass * size
            assert not held & set(seen)


def test_passes_differ_and_repeat_with_the_seed() -> None:
    training = TrainingData(open_source(numbered(50)))

    def order(seed: int) -> list[list[int]]:
        stream = training.batches(10, 0, torch.Generator().manual_seed(seed), "cpu")
        return [numbers(one.x, 50) for one in islice(stream, 10)]

    assert order(0) == order(0) != order(1)
    assert order(0)[:5] != order(0)[5:]


def test_queries_are_drawn_by_the_number_asked_for() -> None:
    queries = numbered(30) / 3
    training = TrainingData(open_source(numbered(50)), queries=queries)
    stream = training.batches(10, 200, torch.Generator().manual_seed(0), "cpu")
    first, second = (one.queries for one in islice(stream, 2))
    assert first is not None
    assert second is not None
    assert first.shape == (200, 2)
    assert set(numbers(first, 30)) <= set(range(30))
    assert numbers(first, 30) != numbers(second, 30)


def test_a_sample_has_distinct_training_rows() -> None:
    held = np.arange(0, 50, 3)
    training = TrainingData(open_source(numbered(50)), held_out=held)
    for rows in (10, 100):
        sample = torch.from_numpy(training.sample(rows, seed=0))
        found = numbers(sample, 50)
        assert len(set(found)) == len(found) == min(rows, 50 - len(held))
        assert not set(found) & set(held.tolist())
        assert np.array_equal(training.sample(rows, seed=0), sample)
        assert not np.array_equal(found, np.sort(found))  # its start stands for all


def test_unit_rows_reach_the_ends_of_float32() -> None:
    rows = np.array([[3e38, 0, 3e38], [0, 1e-38, 0]], dtype=np.float32)
    expected = torch.tensor([[0.5**0.5, 0, 0.5**0.5], [0, 1, 0]])
    torch.testing.assert_close(unit_tensor(rows), expected)
