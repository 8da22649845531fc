"""Between codes and pgvector's spellings of them.

A ``sparsevec`` travels as text, ``{1:0.5,4:1}/64`` with latents from 1, or as bytes, latents
from 0, all big-endian: int32 width, count and 0, then the latents (int32), then their values
(float32).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from struct import Struct
from typing import Any

import numpy as np
from pydantic_core import to_json

from csrkit.stores.adapter import Upsert
from csrkit.vectors import SparseVectors

__all__ = ["copied", "in_order", "spelled_code", "unpacked"]

_HEADER = 12  # bytes before the latents
_PART = 500  # rows that are made at a time
_JSONB = b"\1"  # version that goes before the text of a jsonb
_LARGE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.]*e\+\d+')  # a string, or 1e+16 and larger


def spelled_code(code: SparseVectors) -> str:
    """Spell one code as text.

    Args:
        code: A batch of one row.

    Returns:
        Such as ``{1:0.5,4:1.0}/64``, from which the server reads the same float32 values.
    """
    pairs = zip(code.indices.tolist(), code.values.tolist(), strict=True)
    return f"{{{','.join([f'{latent + 1}:{value}' for latent, value in pairs])}}}/{code.dim}"


def unpacked(bodies: Sequence[bytes], dim: int) -> SparseVectors:
    """Stack codes as the server sends them.

    Args:
        bodies: One sparsevec each, as bytes.
        dim: Width of the codes.

    Returns:
        One row per body.
    """
    counts = [(len(one) - _HEADER) // 8 for one in bodies]
    middles = [_HEADER + 4 * count for count in counts]
    pairs = list(zip(bodies, middles, strict=True))
    indices = b"".join([one[_HEADER:middle] for one, middle in pairs])
    values = b"".join([one[middle:] for one, middle in pairs])
    indptr = np.cumsum([0, *counts])
    return SparseVectors(
        indptr,
        np.frombuffer(indices, ">i4").astype(np.int32),
        np.frombuffer(values, ">f4").astype(np.float32),
        dim,
    )


def in_order(upsert: Upsert) -> Upsert:
    """Sort by id, so that two writers wait for each other's rows and not crosswise.

    Args:
        upsert: What is to be stored.

    Returns:
        The same, strings first, as PostgreSQL sorts a jsonb.
    """
    ids = upsert.ids
    rows, is_mixed = range(len(ids)), len(set(map(type, ids))) > 1
    by_kind = [(isinstance(one, int), one) for one in ids] if is_mixed else ids
    order = sorted(rows, key=by_kind.__getitem__)
    if order == list(rows):
        return upsert
    return Upsert(
        [ids[row] for row in order],
        upsert.codes[order],
        upsert.payloads and [upsert.payloads[row] for row in order],
        None if upsert.residuals is None else upsert.residuals[order],
    )


def copied(
    batch: Upsert, ids: Sequence[bytes], fields: Sequence[str]
) -> Iterator[tuple[bytes | None, ...]]:
    """Make the rows of a binary COPY, by far the fastest way in.

    A part at a time, so that the server stores one while the next is made.

    Args:
        batch: What is to be stored.
        ids: The ids as their column takes them.
        fields: Which of "payload", "code" and "residual" are to follow the id, in this order.

    Yields:
        One row per id.
    """
    for start in range(0, len(ids), _PART):
        part = slice(start, start + _PART)
        columns: list[Sequence[bytes | None]] = [ids[part]]
        if "payload" in fields:
            loads = batch.payloads[part] if batch.payloads else [{}] * len(columns[0])
            columns.append([_JSONB + _json(load) if load else None for load in loads])
        if "code" in fields:
            columns.append(_packed(batch.codes[part]))
        if "residual" in fields and batch.residuals is not None:
            columns.append(list(map(bytes, batch.residuals[part])))
        yield from zip(*columns, strict=True)


def _packed(codes: SparseVectors) -> list[bytes]:
    """Spell codes as the server sends and reads them."""
    head, dim = Struct(">iii").pack, codes.dim
    indices = codes.indices.astype(">i4").tobytes()
    values = codes.values.astype(">f4").tobytes()
    return [
        head(dim, (stop - start) // 4, 0) + indices[start:stop] + values[start:stop]
        for start, stop in pairwise((4 * codes.indptr).tolist())
    ]


def _json(payload: Mapping[str, Any]) -> bytes:
    """Spell a payload so that floats come back as floats: a jsonb forgets exponents, not zeros."""
    text = to_json(payload)
    return _LARGE.sub(_written_out, text) if b"e+" in text else text


def _written_out(found: re.Match[bytes]) -> bytes:
    number = found[0].decode()
    return found[0] if number.startswith('"') else f"{Decimal(number):f}.0".encode()
