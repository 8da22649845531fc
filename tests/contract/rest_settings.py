"""Settings of a collection of the stand-in server: into the real engine, and back as a server says.

What the engine cannot be told (shards, replicas, strict mode, write-ahead log) is kept and
given back, with a server's defaults where nothing was asked for.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as qe
from qdrant_client import models

HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}
KIND = {
    None: None,
    "float32": qe.VectorStorageDatatype.Float32,
    "float16": qe.VectorStorageDatatype.Float16,
    "uint8": qe.VectorStorageDatatype.Uint8,
}


def engine_config(created: models.CreateCollection) -> qe.EdgeConfig:
    sparse = {
        name: qe.EdgeSparseVectorParams(datatype=KIND[params.index and params.index.datatype])
        for name, params in (created.sparse_vectors or {}).items()
    }
    vectors: Any = created.vectors or {}
    dense = (
        {name: _dense(params) for name, params in vectors.items()}
        if isinstance(vectors, dict)
        else _dense(vectors)
    )
    # the engine refuses a shard of no vectors, which the server allows
    return qe.EdgeConfig(
        vectors=dense,
        sparse_vectors=sparse or {"_": qe.EdgeSparseVectorParams()},
        on_disk_payload=created.on_disk_payload,
        quantization_config=_quantization(created.quantization_config),
        wal_enabled=False,  # faster, and no test here outlives the process
    )


def _dense(params: models.VectorParams) -> qe.EdgeVectorParams:
    multi = params.multivector_config and qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim)
    asked = params.hnsw_config.model_dump(exclude_none=True) if params.hnsw_config else None
    return qe.EdgeVectorParams(
        size=params.size,
        distance=getattr(qe.Distance, params.distance.value),
        on_disk=params.on_disk,
        multivector_config=multi or None,
        datatype=KIND[params.datatype],
        quantization_config=_quantization(params.quantization_config),
        hnsw_config=qe.HnswIndexConfig(**{**HNSW, **asked}) if asked else None,
    )


def _quantization(wanted: Any) -> Any:
    if isinstance(wanted, models.ScalarQuantization):
        return qe.ScalarQuantizationConfig(qe.ScalarType.Int8, wanted.scalar.quantile)
    return None


def merged(kind: Any, defaults: dict[str, Any], asked: Any) -> Any:
    return kind.model_validate(defaults | (asked.model_dump(exclude_none=True) if asked else {}))


def config_of(created: models.CreateCollection, metadata: Any) -> models.CollectionConfig:
    strict = created.strict_mode_config
    return models.CollectionConfig(
        params=models.CollectionParams(
            vectors=created.vectors,
            sparse_vectors=created.sparse_vectors,
            shard_number=created.shard_number or 1,
            sharding_method=created.sharding_method,
            replication_factor=created.replication_factor or 1,
            write_consistency_factor=created.write_consistency_factor or 1,
            on_disk_payload=created.on_disk_payload is not False,
        ),
        hnsw_config=merged(models.HnswConfig, HNSW, created.hnsw_config),
        optimizer_config=merged(models.OptimizersConfig, OPTIMIZERS, created.optimizers_config),
        wal_config=merged(
            models.WalConfig,
            {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            created.wal_config,
        ),
        quantization_config=created.quantization_config,
        strict_mode_config=strict and merged(models.StrictModeConfigOutput, {}, strict),
        metadata=metadata or None,
    )
