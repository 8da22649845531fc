"""Between checked upserts and the rows of a collection.

A row's key ``id`` is a UUID of the id, which ``csrkit_id`` holds as JSON; ``payload`` is JSON,
``code`` the sparse vector, and ``csrkit_residual`` the residual in base64, where there are some.

Milvus Lite 3 refuses empty vectors, so an empty code is one of a latent that no query can have.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import CollectionSchema, DataType, MilvusClient

from csrkit.stores import Hit
from csrkit.stores.adapter import Upsert, stacked, uuid_of
from csrkit.vectors import SparseVectors

__all__ = ["codes_of", "hit", "residuals_of", "rows_of", "schema", "spelled"]

_NOTHING = 2**32 - 2  # the largest index that Milvus takes; latents are below 2**31
_TEXT = 65_535  # bytes, the most that Milvus has


def schema(note: str, residual_bytes: int) -> CollectionSchema:
    """Return the fields of a collection.

    Args:
        note: Its description.
        residual_bytes: Bytes per residual; 0 if none are kept.

    Returns:
        The schema.
    """
    made = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=note)
    made.add_field("id", DataType.VARCHAR, is_primary=True, max_length=36)
    made.add_field("csrkit_id", DataType.VARCHAR, max_length=_TEXT)
    made.add_field("payload", DataType.JSON)
    made.add_field("code", DataType.SPARSE_FLOAT_VECTOR)
    if residual_bytes:
        made.add_field("csrkit_residual", DataType.VARCHAR, max_length=_TEXT)
    return made


def spelled(codes: SparseVectors) -> list[dict[int, float]]:
    """Return each row as Milvus takes it, latent to value."""
    latents, values = codes.indices.tolist(), codes.values.tolist()
    spans = [slice(*span) for span in pairwise(codes.indptr.tolist())]
    return [dict(zip(latents[span], values[span], strict=True)) for span in spans]


def rows_of(batch: Upsert, kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Spell a checked batch.

    Args:
        batch: What is to be stored.
        kept: Payload by key, of those that are there, for a batch without payloads.

    Returns:
        One row per id.
    """
    keys = list(map(uuid_of, batch.ids))
    loads = batch.payloads or [kept.get(key, {}) for key in keys]
    parts = zip(keys, batch.ids, loads, spelled(batch.codes), strict=True)
    rows = [
        {"id": key, "csrkit_id": json.dumps(one), "payload": load, "code": code or {_NOTHING: 1.0}}
        for key, one, load, code in parts
    ]
    if batch.residuals is not None:
        for row, residual in zip(rows, batch.residuals, strict=True):
            row["csrkit_residual"] = b64encode(residual.tobytes()).decode()
    return rows


def hit(found: Mapping[str, Any]) -> Hit:
    """Return what a search found."""
    fields = found["entity"]
    return Hit(json.loads(fields["csrkit_id"]), float(found["distance"]), fields["payload"] or None)


def codes_of(rows: Sequence[Mapping[str, Any]], dim: int) -> SparseVectors:
    """Return the codes of rows."""
    codes = [{} if _NOTHING in row["code"] else row["code"] for row in rows]
    return stacked([list(one) for one in codes], [list(one.values()) for one in codes], dim)


def residuals_of(rows: Sequence[Mapping[str, Any]], width: int) -> NDArray[np.uint8]:
    """Return the residuals of rows, uint8 (n, width)."""
    whole = b"".join([b64decode(row["csrkit_residual"]) for row in rows])
    return np.frombuffer(whole, np.uint8).reshape(-1, width)
