"""From checked upserts to the documents of an index, and from codes to queries.

A document's ``_id`` is a UUID of the id. ``code`` maps latents to values, for Lucene; the rest is
for us and not indexed: ``csrkit``, ``[id, payload]`` as JSON text; ``exact``, the latents (int32)
and then the values (float32) in base64, little-endian; ``residual`` in base64. ``payload`` has
those keys of the payload that filters are to see.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from csrkit.errors import StoreError
from csrkit.stores.adapter import Upsert, uuid_of
from csrkit.vectors import SparseVectors

__all__ = ["check", "documents", "mappings", "query", "rounded"]

_DROPPED = 15  # bits of a float32 that Lucene's FeatureField does not keep
_TINY = float(np.finfo(np.float32).tiny)  # it takes no subnormal numbers


def mappings(note: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping of an index: what is not named here is kept and not indexed.

    Args:
        note: What ``_meta`` is to hold.
        fields: Mapping of each key of the payloads that filters are to see.

    Returns:
        Body of the mapping.
    """
    payload = {"dynamic": False, "properties": dict(fields)}
    properties = {"code": {"type": "rank_features"}, "payload": payload}
    return {"dynamic": False, "_meta": dict(note), "properties": properties}


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the 9 significant bits that Lucene keeps, to the nearest; it would cut them off.

    Args:
        values: float32, positive.

    Returns:
        The same shape: within 2**-9 of each value, which is below 0.2%, and unchanged by Lucene.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    near = (bits + (1 << (_DROPPED - 1))) >> _DROPPED << _DROPPED
    largest = np.uint32(0x7F7F8000)  # and not infinity
    kept: NDArray[np.float32] = np.minimum(near, largest).view(np.float32)
    return kept


def check(upsert: Upsert) -> None:
    """Refuse codes that have negative values, which are no features.

    Args:
        upsert: What is to be stored.

    Raises:
        StoreError: If there is one; the message names the id.
    """
    if not upsert.codes.is_nonnegative:
        row = next(i for i, one in enumerate(upsert.codes) if not one.is_nonnegative)
        raise StoreError(
            f"expected codes without negative values, which OpenSearch cannot hold, got "
            f"{upsert.codes[row].values.min()} for id {upsert.ids[row]!r}"
        )


def documents(
    batch: Upsert, fields: Collection[str], kept: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Spell a checked batch.

    Args:
        batch: What is to be stored.
        fields: Keys of payloads that filters are to see.
        kept: Payload by key, of those that are there, for a batch without payloads.

    Returns:
        Document by key.
    """
    latents, values = batch.codes.indices.tolist(), rounded(batch.codes.values).tolist()
    spans = [slice(*span) for span in pairwise(batch.codes.indptr.tolist())]
    found = {}
    for row, (one, span) in enumerate(zip(batch.ids, spans, strict=True)):
        key = uuid_of(one)
        load = (kept.get(key) if batch.payloads is None else batch.payloads[row]) or {}
        pairs = zip(latents[span], values[span], strict=True)
        exact = batch.codes.indices[span].astype("<i4"), batch.codes.values[span].astype("<f4")
        found[key] = {
            "code": {str(latent): value for latent, value in pairs if value >= _TINY},
            "csrkit": to_json([one, load or None]).decode(),
            "exact": b64encode(exact[0].tobytes() + exact[1].tobytes()).decode(),
            "payload": {name: load[name] for name in fields if name in load},
        }
        if batch.residuals is not None:
            found[key]["residual"] = b64encode(batch.residuals[row].tobytes()).decode()
    return found


def query(code: SparseVectors, keep: Mapping[str, Any] | None) -> dict[str, Any]:
    """Spell a query, a batch of one row: the sum of each weight times the feature's value."""
    weights = zip(code.indices.tolist(), code.values.tolist(), strict=True)
    should = [
        {"rank_feature": {"field": f"code.{latent}", "linear": {}, "boost": weight}}
        for latent, weight in weights
    ]
    # beside a filter nothing of `should` has to match, unless it is said
    scored: dict[str, Any] = {"should": should, "minimum_should_match": 1}
    return {"bool": scored if keep is None else {**scored, "filter": [keep]}}
