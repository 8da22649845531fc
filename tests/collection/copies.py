"""A collection with a setting of every kind, and what a copy of it must have too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from csrkit.collection import Job, compress
from csrkit.collection.homes.qdrant import QdrantHome

from ..contract.rest_shim import QUICK, RestShim
from .models import random_model
from .shards import DIM, contents, embeddings, point_ids

N = 60
OLD = "1.17.3"  # adds no vector to a collection that exists


def copied(client: QdrantClient, tmp_path: Path, target: str = "live", **options: Any) -> Job:
    home = QdrantHome(client, target, retry=QUICK)
    options = {"model": random_model(), "k": 8, "job": tmp_path / "job", **options}
    return compress(home, progress=False, **options)


def title(job: Job) -> str:
    return f"docs__csrkit_{job.manifest.job}"


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
        strict_mode_config=models.StrictModeConfig(enabled=True, upsert_max_batchsize=20),
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


def assert_equal(shim: RestShim, job: Job) -> None:
    """The copy has every point of the original as it is, and the code of its dense vector."""
    copies = records(shim, title(job))
    own = {one: [row.pop(name, None) for name in ("csr", "csr_residual")]
           for one, (_, row) in copies.items()}  # fmt: skip
    assert copies == records(shim, "docs")
    bare = {one for one, codes in own.items() if None in codes}
    assert bare <= {str(one) for one in dict(job.status().reasons)}
    ids = [one for page in job.home.ids() for one in page if str(one) not in bare]
    page = job.home.read(ids, vector="dense", codes=job.manifest.codes)
    assert page.vectors is not None
    assert page.codes is not None
    want = job.model.encode(page.vectors, k=8)
    np.testing.assert_allclose(page.codes.to_dense(), want.to_dense(), atol=1e-6)
    np.testing.assert_array_equal(page.residuals, job.model.encode_residuals(page.vectors, want))
