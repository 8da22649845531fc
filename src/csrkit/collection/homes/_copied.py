"""What a copy of a collection has in common with it: settings before, points afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from qdrant_client import models

from csrkit.collection.homes._spelling import named_of, notes_of
from csrkit.stores._ids import stored_id
from csrkit.stores._points import residual_name

if TYPE_CHECKING:
    from csrkit.collection.facts import Marker
    from csrkit.collection.home import PointId

__all__ = [
    "digest_of",
    "has_null",
    "named",
    "not_copied",
    "point_of",
    "readable",
    "same_vectors",
    "settings_of",
    "tolerances",
]

ModelT = TypeVar("ModelT", bound=BaseModel)
# A cosine collection scales what it is given to unit length. What it gives back is of unit
# length but for rounding, so that a copy may differ in the last place of the stored type.
_ROUNDING = {"float32": 1e-6, "float16": 1e-3, "uint8": 0.0}


def settings_of(info: models.CollectionInfo, marker: Marker) -> dict[str, Any]:
    """Return the settings of a copy: those of the original, and the vectors of a job.

    Args:
        info: What the server says of the original.
        marker: Whose the copy is, and which vectors it gets besides.

    Returns:
        Arguments for ``create_collection``.
    """
    config, params = info.config, info.config.params
    return {
        "vectors_config": _dense_with(params.vectors, marker),
        "sparse_vectors_config": {
            **(params.sparse_vectors or {}),
            marker.name: models.SparseVectorParams(),
        },
        "shard_number": params.shard_number,
        "replication_factor": params.replication_factor,
        "write_consistency_factor": params.write_consistency_factor,
        "on_disk_payload": params.on_disk_payload,
        "payload": params.payload,
        "id_tracker": params.id_tracker,
        "hnsw_config": _as(models.HnswConfigDiff, config.hnsw_config),
        "optimizers_config": _as(models.OptimizersConfigDiff, config.optimizer_config),
        "wal_config": _as(models.WalConfigDiff, config.wal_config),
        "quantization_config": config.quantization_config,
        "strict_mode_config": _as(models.StrictModeConfig, config.strict_mode_config),
        "metadata": {**(config.metadata or {}), **notes_of(marker)},
    }


def _dense_with(vectors: Any, marker: Marker) -> Any:
    if not marker.residual_bytes:
        return vectors or {}
    residuals = models.VectorParams(
        size=marker.residual_bytes,
        distance=models.Distance.DOT,
        datatype=models.Datatype.UINT8,
        hnsw_config=models.HnswConfigDiff(m=0),  # they are never searched, only read
    )
    return {**(vectors or {}), residual_name(marker.name): residuals}


def _as(kind: type[ModelT], found: BaseModel | None) -> ModelT | None:
    """Return settings that were read as settings to write, which have a class of their own."""
    return None if found is None else kind.model_validate(found.model_dump(exclude_none=True))


def named(vector: Any) -> dict[str, Any]:
    """Return the vectors of a point by name.

    Args:
        vector: As the client gives them: None, a bare one without a name, or by name.

    Returns:
        An unnamed one is "".
    """
    if vector is None:
        return {}
    return dict(vector) if isinstance(vector, Mapping) else {"": vector}


def not_copied(name: str) -> str:
    """Say that a vector is left out.

    Args:
        name: Its name.

    Returns:
        The sentence.
    """
    return f"the vector {name!r} holds NaN or infinity, and was not copied"


def readable(record: Any, unread: dict[PointId, str]) -> Any:
    """Leave out vectors with numbers that JSON has no word for, and a client gives as None.

    Args:
        record: A point as the client gives it.
        unread: Gets the reason, if there is one.

    Returns:
        The point without them.
    """
    vectors = named(record.vector)
    lost = [name for name, vector in vectors.items() if _has_none(vector)]
    if not lost:
        return record
    unread[stored_id(record.id)] = not_copied(lost[0])
    left = {name: vector for name, vector in vectors.items() if name not in lost}
    return record.model_copy(update={"vector": left})


def _has_none(vector: Any) -> bool:
    if isinstance(vector, models.SparseVector):
        return None in vector.values
    rows = vector if vector and isinstance(vector[0], list) else [vector]
    return any(None in row for row in rows)


def has_null(error: BaseException | None) -> bool:
    """Tell an answer with null for a number, such as NaN, from one that is spoilt.

    Args:
        error: What the client raised.

    Returns:
        True if the answer came whole and is no point.
    """
    return isinstance(getattr(error, "source", None), ValidationError)


def point_of(record: Any, own: Mapping[str, Any]) -> models.PointStruct:
    """Spell a point of the copy.

    Args:
        record: The point of the original.
        own: The vectors of the job.

    Returns:
        The point with both.
    """
    vector = {**named(record.vector), **own}
    # what the client has read needs no second look, which would cost more than the encoding
    return models.PointStruct.model_construct(
        id=record.id, vector=vector, payload=record.payload or {}
    )


def tolerances(info: models.CollectionInfo) -> dict[str, float]:
    """Return what a stored vector may differ by from what was given to the server.

    Args:
        info: What the server says of the collection.

    Returns:
        Largest relative difference of a value, by the name of the dense vector; 0: none.
    """
    return {
        name: _ROUNDING[params.datatype.value if params.datatype else "float32"]
        if params.distance == models.Distance.COSINE
        else 0.0
        for name, params in named_of(info).items()
    }


def digest_of(record: Any) -> int:
    """Return a digest of all that a point holds.

    Args:
        record: The point as the client gives it.

    Returns:
        A number of 64 bits, which the order of keys and of latents does not change.
    """
    found = blake2b(digest_size=8)
    head = [stored_id(record.id), record.payload or {}]
    found.update(json.dumps(head, sort_keys=True).encode())
    for name, vector in sorted(named(record.vector).items()):
        found.update(json.dumps(name).encode())
        if isinstance(vector, models.SparseVector):
            found.update(json.dumps(sorted(_weights(vector).items())).encode())
        else:
            found.update(np.asarray(vector, np.float32).tobytes())
    return int.from_bytes(found.digest())


def same_vectors(
    one: Mapping[str, Any], other: Mapping[str, Any], tolerance: Mapping[str, float]
) -> bool:
    """Compare the vectors of two points.

    Args:
        one: Vectors by name.
        other: Vectors by name.
        tolerance: Of each dense vector, as `tolerances` gives it.

    Returns:
        Whether they are the same vectors.
    """
    if one.keys() != other.keys():
        return False
    return all(_same(row, other[name], tolerance.get(name, 0.0)) for name, row in one.items())


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, models.SparseVector) or isinstance(other, models.SparseVector):
        return bool(_weights(one) == _weights(other))
    if one == other:
        return True
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.shape != b.shape or np.isnan(a).any():  # gRPC gives NaN as it is
        return bool(np.array_equal(a, b, equal_nan=True))
    return bool(np.abs(a - b).max(initial=0.0) <= tolerance * np.abs(a).max(initial=0.0))


def _weights(vector: Any) -> Any:
    """Return a sparse vector by latent: the engine promises no order."""
    if not isinstance(vector, models.SparseVector):
        return None
    return dict(zip(vector.indices, vector.values, strict=True))
