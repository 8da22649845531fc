"""The homes as a killed job meets them: a shard on disk, a server that outlives the job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import qdrant_edge as qe
from qdrant_client import QdrantClient, models
from tests.collection.copies import OLD
from tests.collection.servers import fill
from tests.collection.shards import contents, make_shard
from tests.contract.rest_shim import running

from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.homes.opening import open_home

N = 240
ODD = (10**8, 10**8 + 1)  # points that cannot be encoded, until they are repaired
BARE = [qe.Point(ODD[0], {"dense": [0.0] * 24}, {}), qe.Point(ODD[1], {}, {"a": 1})]
REPAIRED = [[float(i % 3) for i in range(24)], [float(i % 5) for i in range(24)]]
EDGE_CALLS = ("mark", "add", "write", "drop", "unmark", "read", "drop_dense", "sample")


class Place(Protocol):
    """Where the jobs of a run find their collection."""

    watched: tuple[tuple[Any, str], ...]  # calls that touch the engine

    def fresh(self, run: Path) -> str:
        """Make the collection anew and return its URL."""
        ...

    def repair(self, url: str) -> None:
        """Give the odd points a vector that can be encoded."""
        ...

    def contents(self, url: str) -> Any:
        """Return all that is in it, read without csrkit."""
        ...


class EdgePlace:
    watched = tuple((EdgeHome, name) for name in EDGE_CALLS)

    def __init__(self, folder: Path) -> None:
        self._pristine = folder / "pristine"
        shard = make_shard(self._pristine, N)
        shard.update(qe.UpdateOperation.upsert_points(BARE))
        shard.close()

    def fresh(self, run: Path) -> str:
        shutil.copytree(self._pristine, run / "shard")
        return f"edge://{run / 'shard'}"

    def repair(self, url: str) -> None:
        rows = [qe.PointVectors(*pair) for pair in zip(ODD, _repaired(), strict=True)]
        with _shard(url) as shard:
            shard.update(qe.UpdateOperation.update_vectors(rows))

    def contents(self, url: str) -> Any:
        with _shard(url) as shard:
            return contents(shard)


class ServerPlace:
    """A server; an old one cannot add a vector, so that jobs on it make copies."""

    watched = ((httpx.Client, "send"),)

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def fresh(self, run: Path) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        run.mkdir()
        print(run, file=self._server.stdin, flush=True)
        return self._server.stdout.readline().strip()

    def repair(self, url: str) -> None:
        rows = [models.PointVectors(id=a, vector=b) for a, b in zip(ODD, _repaired(), strict=True)]
        with _client(url) as client:
            client.update_vectors(_name(url), rows, wait=True)

    def contents(self, url: str) -> Any:
        with _client(url) as client:
            records, _ = client.scroll(_name(url), limit=10**6, with_vectors=True)
            metadata = client.get_collection(_name(url)).config.metadata or {}
            names = [
                one.name.partition("__csrkit_")[0] for one in client.get_collections().collections
            ]
            left, _ = client.scroll("docs", limit=10**6, with_vectors=True)
        points = {str(one.id): one.model_dump(include={"payload", "vector"}) for one in records}
        for one in points.values():
            code = (one["vector"] or {}).get("csr")
            if code:
                code |= dict(zip(("indices", "values"), _sorted(code), strict=True))
        metadata.get("csrkit.csr.job", {}).pop("job", None)  # drawn at random
        originals = {}
        for one in left:
            vectors = one.vector if isinstance(one.vector, dict) else {}
            originals[str(one.id)] = {"payload": one.payload, "dense": vectors.get("dense")}
        return {"points": points, "metadata": metadata, "names": names, "originals": originals}


def _repaired() -> list[dict[str, list[float]]]:
    return [{"dense": row} for row in REPAIRED]


@contextmanager
def _shard(url: str) -> Iterator[qe.EdgeShard]:
    shard = qe.EdgeShard.load(url.removeprefix("edge://"))
    try:
        yield shard
    finally:
        shard.close()


def _name(url: str) -> str:
    return url.rpartition("/")[2]


@contextmanager
def _client(url: str) -> Iterator[QdrantClient]:
    address = url.replace("qdrant://", "http://").rpartition("/")[0]
    client = QdrantClient(url=address, timeout=60, check_compatibility=False)
    try:
        yield client
    finally:
        client.close()


def _sorted(code: dict[str, list[Any]]) -> tuple[Any, ...]:
    return tuple(zip(*sorted(zip(code["indices"], code["values"], strict=True)), strict=True))


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Place]:
    """Give a place of a kind, "edge", "server" or "old", which is gone afterwards."""
    if kind == "edge":
        yield EdgePlace(folder)
        return
    command = [sys.executable, __file__, kind, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ) as server:
        yield ServerPlace(server)
        assert server.stdin is not None
        server.stdin.close()


def described(url: str) -> Any:
    """Return what csrkit says of the collection."""
    home = open_home(url)
    marker, found = home.marker("csr"), home.describe()
    home.close()
    return json.loads(
        json.dumps(
            {
                "marker": marker and marker.model_dump(exclude={"job"}),
                "vectors": [found.dense, found.sparse],
                "kept": [found.payload_indexes, found.aliases],
            }
        )
    )


def serve(kind: str, folder: Path) -> None:
    """Be the server: for each folder on stdin, fill a collection and say where it is."""
    with running(folder / "empty") as shim:
        shim.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # killed clients
        client = QdrantClient(url=shim.url, check_compatibility=False)
        for line in sys.stdin:
            shim.reset(Path(line.strip()))
            fill(shim, client, N)
            shim["docs"].shard.update(qe.UpdateOperation.upsert_points(BARE))
            shim.version = OLD if kind == "old" else shim.version
            name = "live" if kind == "old" else "docs"  # an alias of it, which can be moved
            print(f"qdrant://127.0.0.1:{shim.port}/{name}", flush=True)
        client.close()


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
