"""Whatever is stored, in whatever order: the engine finds what the reference finds."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from csrkit.stores import EdgeStore, MemoryStore
from csrkit.stores.testing import assert_same_hits
from csrkit.vectors import SparseVectors

DIM = 24
IDS = st.integers(0, 12) | st.sampled_from(["a", "b", "ü", "2"])
# exact in float32 in any order of summation, so that ties and zeros are the same to both
VALUES = st.integers(1, 64).map(lambda eighths: eighths / 8)


def rows(values: st.SearchStrategy[float]) -> st.SearchStrategy[dict[int, float]]:
    return st.dictionaries(st.integers(0, DIM - 1), values, max_size=8)


def stacked(entries: list[dict[int, float]]) -> SparseVectors:
    dense = np.zeros((len(entries), DIM), np.float32)
    for row, entry in enumerate(entries):
        for latent, value in entry.items():
            dense[row, latent] = value
    return SparseVectors.from_dense(dense)


UPSERTS = st.dictionaries(IDS, st.tuples(rows(VALUES), st.integers(0, 2)), max_size=8)
STEPS = st.lists(
    st.tuples(st.just("upsert"), UPSERTS)
    | st.tuples(st.just("replace the codes"), UPSERTS)
    | st.tuples(st.just("delete"), st.lists(IDS, max_size=4)),
    min_size=1,
    max_size=5,
)


def apply(store: Any, step: tuple[str, Any]) -> None:
    kind, content = step
    if kind == "delete":
        store.delete(content)
        return
    codes = stacked([entry for entry, _ in content.values()])
    payloads = [{"kind": kind} for _, kind in content.values()]
    store.upsert(list(content), codes, payloads if kind == "upsert" else None)


@settings(max_examples=20, deadline=None)
@given(
    steps=STEPS, queries=st.lists(rows(VALUES), min_size=1, max_size=4), limit=st.integers(1, 20)
)
def test_the_engine_finds_what_the_reference_finds(
    steps: list[tuple[str, Any]], queries: list[dict[int, float]], limit: int
) -> None:
    exact = MemoryStore()
    with tempfile.TemporaryDirectory() as folder, EdgeStore(folder) as store:
        for step in steps:
            apply(store, step)
            apply(exact, step)
        truth = exact.search(stacked(queries), limit=100)
        assert_same_hits(store.search(stacked(queries), limit=limit), truth, limit, 0)
        assert store.count() == exact.count()
        if exact.dim is not None:
            ids = [hit.id for hits in truth for hit in hits]
            assert store.fetch(ids) == exact.fetch(ids)
