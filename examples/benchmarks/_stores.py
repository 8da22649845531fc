"""The stores that `stores.py` compares: what is known of each, and how one is opened empty.

A store is added here with a function that yields it and says what it occupies.
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from csrkit.stores import EdgeStore, MemoryStore, Store

ENGINES = ExitStack()  # servers that were started
ADAPTERS = Path(__file__).parents[2] / "adapters"


class Opened(NamedTuple):
    """An empty store.

    Attributes:
        store: The store.
        settle: Builds what its users search, after the load.
        occupied: Returns the bytes that all of it takes.
        spent: Returns the seconds of processor used so far, by a server too.
    """

    store: Store
    settle: Callable[[], object]
    occupied: Callable[[], int]
    spent: Callable[[], float] = time.process_time


class Kind(NamedTuple):
    """What a row of the table says.

    Attributes:
        store: Its name.
        tested: What it is tested on.
        in_place: Whether codes can be added to a collection that is there.
        filters: What a filter is.
        search: Whether it finds all, and by what.
        limits: What it does not take.
        relaxed: What its contract leaves out, and why.
        opened: Opens one in a folder; None where nothing can be measured here.
        place: Whether it occupies disk or memory.
    """

    store: str
    tested: str
    in_place: str
    filters: str
    search: str
    limits: str
    relaxed: str
    opened: Callable[[Path], AbstractContextManager[Opened]] | None
    place: str = "disk"


@contextmanager
def memory(folder: Path) -> Iterator[Opened]:
    """Open a `MemoryStore`, whose bytes are known while allocations are traced."""
    yield Opened(MemoryStore(), lambda: None, lambda: tracemalloc.get_traced_memory()[0])


def on_disk(folder: Path) -> int:
    """Return the bytes of the blocks that files take; some of them have holes."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@contextmanager
def edge(folder: Path) -> Iterator[Opened]:
    """Open an `EdgeStore`."""

    def occupied() -> int:
        store.flush()
        return on_disk(folder)

    with EdgeStore(folder / "index") as store:
        yield Opened(store, store.optimize, occupied)


@cache
def postgres() -> str:
    """Start a server for as long as `ENGINES` is open."""
    import psycopg

    sys.path.append(str(ADAPTERS / "pgvector" / "tests"))
    from postgres import running

    conninfo = ENGINES.enter_context(running())
    with psycopg.connect(conninfo) as connection:
        connection.execute("create extension vector")
    return conninfo


@contextmanager
def pgvector(folder: Path, *, index: bool) -> Iterator[Opened]:
    """Open a `PgVectorStore`."""
    import psycopg

    from csrkit_pgvector import PgVectorStore

    with psycopg.connect(postgres(), autocommit=True) as connection:
        connection.execute("drop table if exists docs")
        connection.execute("set max_parallel_workers_per_gather = 0")  # processor time is of one
        connection.execute("set maintenance_work_mem = '512MB'")  # or a large graph is built slowly
        store = PgVectorStore(connection, "docs")

        def settle() -> None:
            connection.execute("vacuum analyze docs")
            if index:
                store.build_index()

        def occupied() -> int:
            (found,) = connection.execute("select pg_total_relation_size('docs')").fetchone() or [0]
            return int(found)

        yield Opened(store, settle, occupied, partial(spent, connection.info.backend_pid))


@contextmanager
def in_zvec(folder: Path, *, graph: bool) -> Iterator[Opened]:
    """Open a `ZvecStore`."""
    import zvec

    from csrkit_zvec import ZvecStore

    index = (zvec.HnswIndexParam if graph else zvec.FlatIndexParam)(metric_type=zvec.MetricType.IP)
    store = ZvecStore(folder / "index", index=index)
    try:
        yield Opened(store, store.optimize, lambda: on_disk(folder))
    finally:
        store.close()


@contextmanager
def milvus(folder: Path) -> Iterator[Opened]:
    """Open a `MilvusStore` over Milvus Lite."""
    from csrkit_milvus import MilvusStore

    store = MilvusStore(str(folder / "index.db"), "docs")
    try:
        yield Opened(store, lambda: None, lambda: on_disk(folder))
    finally:
        store.close()


@contextmanager
def seismic(folder: Path) -> Iterator[Opened]:
    """Open a `SeismicStore`, whose folder holds what it has in memory."""
    from csrkit_seismic import SeismicStore

    def occupied() -> int:
        store.save()
        return on_disk(folder)

    store = SeismicStore(folder / "index")
    yield Opened(store, store.build, occupied)


def spent(server: int) -> float:
    """Return the seconds of processor that this process and one of a server have used (Linux)."""
    words = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


_SQL: dict[str, Any] = {
    "tested": "PostgreSQL 18.4, pgvector 0.8.5",
    "in_place": "yes (`PgHome`)",
    "filters": "`psycopg.sql`",
}
_ZVEC: dict[str, Any] = {
    "tested": "zvec 0.8.0",
    "in_place": "no",
    "filters": "zvec's strings, over declared keys",
}
KINDS = (
    Kind(
        store="`MemoryStore`",
        tested="csrkit's own",
        in_place="-",
        filters="a callable of the payload",
        search="exact",
        limits="memory, one process",
        relaxed="nothing: it is the reference",
        opened=memory,
        place="memory",
    ),
    Kind(
        store="`EdgeStore`",
        tested=f"qdrant-edge-py {version('qdrant-edge-py')}",
        in_place="yes",
        filters="`qdrant_edge.Filter`",
        search="exact",
        limits="one process; float16 and uint8 postings round scores",
        relaxed="nothing",
        opened=edge,
    ),
    Kind(
        store="`QdrantStore`",
        tested=f"qdrant-client {version('qdrant-client')}, Edge's engine behind HTTP; no server",
        in_place="yes, servers from 1.18",
        filters="`models.Filter`",
        search="exact",
        limits="as Edge; no gRPC was run",
        relaxed="nothing",
        opened=None,
    ),
    Kind(
        store="`PgVectorStore`",
        search="exact",
        limits="10⁹ latents, 16,000 non-zeros, no NUL in text",
        relaxed="codes over 2³¹-1 latents: `sparsevec` ends at 10⁹",
        opened=partial(pgvector, index=False),
        **_SQL,
    ),
    Kind(
        store="`PgVectorStore`, indexed",
        search="approximate, HNSW",
        limits="1,000 non-zeros",
        relaxed="as above; searches are checked where the graph misses nothing",
        opened=partial(pgvector, index=True),
        **_SQL,
    ),
    Kind(
        store="`ZvecStore`",
        search="exact",
        limits="one process; 16,384 non-zeros, 100,000 hits",
        relaxed="nothing",
        opened=partial(in_zvec, graph=False),
        **_ZVEC,
    ),
    Kind(
        store="`ZvecStore`, `HnswIndexParam`",
        search="approximate, HNSW",
        limits="as above; recall is fixed when the graph is built",
        relaxed="searches are checked where the graph misses nothing",
        opened=partial(in_zvec, graph=True),
        **_ZVEC,
    ),
    Kind(
        store="`MilvusStore`",
        tested="Milvus Lite 3.2.2, in Python",
        in_place="no",
        filters="Milvus's expressions",
        search="exact",
        limits="residuals of 49,151 bytes",
        relaxed="negative weights of a query: Milvus refuses them",
        opened=milvus,
    ),
    Kind(
        store="`SeismicStore`",
        tested="pyseismic-lsr 0.5.4",
        in_place="no",
        filters="a callable of the payload",
        search="approximate, Seismic",
        limits="memory, one process",
        relaxed="searches are checked with settings that skip nothing",
        opened=seismic,
        place="memory and folder",
    ),
    Kind(
        store="`OpenSearchStore`",
        tested="opensearch-py 3.2.0 to a stand-in that scores as Lucene does; no server",
        in_place="no",
        filters="queries of OpenSearch, over declared keys of payloads",
        search="exact, of values in 9 bits",
        limits="1,024 latents per query, 10,000 hits",
        relaxed="negative weights of a query: OpenSearch refuses them",
        opened=None,
    ),
)
