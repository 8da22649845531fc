"""What the contract does not ask: transactions, tables of others, faults."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import MemoryStore
from csrkit.stores.testing import assert_same_hits, random_codes
from csrkit.vectors import SparseVectors
from csrkit_pgvector import Names, PgVectorStore

Connection = psycopg.Connection[Any]


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[-50:]


def run(connection: Connection, text: str, table: str, *values: Any) -> list[Any]:
    statement = sql.SQL(text).format(sql.Identifier(table))  # type: ignore[arg-type]  # mypy has no LiteralString
    cursor = connection.execute(statement, values or None)
    return cursor.fetchall() if cursor.description else []


def long_code(nnz: int) -> SparseVectors:
    return SparseVectors(np.array([0, nnz]), np.arange(nnz), np.ones(nnz), 20_000)  # type: ignore[arg-type]  # the constructor converts


# -- all or nothing ---------------------------------------------------------------------------


def test_a_refused_upsert_stores_nothing(connection: Connection, table: str) -> None:
    store = PgVectorStore(connection, table)
    codes = random_codes(0, 12_000)  # more than one COPY
    payloads: list[Any] = [{"x": 1}] * 12_000
    payloads[-1] = {"x": "\0"}  # the server refuses it, in the second COPY
    with pytest.raises(StoreError, match=r"cannot upsert \[0, 1.*nothing was stored: unsupported"):
        store.upsert(range(12_000), codes, payloads)
    assert (store.count(), store.dim) == (0, None)
    store.upsert([1], random_codes(1, 1, dim=65))  # the width was not fixed either


def test_an_upsert_is_part_of_the_transaction_it_is_in(connection: Connection, table: str) -> None:
    store = PgVectorStore(connection, table)
    store.upsert([1, 2], random_codes(0, 2))
    with connection.transaction(force_rollback=True):
        store.upsert([2, 3], random_codes(1, 2), [{"x": 1}, None])
        store.upsert([2, 4], random_codes(2, 2))  # the staged rows of the first are gone
        store.delete([1])
        assert store.count() == 3
    assert store.count() == 2
    assert store.fetch([1, 2]) == random_codes(0, 2)


def test_a_connection_that_does_not_commit_by_itself(server: str, table: str) -> None:
    with psycopg.connect(server) as connection, psycopg.connect(server) as other:
        store = PgVectorStore(connection, table)
        store.upsert([1, 2], random_codes(0, 2), [{"x": 1}, None])
        store.upsert([2], random_codes(1, 1))
        assert len(store.search(random_codes(0, 1))[0]) == 1 + len(
            store.search(random_codes(0, 1), filter=sql.SQL("payload is null"))[0]
        )
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert PgVectorStore(other, table, create=False).count() == 2


def test_the_callers_own_settings_of_the_connection_do_not_matter(server: str, table: str) -> None:
    with psycopg.connect(server, row_factory=dict_row, autocommit=True) as connection:
        store = PgVectorStore(connection, table)
        codes = random_codes(0, 3)
        store.upsert(range(3), codes, residuals=np.ones((3, 2), np.uint8))
        fetched, residuals = store.fetch_both([2, 0])
        assert fetched == codes[[2, 0]]
        assert residuals is not None
        assert residuals.tolist() == [[1, 1], [1, 1]]
        assert store.search(codes[0], limit=1)[0][0].id == 0


# -- the index --------------------------------------------------------------------------------


def clustered(seed: int, n: int) -> SparseVectors:
    """Codes of 16 latents out of the 40 of one of 50 topics."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).choice(1024, (50, 40))
    dense = np.zeros((n, 1024), np.float32)
    for row, topic in enumerate(rng.integers(50, size=n)):
        dense[row, rng.choice(topics[topic], 16)] = rng.random(16)
    return SparseVectors.from_dense(dense).normalized()


def recall(store: PgVectorStore, exact: MemoryStore, queries: SparseVectors) -> float:
    found = zip(store.search(queries), exact.search(queries), strict=True)
    shares = [len({h.id for h in a} & {h.id for h in b}) / len(b) for a, b in found]
    return float(np.mean(shares))


def test_the_index_finds_most_and_more_candidates_find_more(
    connection: Connection, server: str, table: str
) -> None:
    docs, queries, exact = clustered(1, 3000), clustered(2, 50), MemoryStore()
    few = PgVectorStore(connection, table, ef_search=10)
    for store in (few, exact):
        store.upsert(range(3000), docs, [{"third": row % 3} for row in range(3000)])
    few.build_index(m=6, ef_construction=24)
    few.build_index()  # harmless
    with psycopg.connect(server, autocommit=True) as other:
        many = PgVectorStore(other, table, ef_search=400)
        for one in (connection, other):
            one.execute("set enable_seqscan = off")
        assert 0.5 < recall(few, exact, queries) < recall(many, exact, queries)
        assert recall(many, exact, queries) > 0.9
        assert_same_hits(
            PgVectorStore(other, table, exact=True).search(queries),
            exact.search(queries, limit=3001),
            10,
            1e-5,
        )
        plan = other.execute(
            sql.SQL("explain select id from {} order by csr <#> %s::sparsevec limit 5").format(
                sql.Identifier(table)
            ),
            ["{1:1}/1024"],
        ).fetchall()
        assert "Index Scan" in str(plan)


def test_a_filter_along_the_index_leaves_as_many_as_asked_for(
    connection: Connection, table: str
) -> None:
    store = PgVectorStore(connection, table, ef_search=10)
    store.upsert(range(3000), clustered(1, 3000), [{"third": row % 3} for row in range(3000)])
    store.build_index()  # six links a row, as above, leave some rows out of reach
    connection.execute("set enable_seqscan = off")
    keep = sql.SQL("payload->>'third' = '1'")
    full = [len(hits) for hits in store.search(clustered(2, 50), limit=10, filter=keep)]
    assert full == [10] * 50  # without iterative_scan the filter leaves a third of 10


def test_negative_weights_are_exact_beside_an_index(connection: Connection, table: str) -> None:
    store, exact = PgVectorStore(connection, table), MemoryStore()
    for one in (store, exact):
        one.upsert(range(200), random_codes(0, 200, k=3))
    store.build_index()
    connection.execute("set enable_seqscan = off")
    queries = random_codes(1, 10, signed=True)
    assert min(h.score for hits in exact.search(queries, limit=200) for h in hits) < 0
    assert_same_hits(store.search(queries, limit=200), exact.search(queries, limit=200), 200, 1e-5)


def test_an_index_refuses_more_than_a_thousand_latents(connection: Connection, table: str) -> None:
    store = PgVectorStore(connection, table)
    store.upsert([1], long_code(1001))
    with pytest.raises(StoreError, match=r"cannot build its index.*1000 non-zero.*fewer latents"):
        store.build_index()
    store.delete([1])
    store.upsert([1], long_code(1000))
    connection.execute(sql.SQL("vacuum {}").format(sql.Identifier(table)))
    store.build_index()
    with pytest.raises(StoreError, match=r"upsert \[2, 3\], nothing.*1000 non-zero.*fewer latents"):
        store.upsert([2, 3], SparseVectors.concat([long_code(3), long_code(1001)]))
    assert store.count() == 1
    assert len(store.search(long_code(2000))[0]) == 1  # a query may have more


def test_more_than_16000_latents_are_refused(connection: Connection, table: str) -> None:
    store = PgVectorStore(connection, table)
    store.upsert([1], long_code(16_000))
    assert store.fetch([1]) == long_code(16_000)
    with pytest.raises(StoreError, match="16000 non-zero"):
        store.upsert([2], long_code(16_001))


def test_no_index_before_there_are_codes(connection: Connection, table: str) -> None:
    with pytest.raises(StoreError, match="nothing was stored yet"):
        PgVectorStore(connection, table).build_index()


# -- tables of others -------------------------------------------------------------------------

_ARTICLES = """
create table {} (
  nr bigint primary key, title text not null, payload jsonb, embedding vector(3), unique (title))
"""
_ROWS = """
insert into {} select n, 'title ' || n, '{{"n": 1}}', '[1,2,3]' from generate_series(1, 9) n
"""


def test_a_table_of_somebody_else_gets_codes_and_keeps_its_rows(
    connection: Connection, table: str
) -> None:
    run(connection, _ARTICLES, table)
    run(connection, _ROWS, table)
    store = PgVectorStore(connection, Names(table, id="nr"), create=False)
    codes = random_codes(0, 9)
    store.upsert(range(1, 10), codes)
    found = {hit.id: hit.payload for hit in store.search(codes, limit=1)[3]}
    assert found == {4: {"n": 1}}
    store.upsert([4], codes[5], [{"n": 2}])
    store.delete([7])
    assert store.count() == 8
    kept = run(connection, "select count(*), count(title), count(csr) from {}", table)
    assert kept == [(9, 9, 8)]
    with pytest.raises(StoreError, match='null value in column "title"'):
        store.upsert([10], codes[0])  # a new row would need a title


def test_a_table_without_payloads(connection: Connection, table: str) -> None:
    run(connection, "create table {} (id text primary key)", table)
    store = PgVectorStore(connection, table)
    codes = random_codes(0, 2)
    store.upsert(["a", "B"], codes)
    store.upsert(["a"], codes[1], [{}])
    assert store.search(codes[1], limit=2)[0][0].payload is None
    with pytest.raises(StoreError, match=r"no column 'payload' for the payloads of \['a'\]"):
        store.upsert(["a"], codes[1], [{"x": 1}])


def test_a_filter_may_name_the_table_and_columns_any_name(connection: Connection) -> None:
    """Few hits are looked up anew, many are sorted with their payloads: both are the same."""
    run(connection, "create table {} (id text primary key, distance int, payload jsonb)", "nearest")
    store = PgVectorStore(connection, "nearest")
    codes = SparseVectors.from_dense(np.random.default_rng(0).random((500, 8)))  # no equal scores
    ids = [f"doc {row}" for row in range(500)]
    store.upsert(ids, codes, [{"row": row} for row in range(500)])
    run(connection, "update {} set distance = (payload->>'row')::int", "nearest")
    keep = sql.SQL("nearest.distance <> {} and distance < {}").format(7, 490)
    few, many = (store.search(codes[3], limit=limit, filter=keep)[0] for limit in (400, 401))
    assert len(few) == 400
    assert few == many[:400]
    assert all(hit.id == f"doc {(hit.payload or {})['row']}" for hit in many)
    assert "doc 7" not in {hit.id for hit in many}


def test_a_key_that_became_text_under_an_open_store(connection: Connection, table: str) -> None:
    run(connection, "create table {} (nr int primary key)", table)
    store, codes = PgVectorStore(connection, Names(table, id="nr")), random_codes(0, 2)
    store.upsert([1], codes[0])
    assert store.fetch([1]) == codes[0]
    run(connection, "alter table {} alter nr type text", table)
    store.upsert(["a"], codes[1])
    assert store.fetch(["a", "1"]) == codes[::-1]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("bigint", [0, 2**63 - 1], ["7", str(UUID(int=7)), 2**63]),
        ("integer", [0, 2**31 - 1], ["7", 2**31]),
        ("smallint", [1, 32767], ["x", 32768]),
        ("uuid", [str(UUID(int=7)), str(UUID(int=8))], [7, "7", str(UUID(int=0xABC)).upper()]),
        ("text", ["", "7", "ü ☃'\"\\"], [7]),
        ("varchar(5)", ["a", "12345"], [7, "123456"]),
        ("jsonb", [7, "7", str(UUID(int=7)), 2**64 - 1], ["\0"]),
    ],
)
def test_ids_of_every_type(
    connection: Connection, table: str, kind: str, good: list[Any], bad: list[Any]
) -> None:
    name = "t " + table[-40:]
    run(connection, f"create table {{}} (id {kind} primary key, payload jsonb)", name)
    store = PgVectorStore(connection, name)
    codes = random_codes(0, len(good))
    for _ in range(2):  # new, then there
        store.upsert(good, codes)
    assert store.fetch(good[::-1]) == codes[::-1]
    hits = store.search(random_codes(1, 1, k=64), limit=9)[0]
    assert {(type(hit.id), hit.id) for hit in hits} == {(type(one), one) for one in good}
    for one in bad:
        for call in (lambda one: store.upsert([one], codes[:1]), lambda one: store.fetch([one])):
            with pytest.raises(StoreError):
                call(one)
    store.delete(good)
    assert store.count() == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("id float primary key", "a column 'id' of type jsonb or .*, got double precision"),
        ("nr int", "a column 'id' of type jsonb or .*, got none: name another"),
        ("id int, payload text", "'payload' of type jsonb, got text"),
        ("id int, csr vector(3)", "'csr' of type sparsevec, got vector"),
        ("id int, csr sparsevec", r"to declare the width of the codes, sparsevec\(n\)"),
    ],
)
def test_a_table_that_cannot_hold_codes_is_refused(
    connection: Connection, columns: str, message: str
) -> None:
    connection.execute(f"create table unfit ({columns})")
    try:
        with pytest.raises(StoreError, match=message):
            PgVectorStore(connection, "unfit")
    finally:
        connection.execute("drop table unfit")


def test_ids_that_are_not_unique_are_refused(connection: Connection, table: str) -> None:
    run(connection, "create table {} (id int, payload jsonb)", table)
    with pytest.raises(StoreError, match="no unique or exclusion constraint"):
        PgVectorStore(connection, table).upsert([1], random_codes(0, 1))


def test_a_schema_is_looked_into(connection: Connection, table: str) -> None:
    connection.execute('create schema "my schema"')
    one = PgVectorStore(connection, Names(table, schema="my schema"))
    other = PgVectorStore(connection, table)
    one.upsert([1], random_codes(0, 1))
    assert (one.count(), other.count()) == (1, 0)


def test_a_comment_of_a_newer_csrkit_is_not_overwritten(connection: Connection, table: str) -> None:
    store = PgVectorStore(connection, table)
    store.upsert([1], random_codes(0, 1))
    run(connection, "comment on column {}.csr is 'codes of the articles'", table)
    assert PgVectorStore(connection, table).codec is None
    run(connection, 'comment on column {}.csr is \'{{"csrkit": "codes", "format": 2}}\'', table)
    with pytest.raises(StoreError, match="none that this csrkit reads"):
        PgVectorStore(connection, table)


# -- what fails -------------------------------------------------------------------------------


def test_a_lost_connection_is_a_store_error(
    server: str, connection: Connection, table: str
) -> None:
    store = PgVectorStore(server, table)
    store.upsert([1], random_codes(0, 1))
    mine = store._table.connection.info.backend_pid
    connection.execute("select pg_terminate_backend(%s)", [mine])
    calls: list[Any] = [
        lambda: store.count(),
        lambda: store.search(random_codes(0, 1)),
        lambda: store.fetch([1]),
        lambda: store.delete([1]),
        lambda: store.upsert([2], random_codes(0, 1)),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="cannot"):
            call()
    store.close()
    assert PgVectorStore(connection, table).count() == 1


def test_settings_out_of_range_are_refused(connection: Connection, table: str) -> None:
    for bad in (0, 1001, None, "40"):
        with pytest.raises(ConfigError, match=f"ef_search from 1 to 1000, got {bad!r}"):
            PgVectorStore(connection, table, ef_search=bad)  # type: ignore[arg-type]  # refused
    with pytest.raises(StoreError, match=r"no table .*check the name, or make it"):
        PgVectorStore(connection, table, create=False)
