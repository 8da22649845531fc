"""The routes that compressing a collection needs besides those of a store; see rest_shim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qdrant_edge as qe
from qdrant_client import models

from .rest_routes import (
    _COLLECTION,
    _DONE,
    ROUTES,
    _filter,
    _id,
    _one_query,
    _parse,
    _plain,
)

if TYPE_CHECKING:
    from .rest_shim import RestShim


def _scroll(shim: RestShim, name: str, body: bytes) -> Any:
    wanted = _parse(models.ScrollRequest, body)
    request = qe.ScrollRequest(
        offset=wanted.offset,
        limit=wanted.limit,
        filter=_filter(wanted.filter),
        with_payload=bool(wanted.with_payload),
        with_vector=wanted.with_vector or False,
    )
    records, following = shim[name].shard.scroll(request)
    points = [
        models.Record(id=_id(r.id), payload=r.payload, vector=_plain(r.vector)) for r in records
    ]
    return models.ScrollResult(
        points=points, next_page_offset=None if following is None else _id(following)
    )


def _query(shim: RestShim, name: str, body: bytes) -> Any:
    return _one_query(shim[name].shard, _parse(models.QueryRequest, body))


def _drop_vector(shim: RestShim, name: str, vector: str, body: bytes) -> Any:
    created = shim[name].created
    for kind in ("vectors", "sparse_vectors"):
        there = dict(getattr(created, kind) or {})
        there.pop(vector, None)
        setattr(created, kind, there)
    shim[name].shard.update(qe.UpdateOperation.delete_vector_name(vector))
    return _DONE


def _aliases(shim: RestShim, name: str, body: bytes) -> Any:
    return models.CollectionsAliasesResponse(
        aliases=[
            models.AliasDescription(alias_name=alias, collection_name=name)
            for alias, target in shim.aliases.items()
            if target == name
        ]
    )


def _index(shim: RestShim, name: str, body: bytes) -> Any:
    wanted = _parse(models.CreateFieldIndex, body)
    asked = wanted.field_schema
    name_of = asked if isinstance(asked, str) else asked.type
    kind = getattr(qe.PayloadSchemaType, name_of.capitalize())
    if not isinstance(asked, str):
        shim[name].indexes[wanted.field_name] = asked
    shim[name].shard.update(qe.UpdateOperation.create_field_index(wanted.field_name, kind))
    return _DONE


def _snapshot(shim: RestShim, name: str, body: bytes) -> Any:
    shim.snapshots.append(name)
    return models.SnapshotDescription(name=f"{name}-{len(shim.snapshots)}.snapshot", size=1)


JOB_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    *ROUTES,
    ("POST", _COLLECTION + "/points/scroll", _scroll),
    ("POST", _COLLECTION + "/points/query", _query),
    ("DELETE", _COLLECTION + "/vectors/([^/]+)", _drop_vector),
    ("GET", _COLLECTION + "/aliases", _aliases),
    ("PUT", _COLLECTION + "/index", _index),
    ("POST", _COLLECTION + "/snapshots", _snapshot),
]
