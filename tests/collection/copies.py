"""A collection with a setting of every kind, and what a copy of it must have too."""

from __future__ import annotations

from typing import Any

import numpy as np
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from ..contract.rest_shim import RestShim
from .shards import DIM, contents, embeddings, point_ids


def fill_richly(shim: RestShim, client: QdrantClient, n: int) -> None:
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    int8 = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
    )
    client.create_collection(
        "docs",
        vectors_config={
            "dense": models.VectorParams(
                size=DIM,
                distance=models.Distance.COSINE,
                on_disk=True,
                quantization_config=int8,
                hnsw_config=models.HnswConfigDiff(m=24, ef_construct=50),
            ),
            "title": models.VectorParams(
                size=4, distance=models.Distance.EUCLID, datatype=models.Datatype.FLOAT16
            ),
            "late": models.VectorParams(
                size=3, distance=models.Distance.DOT, multivector_config=multi
            ),
        },
        sparse_vectors_config={
            "bm25": models.SparseVectorParams(
                index=models.SparseIndexParams(on_disk=True), modifier=models.Modifier.IDF
            )
        },
        shard_number=3,
        replication_factor=2,
        write_consistency_factor=2,
        on_disk_payload=False,
        hnsw_config=models.HnswConfigDiff(m=12, payload_m=4),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=77),
        wal_config=models.WalConfigDiff(wal_capacity_mb=8),
        strict_mode_config=models.StrictModeConfig(enabled=True, upsert_max_batchsize=40),
        metadata={"owner": "search team"},
    )
    client.create_payload_index("docs", "cat", models.PayloadSchemaType.INTEGER)
    tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    client.create_payload_index("docs", "tenant", tenant)
    client.upsert("docs", list(map(point, range(n), point_ids(n), embeddings(n))), wait=True)
    odd = [qe.Point(10**8, {"title": [1.0, 2.0, 3.0, 4.0]}, {"a": None}),
           qe.Point(10**8 + 1, {"dense": [0.0] * DIM}, {})]  # fmt: skip
    shim["docs"].shard.update(qe.UpdateOperation.upsert_points(odd))
    shim.aliases |= {"live": "docs", "ändere": "docs"}


def point(i: int, one: Any, row: Any) -> models.PointStruct:
    rng = np.random.default_rng(i)
    sparse = models.SparseVector(indices=[i % 50, 70 + i], values=[0.25, 1.5])
    vectors: dict[str, Any] = {"dense": row.tolist(), "title": rng.random(4).tolist()}
    if i % 3:
        vectors |= {"late": rng.random((1 + i % 4, 3)).tolist(), "bm25": sparse}
    payload = {"cat": i % 7, "ü": "ß", "tenant": f"t{i % 3}", "deep": {"x": [1, 2.5, None, "y"]}}
    return models.PointStruct(id=one, vector=vectors, payload=payload)


def records(shim: RestShim, name: str) -> dict[Any, Any]:
    """All points, with empty payloads as none."""
    return {
        one: (payload or {}, rows) for one, (payload, rows) in contents(shim[name].shard).items()
    }


def settings(client: QdrantClient, name: str) -> dict[str, Any]:
    """The settings of a collection, without the vectors and notes that a job adds."""
    info = client.get_collection(name)
    found: dict[str, Any] = info.config.model_dump()
    for kind in ("vectors", "sparse_vectors"):
        found["params"][kind] = {
            one: params
            for one, params in found["params"][kind].items()
            if not one.startswith("csr")
        }
    found["metadata"] = {key: one for key, one in found["metadata"].items() if "csrkit" not in key}
    found["indexes"] = {field: (i.data_type, i.params) for field, i in info.payload_schema.items()}
    return found
