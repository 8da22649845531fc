"""Between checked upserts and zvec's documents.

A document's key is the id as `key_of` spells it. Its field ``csrkit`` holds ``[id, payload]`` as
JSON, ``csrkit_residual`` the residual in base64; its vector ``code`` maps latents to values. The
payload's keys that fields were declared for are copied there.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json, to_json
from zvec import DataType, Doc

from csrkit.errors import StoreError
from csrkit.stores import Hit
from csrkit.stores.adapter import Upsert, stacked
from csrkit.vectors import SparseVectors
from csrkit_zvec.keys import key_of

__all__ = [
    "CODE",
    "DATA",
    "MOST",
    "RESIDUAL",
    "check",
    "codes_of",
    "documents",
    "hits",
    "residuals_of",
    "spelled",
]

CODE, DATA, RESIDUAL = "code", "csrkit", "csrkit_residual"
MOST = 16_384  # non-zeros of a vector


def spelled(codes: SparseVectors) -> list[dict[int, float]]:
    """Return each row as zvec takes it, latent to value."""
    latents, values = codes.indices.tolist(), codes.values.tolist()
    if len(codes) == 1:  # a query
        return [dict(zip(latents, values, strict=True))]
    spans = [slice(*span) for span in pairwise(codes.indptr.tolist())]
    return [dict(zip(latents[span], values[span], strict=True)) for span in spans]


def check(upsert: Upsert, fields: Mapping[str, DataType]) -> None:
    """Refuse what zvec would refuse in the middle, or change.

    Args:
        upsert: What is to be stored.
        fields: Type of each declared field.

    Raises:
        StoreError: If a code has too many non-zeros, or a payload a value that its field
            cannot hold.
    """
    counts = upsert.codes.counts
    if len(counts) and counts.max() > MOST:
        row = int(counts.argmax())
        raise StoreError(
            f"expected at most {MOST} non-zeros per code, as zvec holds them, got {counts[row]} "
            f"for id {upsert.ids[row]!r}: encode with fewer latents (k)"
        )
    for one, load in zip(upsert.ids, upsert.payloads or [], strict=False):
        for name in fields.keys() & load.keys():
            if not _fits(load[name], fields[name]):
                raise StoreError(
                    f"the payload of id {one!r} has {name}={load[name]!r}, which the declared "
                    f"field {name!r} of type {fields[name].name} cannot hold"
                )


_WHOLE = {
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.UINT64: (0, 2**64 - 1),
}
_LARGEST = {DataType.FLOAT: float(np.finfo(np.float32).max), DataType.DOUBLE: float("inf")}


def _fits(value: Any, kind: DataType) -> bool:
    """Tell whether a field holds the value unchanged but for rounding; None is no value."""
    if value is None:
        return True
    if kind.name.startswith("ARRAY_"):
        item = getattr(DataType, kind.name.removeprefix("ARRAY_"))
        return isinstance(value, list) and all(x is not None and _fits(x, item) for x in value)
    if kind in (DataType.STRING, DataType.BOOL):
        return isinstance(value, str if kind == DataType.STRING else bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind in _WHOLE:
        least, most = _WHOLE[kind]
        return isinstance(value, int) and least <= value <= most
    return abs(value) <= _LARGEST[kind]


def documents(batch: Upsert, fields: Mapping[str, DataType]) -> list[Doc]:
    """Spell a checked batch as documents.

    Args:
        batch: What is to be stored.
        fields: Type of each declared field.

    Returns:
        One document per id; without payloads, none has fields but ``csrkit`` and the residual.
    """
    loads = batch.payloads or [{}] * len(batch.ids)
    rows = zip(batch.ids, spelled(batch.codes), loads, strict=True)
    found = []
    for row, (one, code, load) in enumerate(rows):
        values = {name: load[name] for name in fields if load.get(name) is not None}
        values[DATA] = to_json([one, load or None]).decode()
        if batch.residuals is not None:
            values[RESIDUAL] = b64encode(batch.residuals[row].tobytes()).decode()
        found.append(Doc(key_of(one), vectors={CODE: code}, fields=values))
    return found


def hits(docs: Sequence[Doc]) -> list[Hit]:
    """Return documents that were found; parsing them all at once is quicker."""
    pairs = from_json(f"[{','.join([doc.fields[DATA] for doc in docs])}]", cache_strings="keys")
    found = zip(docs, pairs, strict=True)
    return [Hit(one, float(doc.score or 0), load) for doc, (one, load) in found]


def codes_of(docs: Sequence[Doc], dim: int) -> SparseVectors:
    """Return the codes of documents, one row each."""
    codes: list[Any] = [doc.vectors[CODE] for doc in docs]  # zvec's type allows dense ones too
    return stacked([list(one) for one in codes], [list(one.values()) for one in codes], dim)


def residuals_of(docs: Sequence[Doc], width: int) -> NDArray[np.uint8]:
    """Return the residuals of documents, uint8 (n, width)."""
    whole = b"".join([b64decode(doc.fields[RESIDUAL]) for doc in docs])
    return np.frombuffer(whole, np.uint8).reshape(-1, width)
