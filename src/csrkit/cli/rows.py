"""The rows of `csrkit encode`: embeddings with their ids and payloads, checked as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from csrkit.errors import ConfigError, FormatError, ShapeError, StoreError
from csrkit.sources import open_source
from csrkit.stores._ids import checked_ids

if TYPE_CHECKING:
    from csrkit.sources import Source

__all__ = ["Rows", "open_rows"]

Payloads: TypeAlias = "list[dict[str, Any]]"


@dataclass(frozen=True)
class Rows:
    """What is to be encoded.

    Attributes:
        source: The embeddings.
        start: First row.
        ids: One id per row of the source.
    """

    source: Source
    start: int
    ids: Sequence[int | str]
    _objects: Iterator[dict[str, Any]] | None

    def details(self, start: int, stop: int) -> tuple[list[int | str], Payloads | None]:
        """Return ids and payloads of the next rows; blocks are asked for in order.

        Args:
            start: First row.
            stop: One past the last row.

        Returns:
            The ids, and one payload per id or None if there are none at all.
        """
        ids = list(self.ids[start:stop])
        if self._objects is None:
            return ids, None
        return ids, list(islice(self._objects, stop - start))


def open_rows(
    embeddings: list[str], dim: int, *, ids: Path | None, payloads: Path | None, start: int
) -> Rows:
    """Open embeddings, ids and payloads, and check that they fit each other.

    Args:
        embeddings: Paths, as for `csrkit.sources.open_source`.
        dim: Width that the embeddings must have.
        ids: File of ids, or None for row numbers.
        payloads: File of one JSON object per line, or None.
        start: First row to be encoded.

    Returns:
        The rows.

    Raises:
        ShapeError: If the numbers of rows, ids and payloads differ, or the width does.
        FormatError: If a file is not what it should be.
        ConfigError: If start is not a row.
    """
    source = open_source(embeddings, dim=dim)
    if not 0 <= start < source.n:
        raise ConfigError(f"expected --start from 0 to {source.n - 1}, got {start}")
    known = range(source.n) if ids is None else _read_ids(ids)
    if len(known) != source.n:
        raise ShapeError(
            f"expected one id per embedding, got {len(known)} ids in {ids} "
            f"and {source.n} embeddings"
        )
    if payloads is None:
        return Rows(source, start, known, None)
    lines = sum(1 for _ in _objects(payloads))  # reads it all once: a bad line shows up now
    if lines != source.n:
        raise ShapeError(
            f"expected one payload per embedding, got {lines} lines in {payloads} "
            f"and {source.n} embeddings"
        )
    return Rows(source, start, known, islice(_objects(payloads), start, None))


def _read_ids(path: Path) -> list[int | str]:
    """Read ids; lines of text are numbers if every one is spelled as one, so 007 is text."""
    if not path.is_file():
        raise FormatError(f"no file of ids at {path}")
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False).tolist()
        elif path.suffix == ".json":
            found = json.loads(path.read_bytes())
        else:
            lines = path.read_text("utf-8-sig").splitlines()  # Windows marks files at their start
            found = [line.strip() for line in lines if line.strip()]
            if all(re.fullmatch("0|[1-9][0-9]*", line) for line in found):
                found = [int(line) for line in found]
        if not isinstance(found, list):
            raise ValueError(f"a list is expected, not {type(found).__name__}")
        return checked_ids(found, unique=True)
    except (ValueError, EOFError, RecursionError, StoreError) as error:
        raise FormatError(f"{path} is not a file of ids: {error}") from error


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of each line; blank lines are skipped."""
    if not path.is_file():
        raise FormatError(f"no file of payloads at {path}")
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _object(line, number)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path} is not a file of JSON objects: {error}") from error


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"line {number}: {type(value).__name__} instead of an object")
    return value
