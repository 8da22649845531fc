"""What a server answers: hits, stored documents, failures."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from csrkit.stores import Hit
from csrkit.stores.adapter import stacked
from csrkit.vectors import SparseVectors

__all__ = ["codes_of", "failed", "hit", "payload", "reason_of", "residuals_of"]


def payload(source: Mapping[str, Any]) -> Any:
    """Return the payload of a document, None if it has none."""
    return from_json(source["csrkit"])[1]


def hit(found: Mapping[str, Any]) -> Hit:
    """Return what a search found."""
    one, load = from_json(found["_source"]["csrkit"])
    return Hit(one, float(found["_score"]), load)


def codes_of(sources: Sequence[Mapping[str, Any]], dim: int) -> SparseVectors:
    """Return the codes of documents, one row each, as they were given."""
    bodies = [b64decode(source["exact"]) for source in sources]
    halves = [(one[: len(one) // 2], one[len(one) // 2 :]) for one in bodies]
    latents = [np.frombuffer(one, "<i4").tolist() for one, _ in halves]
    return stacked(latents, [np.frombuffer(one, "<f4").tolist() for _, one in halves], dim)


def residuals_of(sources: Sequence[Mapping[str, Any]], width: int) -> NDArray[np.uint8]:
    """Return the residuals of documents, uint8 (n, width)."""
    whole = b"".join([b64decode(source["residual"]) for source in sources])
    return np.frombuffer(whole, np.uint8).reshape(-1, width)


def failed(answer: Mapping[str, Any], ids: Sequence[int | str]) -> None:
    """Raise RuntimeError for the first action of a bulk that failed; to find nothing is none."""
    for one, item in zip(ids, answer["items"], strict=True):
        (done,) = item.values()
        if "error" in done:
            raise RuntimeError(f"id {one!r}: {reason_of(done['error'])}")


def reason_of(error: Any) -> str:
    """Return what the server says of an error, its innermost cause."""
    while isinstance(error, Mapping) and error.get("caused_by"):
        error = error["caused_by"]
    return str(error.get("reason", error)) if isinstance(error, Mapping) else str(error)
