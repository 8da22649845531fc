"""What the adapter costs over the vendor's own calls: loading, and searching.

    python adapters/pgvector/benchmark.py         20,000 codes of 32 of 4096 latents

- ``COPY of SparseVectors``: pgvector's own type through psycopg's binary COPY, into a table
  with a bigint key; the objects are made in the time out of the same codes, or beforehand,
  which the store cannot have. ``jsonb key``: into a table like the store's, which takes
  strings as ids as well.
- ``upsert``: `PgVectorStore.upsert` of the same codes and payloads, into a new table, or over
  codes that are there.
- ``execute``: one statement of the vendor's for id, payload and distance of the nearest 10, with
  a SparseVector made beforehand, in the table that the store made; ``search``: the store's.

Contestants take turns, and each round of a search takes the next query. Beside the median on the
clock stands the processor time of client and server together (Linux), which other work of the
machine hardly lengthens. What both find is compared. The server is PostgreSQL 18 out of a
wheel, on a socket, without fsync and without parallel workers.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import psycopg
from pgvector import SparseVector
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb

from csrkit_pgvector import PgVectorStore

HERE = Path(__file__).parent
sys.path += [str(HERE / "tests"), str(HERE.parents[1] / "examples" / "benchmarks")]

from _common import heading, table  # noqa: E402  # of csrkit's benchmarks
from postgres import running  # noqa: E402  # of the adapter's tests

from csrkit import SparseVectors  # noqa: E402


class Shape(NamedTuple):
    """Sizes of one run."""

    codes: int
    latents: int
    k: int
    query_k: int
    loads: int
    searches: int


FULL = Shape(20_000, 4096, 32, 16, 7, 150)
TOY = Shape(300, 128, 8, 4, 1, 5)
OWN, MADE = "COPY of SparseVectors", "COPY of SparseVectors, made beforehand"
Connection = psycopg.Connection[Any]


def random_codes(n: int, latents: int, k: int, seed: int) -> SparseVectors:
    """Draw codes of unit length whose latents are about as uneven as a model's."""
    rng = np.random.default_rng(seed)
    keys = rng.random((n, latents)) ** np.linspace(3, 1, latents)
    indices = np.sort(np.argpartition(-keys, k, axis=1)[:, :k], axis=1)
    values = rng.random((n, k)).astype(np.float32) + 0.1
    indptr = np.arange(n + 1) * k
    codes = SparseVectors(indptr, indices.ravel().astype(np.int32), values.ravel(), latents)
    return codes.normalized()


def objects(codes: SparseVectors) -> list[SparseVector]:
    """Spell codes as the vendor's type."""
    rows = [(one.indices.tolist(), one.values.tolist()) for one in codes]
    return [SparseVector(dict(zip(*row, strict=True)), codes.dim) for row in rows]


def copied(
    connection: Connection, rows: list[SparseVector], payloads: list[Any], key: str = "int8"
) -> None:
    """Load a table as pgvector's documentation does."""
    width, ids = rows[0].dimensions(), range(len(rows))
    keys: Iterable[Any] = ids if key == "int8" else map(Jsonb, ids)
    connection.execute("drop table if exists vendors")
    connection.execute(
        f"create table vendors (id {key} primary key, payload jsonb, csr sparsevec({width}))"
    )
    with connection.cursor() as cursor:
        copy = "copy vendors (id, payload, csr) from stdin with (format binary)"
        with cursor.copy(copy) as into:
            into.set_types([key, "jsonb", "sparsevec"])
            for one, payload, row in zip(keys, payloads, rows, strict=True):
                into.write_row((one, Jsonb(payload), row))


def spent(connection: Connection) -> float:
    """Return the seconds of processor that this process and the server's have used."""
    stat = Path(f"/proc/{connection.info.backend_pid}/stat")
    if not stat.exists():
        return float("nan")
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def timed(
    connection: Connection, contestants: dict[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Let contestants take turns; return the median seconds and the mean processor time of each."""
    clock: dict[str, list[float]] = {name: [] for name in contestants}
    processor = dict.fromkeys(contestants, 0.0)
    for turn in range(rounds + 1):  # the first warms up
        for name, call in contestants.items():
            began, used = time.perf_counter(), spent(connection)
            call()
            if turn:
                processor[name] += spent(connection) - used
                clock[name].append(time.perf_counter() - began)
    return {name: (median(clock[name]), processor[name] / rounds) for name in contestants}


def loading(connection: Connection, shape: Shape) -> list[list[object]]:
    """Time the loads."""
    codes = random_codes(shape.codes, shape.latents, shape.k, 0)
    payloads = [{"title": f"title {row}", "lang": row % 7} for row in range(shape.codes)]
    made = objects(codes)

    def upsert() -> None:
        connection.execute("drop table if exists docs")
        PgVectorStore(connection, "docs").upsert(range(shape.codes), codes, payloads)

    def again() -> None:
        PgVectorStore(connection, "docs").upsert(range(shape.codes), codes, payloads)

    found = timed(
        connection,
        {
            OWN: lambda: copied(connection, objects(codes), payloads),
            MADE: lambda: copied(connection, made, payloads),
            f"{MADE}, jsonb key": lambda: copied(connection, made, payloads, "jsonb"),
            "upsert": upsert,
            "upsert over codes that are there": again,
        },
        shape.loads,
    )

    def share(of: str, name: str, which: int) -> str:
        return f"{found[of][which] / found[name][which]:.0%}" if found[name][which] else "-"

    return [
        [
            name,
            f"{shape.codes / clock:,.0f}",
            *(share(of, name, 0) for of in (OWN, MADE)),
            f"{1e6 * used / shape.codes:.1f}",
            *(share(of, name, 1) for of in (OWN, MADE)),
        ]
        for name, (clock, used) in found.items()
    ]


def searching(connection: Connection, shape: Shape, statement: str) -> list[object]:
    """Time one query at a time, as the table is now."""
    queries = random_codes(shape.searches, shape.latents, shape.query_k, 1)
    made, every, store = objects(queries), list(queries), PgVectorStore(connection, "docs")
    turns = {name: cycle(range(shape.searches)) for name in ("execute", "search")}

    def vendors(row: int) -> list[Any]:
        return connection.execute(statement, (made[row], made[row])).fetchall()

    for row in range(min(20, shape.searches)):
        want = [(one, -far) for one, _, far in vendors(row)]
        got = [(hit.id, hit.score) for hit in store.search(every[row])[0]]
        assert got == [pair for pair in want if pair[1]], "they find different codes"
    calls: dict[str, Callable[[], object]] = {
        "execute": lambda: vendors(next(turns["execute"])),
        "search": lambda: store.search(every[next(turns["search"])]),
    }
    found = timed(connection, calls, shape.searches)
    (clock, one), (other_clock, other) = found["execute"], found["search"]
    times = [f"{1e6 * each:,.0f}" for each in (clock, other_clock, one, other)]
    return [*times, f"{1e6 * (other - one):+,.0f}", f"{other / one - 1:+.1%}" if one else "-"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to see that it runs")
    shape = TOY if parser.parse_args().toy else FULL
    heading("pgvector: the adapter and the vendor's own calls", shape, toy=shape is TOY)
    nearest = "select id, payload, csr <#> %s from docs order by csr <#> %s limit 10"
    with running() as conninfo, psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create extension vector")
        register_vector(connection)
        ((server, extension),) = connection.execute(
            "select current_setting('server_version'), extversion from pg_extension "
            "where extname = 'vector'"
        ).fetchall()
        print(f"PostgreSQL {server}, pgvector {extension}, psycopg {psycopg.__version__}\n")
        connection.execute("set max_parallel_workers_per_gather = 0")
        loads = loading(connection, shape)
        shares = ["of COPY", "of COPY, made"]
        head = ["loading", "codes/s", *shares, "CPU us/code", *shares]
        print(table(head, loads), "\n", flush=True)
        connection.execute("vacuum analyze docs")
        rows = [["exact", *searching(connection, shape, nearest)]]
        PgVectorStore(connection, "docs").build_index()
        connection.execute("set hnsw.ef_search = 100")
        connection.execute("set hnsw.iterative_scan = 'relaxed_order'")
        if shape is TOY:
            connection.execute("set enable_seqscan = off")
        rows.append(["HNSW, ef_search 100", *searching(connection, shape, nearest)])
        head = [
            "execute, us",
            "search, us",
            "execute, CPU us",
            "search, CPU us",
            "more, us",
            "more",
        ]
        print(table(["one query", *head], rows))


if __name__ == "__main__":
    main()
