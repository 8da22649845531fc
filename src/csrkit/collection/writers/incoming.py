"""Points that a service is about to write: checked before anything is sent, as the stores do.

No engine refuses all of this by itself: the embedded one takes NaN in a vector, and a payload
that it cannot read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import numpy as np
from pydantic_core import to_jsonable_python

from csrkit.collection.facts import DenseVector
from csrkit.collection.home import PointId
from csrkit.errors import ShapeError, StoreError
from csrkit.stores._checks import MAX_DEPTH, _json
from csrkit.stores._ids import checked_ids, point_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Incoming", "Named", "as_sent", "as_stored", "checked_points"]


class Named(NamedTuple):
    """The vectors of a collection.

    Attributes:
        source: Name of the dense vector that is encoded.
        dim: Its width.
        dense: The dense vectors there are, by name; the source is not among them once it
            was dropped.
        sparse: Names of the sparse vectors.
        own: Names that csrkit writes: the codes and their residuals.
    """

    source: str
    dim: int
    dense: Mapping[str, DenseVector]
    sparse: frozenset[str]
    own: frozenset[str]


class Incoming(NamedTuple):
    """Checked points.

    Attributes:
        ids: Their ids as the engine spells them, each once.
        rows: float32 (n, dim), the vectors to encode, as they are to be sent.
        others: The other vectors of each point, by name, as they came.
        payloads: JSON, or None where a point has none.
    """

    ids: list[PointId]
    rows: NDArray[np.float32]
    others: list[dict[str, Any]]
    payloads: list[dict[str, Any] | None]

    def part(self, start: int, stop: int) -> Incoming:
        """Return some of the points.

        Args:
            start: The first.
            stop: The one behind the last.

        Returns:
            Those points.
        """
        some = slice(start, stop)
        return Incoming(self.ids[some], self.rows[some], self.others[some], self.payloads[some])


def checked_points(points: Iterable[Any], named: Named) -> Incoming:
    """Check points, all of them before any is sent.

    Args:
        points: Objects with ``id``, ``vector`` and ``payload``, such as ``models.PointStruct``;
            without a payload, such as ``models.PointVectors``, they have none.
        named: The vectors of the collection.

    Returns:
        The same, plain.

    Raises:
        ShapeError: If the vector to encode is missing, of another width, not finite or zero,
            or another dense vector is of the wrong width or not finite.
        StoreError: If something is no point, an id is none of the engine's or occurs twice, a
            payload is no JSON, or a vector is not the collection's or is csrkit's own.
    """  # noqa: DOC502  # raised by helpers
    if not isinstance(points, Iterable):
        raise StoreError(f"expected a list of points, got {points!r}: pass [point] for one")
    points = list(points)
    for point in points:
        if not (hasattr(point, "id") and hasattr(point, "vector")):
            raise StoreError(
                "expected points with id, vector and payload, such as models.PointStruct, got "
                f"{type(point).__name__}; nothing was sent"
            )
    ids = _ids(point.id for point in points)
    others = [_vectors(point.vector) for point in points]
    rows = np.empty((len(ids), named.dim), np.float32)
    for row, (one, vectors) in enumerate(zip(ids, others, strict=True)):
        rows[row] = _source(one, vectors, named)
        for name, vector in vectors.items():
            _check_other(one, name, vector, named)
    payloads = [
        _payload(one, getattr(point, "payload", None))
        for one, point in zip(ids, points, strict=True)
    ]
    dense = named.dense.get(named.source)
    _refuse_zero(ids, rows, named.source)
    rows = as_sent(rows, dense)
    rounded = f" once it is rounded to {dense.datatype}" if dense else ""
    _refuse_zero(ids, as_stored(rows, dense), named.source, rounded)
    return Incoming(ids, rows, others, payloads)


def _source(one: PointId, vectors: dict[str, Any], named: Named) -> NDArray[np.float32]:
    """Take the vector to encode out of those of a point."""
    vector = vectors.pop(named.source, None)
    if vector is None:
        raise ShapeError(
            f"point {one!r} has no vector {named.source!r} to encode: give it, or write the "
            "point with the vendor's own client, without a code; nothing was sent"
        )
    return _numbers(one, named.source, vector, named.dim)


def _ids(ids: Iterable[Any]) -> list[PointId]:
    plain = checked_ids([_canonical(one) for one in ids], unique=True)
    for one in plain:
        if point_id(one) != one:
            raise StoreError(
                f"expected ids that Qdrant takes, whole numbers and UUIDs, got {one!r}; "
                "nothing was sent"
            )
    return plain


def _canonical(one: Any) -> Any:
    """Spell a UUID as the engine gives it back, and leave anything else as it is."""
    try:
        return str(UUID(one)) if isinstance(one, str) else one
    except ValueError:
        return one


def _vectors(vector: Any) -> dict[str, Any]:
    """Return the vectors of a point by name; an unnamed one comes bare."""
    if vector is None or isinstance(vector, Mapping):
        return dict(vector or {})
    return {"": vector}


def _numbers(one: PointId, name: str, vector: Any, dim: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # beyond float32 it becomes infinite, and is refused
            row = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ShapeError(
            f"expected {dim} numbers as the vector {name!r} of point {one!r}, got "
            f"{type(vector).__name__}: {error}; nothing was sent"
        ) from error
    if row.shape != (dim,):
        raise ShapeError(
            f"expected {dim} numbers as the vector {name!r} of point {one!r}, got shape "
            f"{row.shape}; nothing was sent"
        )
    if not np.isfinite(row).all():
        raise ShapeError(
            f"expected finite numbers as the vector {name!r} of point {one!r}, got NaN or "
            "infinity; nothing was sent"
        )
    return row


def _refuse_zero(ids: list[PointId], rows: NDArray[np.float32], name: str, why: str = "") -> None:
    zero = ~rows.any(axis=1)
    if zero.any():
        raise ShapeError(
            f"expected a vector {name!r} other than zero, got zeros alone{why} for point "
            f"{ids[int(np.argmax(zero))]!r}: it has no direction to encode; nothing was sent"
        )


def _check_other(one: PointId, name: str, vector: Any, named: Named) -> None:
    if name in named.own:
        raise StoreError(
            f"point {one!r} brings a vector {name!r}, which is made here from {named.source!r}: "
            "leave it out; nothing was sent"
        )
    dense = named.dense.get(name)
    if dense is None and name not in named.sparse:
        there = ", ".join(map(repr, sorted({*named.dense, *named.sparse} - named.own)))
        raise StoreError(
            f"point {one!r} has a vector {name!r}, the collection has {there or 'none'}; "
            "nothing was sent"
        )
    is_plain = isinstance(vector, list | tuple | np.ndarray)  # else the vendor's, such as a text
    if dense is not None and not dense.is_multi and is_plain:
        _numbers(one, name, vector, dense.dim)


def _payload(one: PointId, payload: Any) -> dict[str, Any] | None:
    """Copy a payload as JSON holds it; dates and the like become text as with the client."""
    if payload is None:
        return None
    try:
        plain = to_jsonable_python(payload)
        if not isinstance(plain, dict):
            raise ValueError(f"is {type(payload).__name__}, expected a JSON object")
        return dict(_json(plain, MAX_DEPTH))
    except ValueError as error:
        raise StoreError(f"the payload of point {one!r} {error}; nothing was sent") from error


# -- what the engine makes of a vector ------------------------------------------


def as_sent(rows: NDArray[np.float32], dense: DenseVector | None) -> NDArray[np.float32]:
    """Scale rows to norm 1 where the engine would: it leaves those alone, bit for bit.

    Args:
        rows: float32 (n, dim), none of them zero.
        dense: The vector they are for; None if it is not kept.

    Returns:
        float32 (n, dim).
    """
    if dense is None or dense.distance != "Cosine" or dense.datatype == "uint8":
        return rows
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / norms, np.float32)


def as_stored(rows: NDArray[np.float32], dense: DenseVector | None) -> NDArray[np.float32]:
    """Return what a later read will give, so that codes are those of a later backfill.

    Args:
        rows: float32 (n, dim), as `as_sent` gives them.
        dense: The vector they are for; None if it is not kept.

    Returns:
        float32 (n, dim), rounded as the vector's datatype does it.
    """
    if dense is not None and dense.datatype == "float16":
        with np.errstate(over="ignore"):
            return rows.astype(np.float16).astype(np.float32)
    if dense is not None and dense.datatype == "uint8":
        return np.clip(np.trunc(rows), np.float32(0), np.float32(255))
    return rows
