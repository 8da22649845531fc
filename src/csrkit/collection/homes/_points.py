"""Records of the embedded engine or of the client as a `Page`; both spell a point alike."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.collection.home import CodeVector, Home, Page, PointId
from csrkit.stores._ids import stored_id
from csrkit.stores._points import residual_name, residual_rows
from csrkit.stores.base import Hit
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["behind", "dense_rows", "drawn", "hits_of", "names_of", "page_of", "usable_page"]

_READ_ROWS = 1000  # of a sample, at a time


def names_of(codes: CodeVector) -> list[str]:
    """Return the names of the vectors that a job adds.

    Args:
        codes: Its sparse vector.

    Returns:
        The sparse vector, and that of the residuals if there is one.
    """
    return [codes.name, residual_name(codes.name)] if codes.residual_bytes else [codes.name]


def page_of(
    ids: Sequence[PointId],
    records: Iterable[Any],
    dense: tuple[str, int] | None,
    codes: CodeVector | None,
    payload: bool,
) -> Page:
    """Put records in the order that was asked for.

    The vector of a record is asked for once, packed and let go before the next: the engine
    makes a list of Python numbers each time, and a few of those stay in the processor's cache.

    Args:
        ids: Ids that were asked for.
        records: Those that are there, in any order.
        dense: Name and width of the dense vector to take, or None.
        codes: The codes to take, or None.
        payload: Whether to take payloads.

    Returns:
        The points that are there.
    """
    found = {stored_id(record.id): record for record in records}
    there = [one for one in ids if one in found]
    page = Page(there)
    vectors = (_named(found[one].vector) for one in there)
    if codes is not None:
        page = _with_codes(page, vectors, codes, dense)
    elif dense is not None:
        name, dim = dense
        page = page._replace(vectors=dense_rows((one.get(name) for one in vectors), dim))
    if payload:
        page = page._replace(payloads=[dict(found[one].payload or {}) for one in there])
    return page


def _named(vector: Any) -> dict[str, Any]:
    """Return the vectors of a point by name; engines give an unnamed one bare."""
    if vector is None:
        return {}
    return vector if isinstance(vector, dict) else {"": vector}


def _with_codes(
    page: Page,
    vectors: Iterable[dict[str, Any]],
    codes: CodeVector,
    dense: tuple[str, int] | None,
) -> Page:
    """Take codes and residuals, and the dense vector if it is asked for, in one pass."""
    names, blank = names_of(codes), [0.0] * codes.residual_bytes
    packed = _packer(dense[1]) if dense else None
    rows: list[bytes] = []
    latents: list[Sequence[int]] = []
    weights: list[Sequence[float]] = []
    rests: list[Sequence[float]] = []
    is_coded: list[bool] = []
    for vector in vectors:
        code, rest = vector.get(names[0]), vector.get(names[-1])
        latents.append([] if code is None else code.indices)
        weights.append([] if code is None else code.values)
        is_coded.append(code is not None and rest is not None)
        if codes.residual_bytes:
            rests.append(blank if rest is None else rest)
        if dense and packed:
            rows.append(packed(vector.get(dense[0])))
    return page._replace(
        vectors=_joined(rows, dense[1]) if dense else None,
        codes=_stacked(latents, weights, codes.n_latents),
        is_coded=np.array(is_coded, bool),
        residuals=residual_rows(rests, codes.residual_bytes) if codes.residual_bytes else None,
    )


def _stacked(
    latents: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], dim: int
) -> SparseVectors:
    """Stack sparse vectors; the engine promises no order of latents.

    One that is no code of this width, or holds NaN or infinity, becomes what no model makes: it
    is there, it is wrong, and a sweep replaces it.
    """
    from scipy.sparse import csr_array

    counts = np.fromiter(map(len, latents), np.int64, len(latents))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.fromiter(chain.from_iterable(latents), np.int64, indptr[-1])
    values = np.fromiter(chain.from_iterable(weights), np.float32, indptr[-1])
    odd = np.flatnonzero((indices < 0) | (indices >= dim) | ~np.isfinite(values))
    if len(odd):
        broken = set((np.searchsorted(indptr, odd, side="right") - 1).tolist())
        rows = [
            ([0], [-1.0]) if row in broken else pair
            for row, pair in enumerate(zip(latents, weights, strict=True))
        ]
        return _stacked([one for one, _ in rows], [one for _, one in rows], dim)
    return SparseVectors.from_scipy(csr_array((values, indices, indptr), shape=(len(latents), dim)))


def dense_rows(rows: Iterable[Any], dim: int) -> NDArray[np.float32]:
    """Stack dense vectors.

    Args:
        rows: Lists of numbers; None where a point has none.
        dim: Width.

    Returns:
        float32 (n, dim), a row of NaN for one that is missing or of another width.
    """
    return _joined(map(_packer(dim), rows), dim)


def _joined(rows: Iterable[bytes], dim: int) -> NDArray[np.float32]:
    packed = bytearray().join(rows)
    return np.frombuffer(packed, np.float32).reshape(-1, dim)


def _packer(dim: int) -> Callable[[Any], bytes]:
    """Return what makes float32 out of a list of numbers, in half of numpy's time."""
    pack = struct.Struct(f"{dim}f").pack
    blank = np.full(dim, np.nan, np.float32).tobytes()

    def packed(row: Any) -> bytes:
        if row is None or len(row) != dim:
            return blank
        try:
            return pack(*row)
        except (OverflowError, struct.error):  # beyond float32, or null for NaN: rejected later
            with np.errstate(over="ignore"):
                return np.array(row, dtype=np.float32).tobytes()

    return packed


def hits_of(points: Iterable[Any]) -> list[Hit]:
    """Return scored points as hits.

    Args:
        points: The engine's.

    Returns:
        Ids and scores, in their order.
    """
    return [Hit(stored_id(point.id), float(point.score)) for point in points]


def behind(
    pages: Iterable[tuple[list[Any], Any]], after: PointId | None
) -> Iterator[list[PointId]]:
    """Return pages of ids without the one that the caller has had: offsets are inclusive.

    Args:
        pages: Records and the next offset, as a scroll gives them.
        after: The last id that the caller has.

    Yields:
        Pages that are not empty.
    """
    for records, _ in pages:
        ids = [stored_id(record.id) for record in records]
        if ids[:1] == [after]:
            del ids[0]
        if ids:
            yield ids


def drawn(pages: Iterable[list[PointId]], n: int, seed: int) -> list[PointId]:
    """Draw ids uniformly out of a stream, holding no more than it returns and a page.

    Each id gets a random number, and those of the smallest stay.

    Args:
        pages: All ids.
        n: Ids wanted.
        seed: Seed of the draw.

    Returns:
        At most n ids.
    """
    rng = np.random.default_rng(seed)
    kept: list[PointId] = []
    keys = np.empty(0)
    for page in pages:
        kept, keys = kept + page, np.concatenate([keys, rng.random(len(page))])
        if len(kept) > n:
            best = np.sort(np.argpartition(keys, n)[:n])
            kept, keys = [kept[i] for i in best.tolist()], keys[best]
    return kept


def usable_page(home: Home, ids: Sequence[PointId], vector: str) -> Page:
    """Read the dense vectors of a sample, those that can be encoded.

    Args:
        home: Where.
        ids: Points.
        vector: Name of the dense vector.

    Returns:
        A page without rows of NaN, infinity or zeros alone.
    """
    there: list[PointId] = []
    parts: list[NDArray[np.float32]] = []
    for start in range(0, max(len(ids), 1), _READ_ROWS):
        page = home.read(ids[start : start + _READ_ROWS], vector=vector)
        rows = page.vectors
        assert rows is not None  # it was asked for
        good = np.flatnonzero(np.isfinite(rows).all(axis=1) & rows.any(axis=1))
        there += [page.ids[row] for row in good.tolist()]
        parts.append(rows[good])
    return Page(there, np.concatenate(parts))
