"""The shard of `shards` as a collection of the stand-in server."""

from __future__ import annotations

from typing import Any

from qdrant_client import QdrantClient, models

from ..contract.rest_shim import RestShim
from .shards import DIM, contents, embeddings, point_ids

__all__ = ["contents", "fill"]


def fill(shim: RestShim, client: QdrantClient, n: int = 300) -> None:
    params = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    client.create_collection("docs", vectors_config={"dense": params})
    client.create_payload_index("docs", "cat", models.PayloadSchemaType.INTEGER)
    rows = zip(point_ids(n), embeddings(n).tolist(), range(n), strict=True)
    points = [
        models.PointStruct(id=one, vector={"dense": row}, payload={"cat": i % 7, "ü": "ß"})
        for one, row, i in rows
    ]
    client.upsert("docs", points, wait=True)
    shim.aliases["live"] = "docs"


def everything(shim: RestShim) -> Any:
    return contents(shim["docs"].shard)
