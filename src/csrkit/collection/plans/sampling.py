"""The sample of a plan: rows to fit on, rows to search, queries; and how fast rows come.

Rows that are searched were not fitted on, as most of a large collection is not: codes of
rows that a model has seen rank better. Where the sample is the whole collection all of it
is searched, as a job would fit on all of it too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from csrkit.collection.home import Home
from csrkit.collection.plans.facts import Collection
from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["LEAST_ROWS", "Drawn", "Parts", "draw", "parted"]

LEAST_ROWS = 400  # usable points: half to fit on, 20 queries, and enough to search
LEAST_QUERIES = 20
_BYTES = 128 << 20  # of vectors that are read at most
_TIMED_ROWS = 2048


@dataclass(frozen=True)
class Drawn:
    """What was read.

    Attributes:
        rows: float32 (n, dim), as stored, in random order.
        wanted: Points asked for.
        is_whole: Whether that was the whole collection.
        read_rate: Points per second that the home gives with their vectors.
    """

    rows: Floats
    wanted: int
    is_whole: bool
    read_rate: float


class Parts(NamedTuple):
    """The sample, dealt out; rows of norm 1.

    Attributes:
        fit: float32 (m, dim), to fit on; empty if a model was given.
        docs: float32 (n, dim), to search.
        queries: float32 (q, dim), none of them in ``docs`` or ``fit``.
        kind: Whether queries were given.
    """

    fit: Floats
    docs: Floats
    queries: Floats
    kind: Literal["given", "documents"]


def draw(home: Home, source: Collection, size: int, seed: int) -> Drawn:
    """Read a uniform sample.

    Args:
        home: The collection.
        source: What it is.
        size: Points wanted; fewer are read if they are very wide.
        seed: Seed of the draw, where the engine leaves it to the caller.

    Returns:
        Rows that can be encoded.

    Raises:
        ConfigError: If there are too few of them.
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    if isinstance(size, bool) or not isinstance(size, int) or size < LEAST_ROWS:
        raise ConfigError(f"expected a sample of at least {LEAST_ROWS} points, got sample={size!r}")
    wanted = min(size, source.points, max(LEAST_ROWS, _BYTES // (4 * source.dim)))
    page = home.sample(wanted, source.vector, seed=seed)
    assert page.vectors is not None  # a sample has them
    if len(page.ids) < LEAST_ROWS:
        raise ConfigError(
            f"expected at least {LEAST_ROWS} points with a usable vector {source.vector!r}, got "
            f"{len(page.ids)} of {wanted} drawn from {source.points}: "
            + _remedy(len(page.ids), wanted)
        )
    again = page.ids[:_TIMED_ROWS]
    started = time.perf_counter()
    home.read(again, vector=source.vector)
    seconds = time.perf_counter() - started
    order = np.random.default_rng(seed).permutation(len(page.ids))
    return Drawn(
        rows=page.vectors[order],
        wanted=wanted,
        is_whole=wanted >= source.points,
        read_rate=len(again) / max(seconds, 1e-9),
    )


def _remedy(usable: int, wanted: int) -> str:
    if usable < wanted:
        return (
            "the other vectors are missing, zero, or hold NaN or infinity; repair them, or name "
            "another vector="
        )
    return "a collection this small is searched exactly in no time, leave it as it is"


def parted(drawn: Drawn, queries: Floats | None, n_queries: int, *, fits: bool, seed: int) -> Parts:
    """Deal a sample out.

    Args:
        drawn: The sample.
        queries: float32 (q, dim), real queries; None to leave documents out.
        n_queries: Most queries; of documents at most a fifth of those not fitted on.
        fits: Whether a model is to be fitted.
        seed: Of the choice among given queries.

    Returns:
        The parts.

    Raises:
        ConfigError: If there are fewer than 20 queries.
    """
    unit = _unit(drawn.rows)
    half = len(unit) // 2 if fits else 0
    unseen = unit[half:]
    most = len(unseen) // 5 if queries is None else len(queries)
    count = min(n_queries, most)
    if count < LEAST_QUERIES:
        raise ConfigError(
            f"expected at least {LEAST_QUERIES} queries, got n_queries={n_queries} of {most}"
        )
    if queries is None:
        asked, unseen = unseen[:count], unseen[count:]
    else:
        chosen = np.random.default_rng(seed).choice(len(queries), count, replace=False)
        asked = _unit(queries[np.sort(chosen)])
    docs = np.concatenate([unit[:half], unseen]) if drawn.is_whole else unseen
    return Parts(unit[:half], docs, asked, "documents" if queries is None else "given")


def _unit(rows: Any) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
