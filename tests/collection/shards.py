"""A small Edge shard as somebody might run it, and all that is in it, for comparing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qdrant_edge as qe

from csrkit.collection.testing import DIM, embeddings, point_ids

__all__ = ["DIM", "contents", "embeddings", "make_shard", "point_ids"]


def make_shard(folder: Path, n: int = 300) -> qe.EdgeShard:
    folder.mkdir(parents=True)
    dense = qe.EdgeVectorParams(size=DIM, distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": dense}))
    shard.update(qe.UpdateOperation.create_field_index("cat", qe.PayloadSchemaType.Integer))
    rows = zip(point_ids(n), embeddings(n).tolist(), range(n), strict=True)
    points = [qe.Point(one, {"dense": row}, {"cat": i % 7, "ü": "ß"}) for one, row, i in rows]
    shard.update(qe.UpdateOperation.upsert_points(points))
    return shard


def contents(shard: qe.EdgeShard) -> dict[Any, Any]:
    """Everything in a shard by id, latents in order."""
    request = qe.ScrollRequest(limit=10**6, with_payload=True, with_vector=True)
    records, _ = shard.scroll(request)
    return {
        str(one.id): (
            one.payload,
            {name: _plain(vector) for name, vector in _named(one.vector).items()},
        )
        for one in records
    }


def _named(vectors: Any) -> dict[str, Any]:
    return {"": vectors} if isinstance(vectors, list) else vectors or {}


def _plain(vector: Any) -> Any:
    if isinstance(vector, qe.SparseVector):
        return sorted(zip(vector.indices, vector.values, strict=True))
    return vector
