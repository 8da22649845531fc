"""What may be planned: the collection as it describes itself, the k, the distance.

Everything here that needs no vectors is also what ``csrkit compress --dry-run`` checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from csrkit.collection.home import Description, Home
from csrkit.collection.plans.facts import Collection
from csrkit.errors import ConfigError
from csrkit.stores._points import residual_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = [
    "ENTRY_BYTES",
    "agreement",
    "check_distance",
    "chosen_ks",
    "collection_of",
    "found_collection",
    "outlined",
    "ranked_alike",
    "sized",
    "source_bytes",
]

KS = (16, 32, 64)
ENTRY_BYTES = 8  # of a stored code: a uint32 index and a float32 value per latent
POSTING_BYTES = 12  # per latent at most, in an index that is still written to
_ITEM_BYTES = {"float32": 4, "float16": 2, "uint8": 1}
_UNIT = 1e-3  # lengths nearer to 1 than this: inner product and distance rank as the cosine
_ALIKE, _TOO_FAR = 0.99, 0.9  # of the nearest 10 that two distances share
_DEPTH = 10
_ASKED, _AMONG = 50, 2000  # rows that serve as queries, and others that are ranked


def source_bytes(source: Collection) -> int:
    """Return the bytes of one dense vector, without graph or copy."""
    return source.dim * _ITEM_BYTES.get(source.datatype, 4)


def found_collection(home: Home, vector: str, name: str) -> Collection:
    """Describe a collection, or say why it cannot be compressed.

    Args:
        home: The collection.
        vector: Name of the dense vector.
        name: Name of the sparse vector that would be added.

    Returns:
        What was found.

    Raises:
        ConfigError: If the collection is empty, has no such vector or one of several rows
            per point, or a vector of the new name is there and not csrkit's.
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    now = home.describe()
    found = collection_of(now, home.url, vector, name)
    if not name or name == vector:
        raise ConfigError(f"expected a name for the codes other than {vector!r}, got name={name!r}")
    if not now.count:
        raise ConfigError(f"{home.url} holds no points, so there is nothing to compress")
    taken = {*now.sparse, *(one.name for one in now.dense)}
    for each in (name, residual_name(name)):
        if each in taken and home.marker(name) is None:
            raise ConfigError(
                f"{home.url} has a vector {each!r} that carries no marker of csrkit and is never "
                "taken over: choose another name= for the codes"
            )
    return found


def collection_of(now: Description, url: str, vector: str, name: str) -> Collection:
    """Put in a plan's words what a collection says of itself.

    Args:
        now: Its description.
        url: Where it is.
        vector: Name of the dense vector.
        name: Name of the sparse vector that would be added.

    Returns:
        What was found.

    Raises:
        ConfigError: If there is no such vector, or one of several rows per point.
    """  # noqa: DOC502  # raised by a helper
    source = now.source(vector)
    return Collection(
        url=url,
        engine=now.engine,
        version=now.version,
        vector=vector,
        name=name,
        points=now.count,
        dim=source.dim,
        distance=source.distance,
        datatype=source.datatype,
        quantization=source.quantization,
        on_disk=source.on_disk,
        adding="in place" if now.can_add_in_place else "copy",
    )


def chosen_ks(
    k: int | Sequence[int] | None, source: Collection, n_latents: int | None
) -> tuple[int, ...]:
    """Check the latents per code, or choose them.

    Args:
        k: One k or several; None for 16, 32 and 64 as far as they make sense.
        source: The collection.
        n_latents: Width of the codes of a given model; None if one is to be fitted.

    Returns:
        The k, rising, each once.

    Raises:
        ConfigError: If a k is no whole number from 1, more than the model has latents, or
            its codes would not be smaller than the vectors.
    """
    whole = source_bytes(source)
    most = (whole - 1) // ENTRY_BYTES
    most = most if n_latents is None else min(most, n_latents)
    asked = KS if k is None else tuple(k) if isinstance(k, Sequence) else (k,)
    if not asked or any(isinstance(one, bool) or not isinstance(one, int) for one in asked):
        raise ConfigError(f"expected k as whole numbers from 1, got k={k!r}")
    wrong = [one for one in asked if not 1 <= one <= most]
    if k is not None and wrong:
        raise ConfigError(
            f"expected k from 1 to {most} for {source.dim} dimensions of {source.datatype}, got "
            f"k={wrong[0]}: a code takes {ENTRY_BYTES} bytes per latent and its postings come on "
            f"top, so it would save nothing against the {whole} bytes of a vector"
            if n_latents is None or wrong[0] <= n_latents
            else f"expected k up to the model's {n_latents} latents, got k={wrong[0]}"
        )
    kept = tuple(sorted({one for one in asked if one not in wrong}))
    if not kept:
        raise ConfigError(
            f"vectors of {source.dim} dimensions in {source.datatype} take {whole} bytes, too few "
            "for codes to save any: quantise them (int8 or binary) instead, or pass a smaller k="
        )
    return kept


def outlined(source: Collection, k: int, residuals: bool) -> Iterator[str]:
    """Say what is known before anything is read.

    Args:
        source: The collection.
        k: Latents per code.
        residuals: Whether residuals are kept.

    Yields:
        Sentences.
    """
    whole = source_bytes(source)
    rest = -(-source.dim // 8) if residuals else 0  # of the default, 1 bit per dimension
    least = k * ENTRY_BYTES + rest
    most = least + k * POSTING_BYTES
    yield (
        f"a vector takes {whole:,} bytes, a code about {least:,} and its postings up to "
        f"{most - least:,} more: up to {sized(source.points * most)} on disk for all points"
    )
    if whole <= k * ENTRY_BYTES:
        yield f"codes of k={k} are no smaller than the vectors: choose a smaller k"
    if source.adding == "copy":
        yield (
            f"{source.engine} {source.version} cannot add a vector in place: a copy takes the "
            "size of the collection once more"
        )


def sized(n_bytes: float) -> str:
    """Spell a number of bytes, such as "5.8 MB"."""
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 1000 or unit == "GB":
            break
    return f"{n_bytes:,.{1 if n_bytes < 100 else 0}f} {unit}"


def ranked_alike(home: Home, source: Collection) -> str | None:
    """Refuse a collection that ranks otherwise than by the cosine; reads a sample if it may.

    Args:
        home: The collection.
        source: What it says of itself.

    Returns:
        A warning where it ranks a little differently, else None.

    Raises:
        ConfigError: If fewer than 9 of the nearest 10 agree.
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    if source.distance == "Cosine":
        return None
    rows = home.sample(_ASKED + _AMONG, source.vector).vectors
    assert rows is not None  # it was asked for
    return check_distance(source, rows)


def check_distance(source: Collection, rows: Floats) -> str | None:
    """Refuse vectors that rank otherwise by their own distance than by the cosine.

    Args:
        source: The collection.
        rows: float32 (n, dim), a sample as it is stored.

    Returns:
        A warning where they rank a little differently, else None.

    Raises:
        ConfigError: If fewer than 9 of the nearest 10 agree.
    """
    alike = agreement(rows, source.distance)
    if alike >= _ALIKE:
        return None
    said = (
        f"{source.vector!r} ranks by {source.distance} and codes by the cosine: of the nearest "
        f"{_DEPTH} by {source.distance}, {_DEPTH * alike:.1f} are among the nearest {_DEPTH} by "
        "the cosine in the sample"
    )
    if alike < _TOO_FAR:
        raise ConfigError(
            f"{said}, so codes cannot find what this collection finds: keep {source.distance} and "
            "quantise the vectors (int8), or, if the embedding model is meant for the cosine, "
            "store them with the distance Cosine"
        )
    return f"{said}; recall here is against the cosine."


def agreement(rows: Floats, distance: str) -> float:
    """Measure how many of the nearest 10 a distance shares with the cosine.

    Args:
        rows: float32 (n, dim), as stored.
        distance: "Cosine", "Dot", "Euclid" or "Manhattan".

    Returns:
        A share from 0 to 1, the mean over up to 50 of the rows as queries; 1 for 10 rows or
        fewer.
    """
    if len(rows) <= _DEPTH:
        return 1.0  # all of them are among the nearest 10
    lengths = np.linalg.norm(rows, axis=1)
    if distance == "Cosine" or (distance != "Manhattan" and np.ptp(lengths) <= _UNIT * lengths[0]):
        return 1.0
    at = min(_ASKED, len(rows) // 4)
    asked, docs = rows[:at], rows[at : at + _AMONG]
    depth = min(_DEPTH, len(docs))
    unit = docs / np.linalg.norm(docs, axis=1, keepdims=True)
    shared = []
    for query in asked:
        own = _nearness(query, docs, distance)
        best, alike = (np.argpartition(-one, depth - 1)[:depth] for one in (own, unit @ query))
        shared.append(len(np.intersect1d(best, alike)) / depth)
    return float(np.mean(shared))


def _nearness(query: Floats, docs: Floats, distance: str) -> NDArray[np.float32]:
    if distance == "Dot":
        return np.asarray(docs @ query)
    apart = docs - query
    return -np.asarray(
        np.abs(apart).sum(axis=1) if distance == "Manhattan" else (apart**2).sum(axis=1)
    )
