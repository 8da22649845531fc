"""Candidates along an index, in tables of others, and what `Searcher` makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from tests.collection.models import random_model

from csrkit import Searcher
from csrkit.errors import StoreError
from csrkit.stores import MemoryStore
from csrkit.stores.base import ResidualStore
from csrkit.stores.testing import random_residuals
from csrkit.vectors import SparseVectors
from csrkit_pgvector import Names, PgVectorStore

Connection = psycopg.Connection[Any]
LOADS = [{"row": row} if row % 2 else None for row in range(300)]


def drawn(seed: int, n: int) -> SparseVectors:
    """Codes of all latents, whose scores differ."""
    return SparseVectors.from_dense(np.random.default_rng(seed).random((n, 8), np.float32))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[-50:]


@pytest.mark.parametrize("limit", [10, 401])
@pytest.mark.parametrize("is_indexed", [False, True])
def test_candidates_are_the_hits_of_a_search_with_a_filter(
    connection: Connection, table: str, is_indexed: bool, limit: int
) -> None:
    store, codes, rests = PgVectorStore(connection, table), drawn(0, 300), random_residuals(0, 300)
    store.upsert(range(300), codes, LOADS, residuals=rests)
    if is_indexed:
        store.build_index()
        connection.execute("set enable_seqscan = off")
    keep = sql.SQL("payload is not null")
    queries = drawn(1, 4)
    hits = store.search(queries, limit=limit, filter=keep)
    found = store.candidates(queries, limit=limit, filter=keep)
    assert [one.keys for one in found] == [[hit.id for hit in row] for row in hits]
    scored = [[(hit.id, hit.score) for hit in row] for row in hits]
    assert store.resolve(scored) == hits
    for one in found:
        assert one.codes == codes[one.keys]
        np.testing.assert_array_equal(one.residuals, rests[one.keys])


def test_candidates_of_a_table_of_somebody_else(connection: Connection, table: str) -> None:
    name = sql.Identifier(table)
    connection.execute(sql.SQL("create table {} (nr uuid primary key, title text)").format(name))
    ids = [f"00000000-0000-0000-0000-00000000000{row}" for row in range(3)]
    store, codes = PgVectorStore(connection, Names(table, id="nr")), drawn(0, 3)
    store.upsert(ids, codes, residuals=random_residuals(0, 3))
    (found,) = store.candidates(codes[0], limit=5)
    store.delete([ids[0]])  # its row stays
    named = store.resolve([[(key, 0.5) for key in found.keys]])[0]
    assert sorted(hit.id for hit in named) == ids[1:]
    assert {hit.payload for hit in named} == {None}
    connection.execute(
        sql.SQL("update {} set csr_residual = null where nr = %s").format(name), [ids[1]]
    )
    calls: list[Any] = [
        lambda: store.candidates(codes[0], limit=5),
        lambda: store.fetch_both(ids[1:]),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=rf"no residual is stored for \['{ids[1]}'\]"):
            call()


@pytest.mark.parametrize("has_residuals", [False, True])
def test_a_rescored_search_finds_what_it_finds_in_memory(
    connection: Connection, table: str, has_residuals: bool
) -> None:
    model, rng = random_model(), np.random.default_rng(0)
    docs, queries = rng.normal(size=(300, model.dim)), rng.normal(size=(5, model.dim))
    stores: list[ResidualStore] = [PgVectorStore(connection, table), MemoryStore()]
    mine, exact = (Searcher(model, store, residuals=has_residuals) for store in stores)
    for one in (mine, exact):
        one.upsert(range(300), docs, LOADS)
    found, want = (one.search(queries, limit=7, k=4, candidates=60) for one in (mine, exact))
    for got, expected in zip(found, want, strict=True):
        assert [(hit.id, hit.payload) for hit in got] == [(hit.id, hit.payload) for hit in expected]
        np.testing.assert_allclose(
            [hit.score for hit in got], [hit.score for hit in expected], atol=1e-6
        )
