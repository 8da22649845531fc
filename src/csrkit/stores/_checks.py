"""What every store refuses, checked in one place before anything is sent.

No two engines agree on what they refuse (Qdrant's embedded engine takes a
payload that it cannot read back, and then no longer opens the folder), so the
stores decide it here and the engines never see invalid input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.errors import ConfigError, ShapeError, StoreError
from csrkit.stores._ids import ID_KEY, checked_ids, is_utf8, shown
from csrkit.stores.base import Ids, Payload
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Held",
    "Upsert",
    "checked_codec",
    "checked_dense",
    "checked_dim",
    "checked_held",
    "checked_limit",
    "checked_upsert",
    "checked_vector",
    "kept_residuals",
]

# Qdrant's engine accepts JSON nested 125 deep and can then neither read the
# payload nor reload its write-ahead log (seen in qdrant-edge-py 0.9.0).
MAX_DEPTH = 64


class Held(NamedTuple):
    """What the first upsert fixed.

    Attributes:
        dim: Width of the codes.
        residual_bytes: Bytes per residual; 0 if none are kept.
        codec: Fingerprint of the codec; None if it was not known.
    """

    dim: int
    residual_bytes: int = 0
    codec: str | None = None


class Upsert(NamedTuple):
    """A checked upsert.

    Attributes:
        ids: Plain ids, each once.
        codes: One row per id.
        payloads: A copy per id, or None to keep what is stored.
        residuals: uint8 (n, width), or None if the store keeps none.
    """

    ids: list[int | str]
    codes: SparseVectors
    payloads: list[dict[str, Any]] | None
    residuals: NDArray[np.uint8] | None = None

    @property
    def held(self) -> Held:
        """What this upsert fixes if it is the first."""
        return Held(self.codes.dim, 0 if self.residuals is None else self.residuals.shape[1])

    def batches(self, size: int) -> Iterator[tuple[Upsert, str]]:
        """Cut the upsert into parts.

        Args:
            size: Most codes per part.

        Yields:
            A part, and what storing it does, for messages.
        """
        for start in range(0, len(self.ids), size):
            part = slice(start, start + size)
            batch = Upsert(
                self.ids[part],
                self.codes[part],
                None if self.payloads is None else self.payloads[part],
                None if self.residuals is None else self.residuals[part],
            )
            where = f"after {start} of {len(self.ids)} were stored"
            yield batch, f"upsert {shown(batch.ids)}, {where}"


def checked_upsert(
    ids: Ids,
    codes: SparseVectors,
    payloads: Sequence[Payload | None] | None,
    held: Held | None,
    residuals: NDArray[np.uint8] | None = None,
) -> Upsert:
    """Check the arguments of `Store.upsert` or `ResidualStore.upsert`.

    Args:
        ids: One per code.
        codes: Rows to store.
        payloads: One per code, or None.
        held: What the store holds, None before the first upsert.
        residuals: uint8 (n, width), or None.

    Returns:
        The same, plain and copied.

    Raises:
        ShapeError: If lengths or widths do not match.
        StoreError: If an id or a payload is refused.
    """
    _check_codes(codes)
    plain = checked_ids(ids, unique=True)
    if len(plain) != len(codes):
        raise ShapeError(f"expected one id per code, got {len(plain)} ids and {len(codes)} codes")
    copies = None
    if payloads is not None:
        loads = _listed(payloads)
        if len(loads) != len(codes):
            raise ShapeError(
                f"expected one payload per code, got {len(loads)} payloads and {len(codes)} codes"
            )
        copies = [_payload(one, load) for one, load in zip(plain, loads, strict=True)]
    upsert = Upsert(plain, codes, copies, _rows_of_bytes(residuals, len(codes)))
    checked_held(upsert, held)
    return upsert


def _listed(payloads: Any) -> list[Any]:
    """List payloads; refuse what iterates over keys, columns or characters instead."""
    shape = tuple(getattr(payloads, "shape", (0,)))
    keyed = isinstance(payloads, Mapping | Set | str | bytes)
    if isinstance(payloads, Iterable) and not keyed and len(shape) == 1:
        return list(payloads)
    got = type(payloads).__name__ if shape == (0,) else f"one of shape {shape}"
    raise ShapeError(
        "expected payloads as a list of one JSON object or None per code, such as "
        f"df.to_dict('records'), got {got}"
    )


def _check_codes(codes: Any) -> None:
    if not isinstance(codes, SparseVectors):
        raise ShapeError(
            f"expected SparseVectors, got {type(codes).__name__}: "
            "a store takes what model.encode(...) returns"
        )


def checked_dim(codes: SparseVectors, dim: int | None) -> None:
    """Refuse codes of another width than the store holds.

    Args:
        codes: Codes to store or to search with.
        dim: Width of the store, None before the first upsert.

    Raises:
        ShapeError: If the widths differ.
    """
    _check_codes(codes)
    if dim is not None and codes.dim != dim:
        raise ShapeError(
            f"expected codes over {dim} latents, as this store holds them, got {codes.dim}: "
            "they come from another model"
        )


def checked_held(upsert: Upsert, held: Held | None) -> None:
    """Refuse an upsert that differs from the first one.

    Args:
        upsert: What is to be stored.
        held: What the store holds, None before the first upsert.

    Raises:
        ShapeError: If a width differs.
    """
    if held is None:
        return
    checked_dim(upsert.codes, held.dim)
    want, got = held.residual_bytes, upsert.held.residual_bytes
    if want == got or not upsert.ids:
        return
    if not want:
        raise ShapeError(
            f"expected no residuals, as this store was filled without any, got {got} bytes per "
            "code: store all codes again, in a new store, to keep them"
        )
    raise ShapeError(
        f"expected residuals of {want} bytes per code, as this store holds them, got "
        + (
            f"{got}: they come from another model"
            if got
            else "none: pass residuals= with the codes"
        )
    )


def checked_codec(held: str | None, codec: str | None) -> None:
    """Refuse the codes of one codec in a store of another's.

    Args:
        held: Fingerprint of the codec that the store is of, None if it is not known.
        codec: That of the codec in use, None if it is not known.

    Raises:
        StoreError: If both are known and differ.
    """
    if held is not None and codec is not None and held != codec:
        raise StoreError(
            f"this store is of the codec {held[:12]}, got the codec {codec[:12]}: use the one that "
            "it was filled with, or encode the documents again into a new store"
        )


def _rows_of_bytes(residuals: Any, n: int) -> NDArray[np.uint8] | None:
    if residuals is None:
        return None
    rows = np.asarray(residuals)
    if rows.dtype != np.uint8 or rows.ndim != 2 or len(rows) != n or not rows.shape[1]:
        raise ShapeError(
            f"expected residuals as uint8 of shape ({n}, width), one row per code, "
            f"got {rows.dtype} of shape {rows.shape}"
        )
    return rows


def kept_residuals(residuals: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return residuals that were fetched.

    Args:
        residuals: As `ResidualStore.fetch_both` gives them.

    Returns:
        The same.

    Raises:
        StoreError: If the store keeps none.
    """
    if residuals is None:
        raise StoreError(
            "this store keeps no residuals: its first upsert came without; "
            "store the codes again, in a new store, with residuals="
        )
    return residuals


def checked_limit(limit: int) -> None:
    """Refuse a limit that is no positive whole number.

    Args:
        limit: Most hits per query.

    Raises:
        ConfigError: If it is not.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        hint = ": pass int(limit)" if isinstance(limit, np.integer) else ""
        raise ConfigError(f"expected a limit of at least 1 hit, got limit={limit!r}{hint}")


def checked_dense(
    codes: SparseVectors, queries: Any, *, candidates: int, limit: int
) -> NDArray[np.float32]:
    """Check the arguments of `DenseStore.search_dense` that need no store.

    Args:
        codes: Queries of the first stage.
        queries: The same for the second, numbers of shape (q, dim).
        candidates: Documents that the first stage passes on.
        limit: Most hits per query.

    Returns:
        The queries as float32 (q, dim).

    Raises:
        ConfigError: If limit is below 1, or there are fewer candidates than limit.
        ShapeError: If there is not one finite query per code.
    """
    checked_limit(limit)
    _check_codes(codes)
    whole = isinstance(candidates, int) and not isinstance(candidates, bool)
    if not whole or candidates < limit:
        raise ConfigError(
            f"expected at least as many candidates as hits, limit={limit}, got {candidates=}"
        )
    rows = np.asarray(queries)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or len(rows) != len(codes):
        raise ShapeError(
            f"expected one dense query per code, numbers of shape ({len(codes)}, dim), "
            f"got {rows.dtype} of shape {rows.shape}"
        )
    rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        row = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise ShapeError(f"expected finite dense queries, got NaN or infinity in row {row}")
    return rows


def checked_vector(vector: str, sizes: Mapping[str, int], queries: NDArray[np.float32]) -> None:
    """Refuse a dense vector that the store does not have, or of another width.

    Args:
        vector: Name of the vector.
        sizes: Width of each dense vector of the store.
        queries: float32 (q, dim).

    Raises:
        ShapeError: If the queries have another width than the vector.
        StoreError: If there is no such vector.
    """
    if vector not in sizes:
        there = f"there are {sorted(sizes)}" if sizes else "it holds none"
        raise StoreError(f"the store has no dense vector {vector!r}: {there}")
    if queries.shape[1] != sizes[vector]:
        raise ShapeError(
            f"expected queries of {sizes[vector]} dimensions, as the dense vector {vector!r} "
            f"has them, got {queries.shape[1]}"
        )


def _payload(one: int | str, payload: Payload | None) -> dict[str, Any]:
    """Copy a payload as JSON holds it, so that later changes do not reach the store."""
    if payload is None:
        return {}
    if not isinstance(payload, Mapping):
        raise StoreError(
            f"expected a JSON object or None as the payload of id {one!r}, "
            f"got {type(payload).__name__}"
        )
    if ID_KEY in payload:
        raise StoreError(f"the payload of id {one!r} uses the key {ID_KEY!r}, which csrkit keeps")
    try:
        copy: dict[str, Any] = _json(payload, MAX_DEPTH)
    except ValueError as error:
        raise StoreError(f"the payload of id {one!r} {error}") from error
    return copy


def _json(value: Any, depth: int) -> Any:
    """Copy a JSON value; ValueError says what is none. What is usual comes first: it is hot."""
    if depth == 0:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return _text(value, "value") if kind is str else value
    if kind is int and -(2**63) <= value < 2**64:
        return value
    if kind is dict or (kind is not float and isinstance(value, Mapping)):
        return {_text(key, "key"): _json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, depth - 1) for item in value]
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:  # Qdrant would round it to a float
            raise ValueError(f"holds {value}, which no 64-bit integer can")
        return int(value)  # of an enumeration
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"holds {value}, which JSON cannot")
        return float(value)  # of numpy
    return _text(value, "value")


def _text(value: Any, role: str) -> str:
    if type(value) is str and value.isascii():
        return value
    if not isinstance(value, str):
        raise ValueError(f"holds the {role} {value!r} of type {type(value).__name__}, not JSON")
    if not is_utf8(value):
        raise ValueError(f"holds the {role} {value!r}, which UTF-8 cannot: half a surrogate pair")
    return str.__str__(value)
