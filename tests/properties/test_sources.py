"""Laws of `Source`, on disk and in memory alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from csrkit.sources import Source, open_source
from csrkit.sources.source import CHUNKS_PER_BLOCK

sizes = st.lists(st.integers(1, 90), min_size=1, max_size=4)


def numbered(sizes: list[int], on_disk: bool) -> tuple[Source, np.ndarray]:
    """Rows that hold their own number, in shards of the given sizes."""
    data = np.stack([np.arange(sum(sizes)), np.ones(sum(sizes))], axis=1).astype(np.float32)
    shards = np.split(data, np.cumsum(sizes)[:-1])
    if not on_disk:
        return open_source(shards, memory=0), data
    with tempfile.TemporaryDirectory() as folder:  # the maps outlive the names
        paths = [Path(folder) / f"{number}.npy" for number in range(len(shards))]
        for path, shard in zip(paths, shards, strict=True):
            np.save(path, shard)
        return open_source(paths, memory=0), data


@settings(deadline=None)  # a busy machine is no failure
@given(sizes, st.booleans(), st.integers(1, 400), st.integers(0, 2**32))
def test_a_pass_reads_every_row_once(
    sizes: list[int], on_disk: bool, block_rows: int, seed: int
) -> None:
    source, data = numbered(sizes, on_disk)
    blocks = list(source.blocks(block_rows, seed))
    assert [len(b.rows) for b in blocks[:-1]] == [block_rows] * (len(blocks) - 1)
    assert 1 <= len(blocks[-1].rows) <= block_rows
    rows = np.concatenate([b.rows for b in blocks])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(data)))
    np.testing.assert_array_equal(np.concatenate([b.vectors for b in blocks]), data[rows])


@settings(deadline=None)  # a busy machine is no failure
@given(sizes, st.booleans(), st.integers(0, 99))
def test_the_seed_fixes_the_order(sizes: list[int], on_disk: bool, seed: int) -> None:
    source, _ = numbered(sizes, on_disk)
    one, two = (np.concatenate([b.rows for b in source.blocks(8, seed)]) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@settings(deadline=None)  # a busy machine is no failure
@given(sizes, st.booleans(), st.data())
def test_rows_and_take_are_slicing(sizes: list[int], on_disk: bool, draw: st.DataObject) -> None:
    source, data = numbered(sizes, on_disk)
    start = draw.draw(st.integers(0, source.n))
    stop = draw.draw(st.integers(start, source.n))
    np.testing.assert_array_equal(source.rows(start, stop), data[start:stop])
    wanted = draw.draw(st.lists(st.integers(0, source.n - 1), max_size=30))
    np.testing.assert_array_equal(source.take(wanted), data[wanted])


def test_blocks_from_disk_mix_the_whole_file() -> None:
    """A block draws from all over the file, in chunks, and is shuffled within."""
    source, data = numbered([20_000], on_disk=True)
    first = next(source.blocks(2_048, seed=3))
    spans = np.count_nonzero(np.diff(np.sort(first.rows)) > 1) + 1
    assert CHUNKS_PER_BLOCK // 2 <= spans <= CHUNKS_PER_BLOCK + 2  # contiguous reads, many
    assert np.ptp(first.rows) > 0.8 * len(data)
    order = np.corrcoef(np.arange(2_048), first.rows)[0, 1]
    assert abs(order) < 0.1
    other = next(source.blocks(2_048, seed=4))
    assert len(np.intersect1d(first.rows, other.rows)) < 1_024
