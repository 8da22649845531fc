"""The data of `csrkit demo`: embeddings with their texts, in a folder.

Made by ``examples/make_data.py``, whose sheet describes it. An array ``x.npy``
may be int8 with one scale per row in ``x.scale.npy``, to be multiplied.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DemoData", "default_folder", "load_data"]


class DemoData(NamedTuple):
    """Documents, judged queries and questions.

    Attributes:
        docs: float32 (n, dim), of norm 1.
        payloads: One JSON object per document; ``text`` is what is shown.
        queries: float32 (q, dim), of norm 1.
        relevant: int64 (q,), the row of the one document judged relevant.
        questions: Texts to ask.
        asked: float32 (len(questions), dim), their embeddings.
    """

    docs: NDArray[np.float32]
    payloads: list[dict[str, Any]]
    queries: NDArray[np.float32]
    relevant: NDArray[np.int64]
    questions: list[str]
    asked: NDArray[np.float32]


def default_folder() -> Path:
    """Return the folder in the installed package, or in the source tree it runs from.

    Returns:
        A folder for `load_data`.

    Raises:
        FormatError: If neither is there.
    """
    package = Path(__file__).parents[1]
    candidates = [package / "_demo", package.parents[1] / "examples" / "data"]
    for folder in candidates:
        if (folder / "docs.npy").is_file():
            return folder
    raise FormatError(
        f"this installation has no demo data in {candidates[0]}: name a folder with --data, "
        "such as examples/data of the source repository"
    )


def load_data(folder: Path) -> DemoData:
    """Load a folder of demo data.

    Args:
        folder: With docs, queries and questions as .npy, docs and questions as .jsonl, and
            relevant.npy.

    Returns:
        The data, its rows scaled to norm 1.

    Raises:
        FormatError: If a file is missing, unreadable or does not fit the others.
    """
    data = DemoData(
        docs=_vectors(folder, "docs"),
        payloads=[_payload(line) for line in _lines(folder / "docs.jsonl")],
        queries=_vectors(folder, "queries"),
        relevant=_array(folder / "relevant.npy"),
        questions=[line["text"] for line in _lines(folder / "questions.jsonl")],
        asked=_vectors(folder, "questions"),
    )
    sizes = {
        "docs.jsonl": (len(data.payloads), len(data.docs)),
        "relevant.npy": (len(data.relevant), len(data.queries)),
        "questions.jsonl": (len(data.questions), len(data.asked)),
    }
    for name, (found, expected) in sizes.items():
        if found != expected:
            raise FormatError(f"expected {expected} rows in {folder / name}, got {found}")
    for name, rows in (("queries", data.queries), ("questions", data.asked)):
        if rows.shape[1] != data.docs.shape[1]:
            raise FormatError(
                f"expected {folder / name}.npy of {data.docs.shape[1]} dimensions, as docs.npy, "
                f"got {rows.shape[1]}"
            )
    known = data.relevant.dtype.kind in "iu" and data.relevant.ndim == 1
    if not known or data.relevant.min() < 0 or data.relevant.max() >= len(data.docs):
        raise FormatError(
            f"expected rows of docs.npy, whole numbers from 0 to {len(data.docs) - 1}, "
            f"in {folder / 'relevant.npy'}"
        )
    return data


def _vectors(folder: Path, name: str) -> NDArray[np.float32]:
    rows = _array(folder / f"{name}.npy").astype(np.float32)
    if (folder / f"{name}.scale.npy").is_file():
        rows *= _array(folder / f"{name}.scale.npy")[:, None]
    if rows.ndim != 2 or not len(rows) or not np.linalg.norm(rows, axis=1).all():
        raise FormatError(
            f"expected one or more non-zero rows in {folder / name}.npy, got shape {rows.shape}"
        )
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise FormatError(f"the demo data lacks {path}") from error
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path} is not a readable .npy file: {error}") from error
    return array


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except FileNotFoundError as error:
        raise FormatError(f"the demo data lacks {path}") from error
    except ValueError as error:
        raise FormatError(f"{path} is not one JSON object per line: {error}") from error
    if not all(isinstance(line, dict) and isinstance(line.get("text"), str) for line in lines):
        raise FormatError(f'expected every line of {path} to be an object with a "text"')
    return lines


def _payload(line: dict[str, Any]) -> dict[str, Any]:
    """Put the word that a definition defines in front of it."""
    words = line.get("words") or []
    return {**line, "text": f"{words[0]}: {line['text']}"} if words else line
