"""What each route of the stand-in server does, in the real engine; see rest_shim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import qdrant_edge as qe
from pydantic import TypeAdapter, ValidationError
from qdrant_client import models
from qdrant_client.http.models import models as wire

from .rest_settings import config_of, engine_config

if TYPE_CHECKING:
    from .rest_shim import RestShim


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Collection:
    folder: Path
    created: models.CreateCollection
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metadata |= self.created.metadata or {}
        self.indexes: dict[str, Any] = {}  # settings of payload indexes, by field
        self.status = models.CollectionStatus.GREEN
        config = engine_config(self.created)
        self.shard = qe.EdgeShard.create(str(self.folder), config)

    def payload_schema(self) -> dict[str, models.PayloadIndexInfo]:
        return {
            field: models.PayloadIndexInfo(
                data_type=str(info.data_type).rpartition(".")[2].lower(),
                params=self.indexes.get(field),
                points=info.points,
            )
            for field, info in self.shard.info().payload_schema.items()
        }

    def info(self) -> models.CollectionInfo:
        return models.CollectionInfo(
            status=self.status,
            optimizer_status=models.OptimizersStatusOneOf.OK,
            segments_count=1,
            payload_schema=self.payload_schema(),
            config=config_of(self.created, self.metadata),
        )


def dumped(value: Any) -> Any:
    if isinstance(value, list):
        return [dumped(item) for item in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _parse(kind: Any, body: bytes) -> Any:
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        raise Refused(422, f"Format error in JSON body: {error}") from error


_DONE = models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _exists(shim: RestShim, name: str, body: bytes) -> Any:
    return {"exists": name in shim.collections or name in shim.aliases}


def _create(shim: RestShim, name: str, body: bytes) -> bool:
    if name in shim.collections or name in shim.aliases:
        raise Refused(409, f"Collection `{name}` already exists!")
    created = _parse(models.CreateCollection, body)
    shim.collections[name] = Collection(shim.folder / name, created)
    return True


def _change(shim: RestShim, name: str, body: bytes) -> bool:
    wanted = _parse(models.UpdateCollection, body)
    merged = shim[name].metadata | (wanted.metadata or {})
    shim[name].metadata = {key: value for key, value in merged.items() if value is not None}
    for vector, params in (wanted.sparse_vectors or {}).items():
        if vector not in (shim[name].created.sparse_vectors or {}):
            raise Refused(400, f"Wrong input: Not existing vector name error: {vector}")
        shim[name].created.sparse_vectors[vector] = params
    for vector, change in dict(wanted.vectors or {}).items():
        params = dict(shim[name].created.vectors or {})[vector]
        params.hnsw_config, params.on_disk = change.hnsw_config, change.on_disk
    return True


def _add_vector(shim: RestShim, name: str, vector: str, body: bytes) -> Any:
    wanted = _parse(models.VectorNameConfig, body)
    created = shim[name].created
    if isinstance(wanted, models.DenseVectorNameConfig):
        dense = wanted.dense
        kind = qe.VectorStorageDatatype.Uint8 if dense.datatype == "uint8" else None
        distance = getattr(qe.Distance, dense.distance.value)
        operation = qe.UpdateOperation.create_dense_vector(vector, dense.size, distance, None, kind)
        datatype = dense.datatype and models.Datatype(dense.datatype.value)
        params = models.VectorParams(size=dense.size, distance=dense.distance, datatype=datatype)
        created.vectors = dict(created.vectors or {}) | {vector: params}
    else:
        operation = qe.UpdateOperation.create_sparse_vector(vector)
        datatype = wanted.sparse.datatype and models.Datatype(wanted.sparse.datatype.value)
        index = models.SparseIndexParams(datatype=datatype)
        added = {vector: models.SparseVectorParams(index=index)}
        created.sparse_vectors = (created.sparse_vectors or {}) | added
    shim[name].shard.update(operation)
    return _DONE


def _vector(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _vector(one) for name, one in value.items()}
    is_sparse = isinstance(value, models.SparseVector)
    return qe.SparseVector(value.indices, value.values) if is_sparse else value


def _upsert_list(shim: RestShim, name: str, wanted: Any) -> None:
    points = [qe.Point(one.id, _vector(one.vector), one.payload) for one in wanted.points]
    insert_only = wanted.update_mode == models.UpdateMode.INSERT_ONLY
    mode = qe.UpdateMode.InsertOnly if insert_only else qe.UpdateMode.Upsert
    shim[name].shard.update(qe.UpdateOperation.upsert_points(points, None, mode))


def _upsert(shim: RestShim, name: str, body: bytes) -> Any:
    _upsert_list(shim, name, _parse(models.PointsList, body))
    return _DONE


def _batch(shim: RestShim, name: str, body: bytes) -> Any:
    steps = _parse(wire.UpdateOperations, body).operations
    for step in steps:
        if isinstance(step, models.UpsertOperation):
            _upsert_list(shim, name, step.upsert)
            continue
        if isinstance(step, models.UpdateVectorsOperation):
            operation = _new_vectors(step.update_vectors)
        elif isinstance(step, models.OverwritePayloadOperation):
            wanted = step.overwrite_payload
            operation = qe.UpdateOperation.overwrite_payload(wanted.points, wanted.payload)
        else:
            raise Refused(400, f"the shim knows no {type(step).__name__}")
        shim[name].shard.update(operation)
    return [_DONE] * len(steps)


def _new_vectors(wanted: models.UpdateVectors) -> Any:
    points = [qe.PointVectors(one.id, _vector(one.vector)) for one in wanted.points]
    return qe.UpdateOperation.update_vectors(points)


def _update_vectors(shim: RestShim, name: str, body: bytes) -> Any:
    shim[name].shard.update(_new_vectors(_parse(models.UpdateVectors, body)))
    return _DONE


def _range(wanted: models.Range | models.DatetimeRange) -> Any:
    if isinstance(wanted, models.Range):
        return qe.RangeFloat(wanted.gte, wanted.gt, wanted.lte, wanted.lt)
    bounds = (wanted.gte, wanted.gt, wanted.lte, wanted.lt)
    return qe.RangeDateTime(*(one and one.isoformat() for one in bounds))


def _condition(condition: Any) -> Any:
    if isinstance(condition, models.HasVectorCondition):
        return qe.HasVectorCondition(condition.has_vector)
    if isinstance(condition, models.FieldCondition) and condition.match is not None:
        value = condition.match.value
        value = np.bool_(value) if isinstance(value, bool) else value  # qe takes True for 1
        return qe.FieldCondition(condition.key, match=qe.MatchValue(value))
    if isinstance(condition, models.FieldCondition) and condition.range is not None:
        return qe.FieldCondition(condition.key, range=_range(condition.range))
    raise Refused(400, f"the shim knows no condition {condition!r}")


def _filter(wanted: models.Filter | None) -> Any:
    if wanted is None:
        return None
    if wanted.should or wanted.min_should:
        raise Refused(400, "the shim knows must and must_not alone")
    return qe.Filter(must=_conditions(wanted.must), must_not=_conditions(wanted.must_not))


def _conditions(wanted: Any) -> list[Any]:
    return list(map(_condition, wanted if isinstance(wanted, list) else [wanted] if wanted else []))


def _query(shim: RestShim, name: str, body: bytes) -> Any:
    requests = _parse(wire.QueryRequestBatch, body).searches
    return [_one_query(shim[name].shard, request) for request in requests]


def _one_query(shard: Any, request: Any) -> Any:
    first = request.prefetch
    prefetches = first if isinstance(first, list) else [first] if first else []
    answer = shard.query(
        qe.QueryRequest(
            limit=request.limit,
            query=_nearest(request),
            prefetches=list(map(_prefetch, prefetches)),
            filter=_filter(request.filter),
            with_payload=request.with_payload,
            with_vector=request.with_vector or False,
            params=qe.SearchParams(exact=bool(request.params and request.params.exact)),
        )
    )
    points = [
        models.ScoredPoint(
            id=_id(one.id),
            version=0,
            score=one.score,
            payload=one.payload,
            vector=_plain(one.vector),
        )
        for one in answer
    ]
    return wire.QueryResponse(points=points)


def _nearest(request: Any) -> Any:
    if isinstance(request.query, models.SampleQuery):
        return qe.Sample.Random
    nearest: Any = getattr(request.query, "nearest", request.query)
    return qe.Query.Nearest(_vector(nearest), request.using)


def _prefetch(wanted: Any) -> Any:
    return qe.Prefetch(
        limit=wanted.limit,
        query=_nearest(wanted),
        filter=_filter(wanted.filter),
        score_threshold=wanted.score_threshold,
    )


def _id(value: Any) -> int | str:
    return value if isinstance(value, int) else str(value)


def _retrieve(shim: RestShim, name: str, body: bytes) -> Any:
    wanted = _parse(models.PointRequest, body)
    found = shim[name].shard.retrieve(wanted.ids, wanted.with_payload, wanted.with_vector)
    return [models.Record(id=_id(r.id), payload=r.payload, vector=_plain(r.vector)) for r in found]


def _plain(vectors: Any) -> Any:
    if not isinstance(vectors, dict):
        return vectors  # none, or one without a name
    return {
        name: models.SparseVector(indices=one.indices, values=one.values)
        if isinstance(one, qe.SparseVector)
        else one
        for name, one in vectors.items()
    }


def _delete(shim: RestShim, name: str, body: bytes) -> Any:
    points = _parse(models.PointIdsList, body).points
    shim[name].shard.update(qe.UpdateOperation.delete_points(points))
    return _DONE


def _delete_vectors(shim: RestShim, name: str, body: bytes) -> Any:
    wanted = _parse(models.DeleteVectors, body)
    shim[name].shard.update(qe.UpdateOperation.delete_vectors(wanted.points, wanted.vector))
    return _DONE


def _count(shim: RestShim, name: str, body: bytes) -> Any:
    wanted = _parse(models.CountRequest, body)
    request = qe.CountRequest(exact=wanted.exact, filter=_filter(wanted.filter))
    return models.CountResult(count=shim[name].shard.count(request))


_COLLECTION = r"/collections/([^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", _COLLECTION + "/exists", _exists),
    ("PUT", _COLLECTION, _create),
    ("GET", _COLLECTION, lambda shim, name, body: shim[name].info()),
    ("PATCH", _COLLECTION, _change),
    ("PUT", _COLLECTION + "/vectors/([^/]+)", _add_vector),
    ("PUT", _COLLECTION + "/points", _upsert),
    ("PUT", _COLLECTION + "/points/vectors", _update_vectors),
    ("POST", _COLLECTION + "/points/batch", _batch),
    ("POST", _COLLECTION + "/points/query/batch", _query),
    ("POST", _COLLECTION + "/points", _retrieve),
    ("POST", _COLLECTION + "/points/delete", _delete),
    ("POST", _COLLECTION + "/points/vectors/delete", _delete_vectors),
    ("POST", _COLLECTION + "/points/count", _count),
]
