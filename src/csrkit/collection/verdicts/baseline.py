"""`Baseline`: what a collection was before a job touched it, so that a change shows.

Settings whole; of the points a uniform sample, each with a digest of its dense vector and
one of its payload, in ``baseline.json`` of the job folder. What it can tell:

- A fault of an engine, a server or csrkit that alters dense vectors or payloads alters most
  points, or all of a range: a sample shows it.
- A point that others change while the job runs looks the same as one that was damaged, as
  nothing in an engine says who wrote. So the share of changed points is told, with a bound
  to choose; in a collection that nobody else writes to it is 0.

A digest is no secret, yet somebody who can guess a payload can check the guess: a job folder
deserves the care that the collection does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from csrkit.collection.home import DenseVector, Home, PointId
from csrkit.collection.verdicts.drawing import draw
from csrkit.errors import FormatError, JobError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PAGE", "Baseline", "Noted", "dense_digest", "payload_digest"]

NOTED_POINTS = 1000
PAGE = 64  # points whose payloads are held at a time: one may be a megabyte
_FILE = "baseline.json"
_ROUNDING = 2e-3  # relative; float16 rounds by 5e-4


class Noted(NamedTuple):
    """A point as it was.

    Attributes:
        id: Its id.
        dense: Digest of its dense vector.
        payload: Digest of its payload.
        sketch: A few projections of its dense vector, for a copy: a server that scales what
            it is given to unit length may change the last places.
    """

    id: PointId
    dense: str
    payload: str
    sketch: tuple[float, ...] = ()

    def is_near(self, row: NDArray[np.float32]) -> bool:
        """Tell whether a dense vector is this one but for rounding.

        Args:
            row: float32 (dim,).

        Returns:
            True also if both are missing.
        """
        now = np.array(_sketch(row))
        apart = np.abs(now - np.array(self.sketch))
        return bool((apart <= _ROUNDING * max(1e-30, np.abs(now).max())).all())


class Baseline(BaseModel):
    """A collection as it was.

    Attributes:
        model_config: Frozen; unknown keys are refused.
        format: Layout of the file.
        dense: Its dense vectors.
        payload_indexes: (field, kind) of each payload index, sorted.
        aliases: Names that led to it, sorted.
        count: Points in it.
        points: A uniform sample of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    dense: tuple[DenseVector, ...]
    payload_indexes: tuple[tuple[str, str], ...]
    aliases: tuple[str, ...]
    count: int
    points: tuple[Noted, ...]

    @classmethod
    def of(cls, home: Home, vector: str, *, n: int = NOTED_POINTS, seed: int = 0) -> Self:
        """Note what a collection is now.

        Args:
            home: The collection; it is only read.
            vector: Name of the dense vector.
            n: Most points to note.
            seed: Seed of their draw.

        Returns:
            The baseline.

        Raises:
            StoreError: If the home fails.
        """  # noqa: DOC502  # raised by helpers
        now = home.describe()
        ids = draw(home, n, vector, count=now.count, seed=seed)
        return cls(
            dense=now.dense,
            payload_indexes=now.payload_indexes,
            aliases=now.aliases,
            count=now.count,
            points=tuple(_noted(home, ids, vector)),
        )

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the baseline of a job.

        Args:
            folder: The job folder.

        Returns:
            The baseline; None if the job noted none.

        Raises:
            FormatError: If the file holds something else.
        """
        try:
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise FormatError(
                f"{folder / _FILE} cannot be read: {error}; restore it, or move it away to go on "
                "without what the collection was before the job"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the baseline so that a crash leaves a whole file or none.

        Args:
            folder: The job folder.

        Raises:
            JobError: If it cannot be written.
        """
        draft = folder / f"{_FILE}.new"
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / _FILE)
        except OSError as error:
            raise JobError(f"cannot write to the job folder {folder}: {error}") from error


def _noted(home: Home, ids: Sequence[PointId], vector: str) -> Iterator[Noted]:
    for start in range(0, len(ids), PAGE):
        page = home.read(ids[start : start + PAGE], vector=vector, payload=True)
        assert page.vectors is not None  # both were asked for
        assert page.payloads is not None
        for one, row, payload in zip(page.ids, page.vectors, page.payloads, strict=True):
            yield Noted(one, dense_digest(row), payload_digest(payload), _sketch(row))


def _sketch(row: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the inner products with four fixed rows of signs, 0 where there is no vector."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(4, len(row)))
    return tuple(np.round(signs @ np.nan_to_num(row.astype(np.float64)), 9).tolist())


def dense_digest(row: NDArray[np.float32]) -> str:
    """Return a digest of a dense vector, exact to the bit.

    Args:
        row: float32 (dim,); NaN where the point has none.

    Returns:
        16 hexadecimal digits.
    """
    return blake2b(row.astype("<f4").tobytes(), digest_size=8).hexdigest()


def payload_digest(payload: dict[str, Any]) -> str:
    """Return a digest of a payload, whatever the order of its keys.

    Args:
        payload: A JSON object.

    Returns:
        16 hexadecimal digits.
    """
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).hexdigest()
