"""Files of judgements and labels, for `csrkit evaluate`: by row number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from csrkit.errors import FormatError

__all__ = ["read_labels", "read_qrels"]


def read_qrels(path: Path, n_queries: int) -> Any:
    """Read which rows of the documents are relevant to which queries.

    Args:
        path: ``.npy``, whole numbers (q,) or (q, m), -1 for none; or text, a line per
            judgement: query, document, gain, as in BEIR, or query, 0, document, gain, as
            in TREC. A first line that starts with no number is a header.
        n_queries: Number of queries.

    Returns:
        One entry per query, as `csrkit.evaluate` takes it.

    Raises:
        FormatError: If the file is not there, or no such file.
    """
    if path.suffix == ".npy":
        return _array(path, "judgements")
    gains: list[dict[int, float]] = [{} for _ in range(n_queries)]
    for number, line in enumerate(_lines(path, "judgements"), 1):
        words = line.split()
        if number == 1 and not words[0].isdecimal():
            continue
        try:
            (query, doc), gain = map(int, (words[0], words[-2])), float(words[-1])
            gains[query][doc] = gain
        except (ValueError, IndexError) as error:
            raise FormatError(
                f"{path}, line {number}: expected query, document and gain, with rows from 0 "
                f"to {n_queries - 1} for the query, got {line!r}"
            ) from error
    return gains


def read_labels(path: Path) -> Any:
    """Read one class per row.

    Args:
        path: ``.npy``, or text with a class per line.

    Returns:
        Array (n,).

    Raises:
        FormatError: If the file is not there, or no such file.
    """
    if path.suffix == ".npy":
        return _array(path, "labels")
    return np.array([line.strip() for line in _lines(path, "labels")])


def _array(path: Path, what: str) -> Any:
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise FormatError(f"no file of {what} at {path}") from error
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path} is not a readable .npy file: {error}") from error
    if not isinstance(found, np.ndarray) or found.ndim not in (1, 2):
        raise FormatError(f"expected {what} in one array (n,) or (n, m), got {path}")
    return found


def _lines(path: Path, what: str) -> list[str]:
    if not path.is_file():
        raise FormatError(f"no file of {what} at {path}")
    try:
        return [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except ValueError as error:
        raise FormatError(f"{path} is not text of {what}: {error}") from error
