"""What decides how a row is written: whether its id is there or comes meanwhile; two writers."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from csrkit.errors import ShapeError, StoreError
from csrkit.stores import MemoryStore
from csrkit.stores.testing import assert_same_hits, random_codes
from csrkit_pgvector import PgVectorStore

Connection = psycopg.Connection[Any]


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[-50:]


def test_numbers_before_between_and_among_those_that_are_there(
    connection: Connection, table: str
) -> None:
    store, exact = PgVectorStore(connection, table), MemoryStore()
    calls: list[list[int | str]] = [
        [10, 20, 30],
        [11, 19],  # between two of them
        [1, 99],  # around all of them, and none is there
        [5, 10, 15],  # one is there
        [100, 101],
        [2**64 - 1, 0],
        ["10", "text"],  # no numbers
        ["text", 10, 12],
    ]
    for seed, ids in enumerate(calls):
        for target in (store, exact):
            target.upsert(ids, random_codes(seed, len(ids)), [{"call": seed}] * len(ids))
    assert store.count() == exact.count() == 16
    queries = random_codes(99, 10)
    assert_same_hits(store.search(queries, limit=20), exact.search(queries, limit=20), 20, 1e-5)


def test_an_id_that_comes_while_an_empty_table_is_filled(
    server: str, connection: Connection, table: str
) -> None:
    first = PgVectorStore(connection, table)
    first.upsert([0], random_codes(0, 1))
    first.delete([0])  # the table has its columns, and no rows
    codes, second = random_codes(1, 3), PgVectorStore(server, table)
    writer = threading.Thread(target=second.upsert, args=([4, 5, 6], codes, [{"by": 2}] * 3))
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    with psycopg.connect(server, autocommit=True) as watcher:
        with connection.transaction():
            first.upsert([5], random_codes(2, 1), [{"by": 1}])
            writer.start()  # sees no row, and waits for that of id 5
            until = time.monotonic() + 60
            while watcher.execute(waiting).fetchone() == (0,):
                assert time.monotonic() < until
        writer.join()
    assert first.fetch([4, 5, 6]) == codes
    payloads = {hit.id: hit.payload for hit in first.search(random_codes(3, 1, k=64))[0]}
    assert payloads == {4: {"by": 2}, 5: {"by": 2}, 6: {"by": 2}}
    second.close()


def test_two_writers_of_the_same_ids_in_opposite_order(server: str, table: str) -> None:
    """New ids, then ids that are there: neither fails, and each row is one of the two."""
    codes, errors = [random_codes(1, 400), random_codes(2, 400)], list[Exception]()

    def write(which: int) -> None:
        ids = list(range(400))[:: 1 - 2 * which]
        try:
            store = PgVectorStore(server, table)
            for _ in range(4):
                store.upsert(ids, codes[which], [{"by": which}] * 400)
            store.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = PgVectorStore(server, table)
    assert store.count() == 400
    rows = store.fetch(range(400))
    for one in range(400):
        assert rows[one] in (codes[0][one], codes[1][399 - one])
    store.close()


def test_the_first_of_two_writers_fixes_the_width(server: str, table: str) -> None:
    one, other = PgVectorStore(server, table), PgVectorStore(server, table)
    one.bind("codec one")
    one.upsert([1], random_codes(0, 1, dim=64))
    with pytest.raises(ShapeError, match=r"over 64 latents.*got 65"):
        other.upsert([2], random_codes(0, 1, dim=65))
    other.bind("codec two") if other.codec is None else None
    with pytest.raises(StoreError, match="of the codec codec one, got the codec codec two"):
        other.upsert([2], random_codes(0, 1, dim=64))
    assert one.count() == 1
    one.close()
    other.close()
