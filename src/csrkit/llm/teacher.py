"""A teacher's scores of triples that came without: who is asked, once, before the training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csrkit.errors import ConfigError, ShapeError
from csrkit.llm.config import LLMConfig
from csrkit.llm.data import Triple
from csrkit.tensors import is_tensor, tensor_to_numpy

__all__ = ["Teacher", "scored", "wants_scores", "warn_if_flat"]

Teacher = Callable[[list[tuple[str, str]]], ArrayLike]
"""Scores (n,) of n pairs of query and document, such as ``CrossEncoder.predict``."""

FLAT = 1.0  # best over worst of a list is then below e to 1
PAIRS = 1024  # that a teacher is given at once


def wants_scores(config: LLMConfig, triples: Sequence[Triple]) -> bool:
    """Tell whether a teacher would be asked.

    Args:
        config: The settings.
        triples: All of them.

    Returns:
        True if the loss may need scores, and a triple has none.
    """
    return config.loss != "cl" and any(triple.scores is None for triple in triples)


def scored(triples: Sequence[Triple], teacher: Teacher) -> list[Triple]:
    """Ask a teacher about every pair of triples without scores.

    Args:
        triples: All of them.
        teacher: Scores pairs.

    Returns:
        The triples, each with scores.

    Raises:
        ConfigError: If the teacher cannot be called.
        ShapeError: If it does not return a finite score per pair.
    """  # noqa: DOC502  # one of them is raised by a helper
    if not callable(teacher):
        raise ConfigError(f"expected teacher= to be a callable, got {type(teacher).__name__}")
    missing = [row for row, triple in enumerate(triples) if triple.scores is None]
    pairs = [(triples[row].query, text) for row in missing for text in triples[row].documents]
    parts = []
    for start in range(0, len(pairs), PAIRS):
        asked = pairs[start : start + PAIRS]
        parts.append(_read_scores(teacher(asked), len(asked)))
    scores = iter(np.concatenate(parts).tolist())
    found = list(triples)
    for row in missing:
        best, *others = [next(scores) for _ in triples[row].documents]
        found[row] = replace(triples[row], positive_score=best, negative_scores=tuple(others))
    return found


def _read_scores(given: ArrayLike, n: int) -> NDArray[np.float64]:
    """Take what a teacher returned for n pairs."""
    try:
        scores = np.asarray(tensor_to_numpy(given) if is_tensor(given) else given, np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"expected numbers as scores from the teacher: {error}") from error
    if scores.shape != (n,) or not np.isfinite(scores).all():
        got = "NaN or Inf among them" if scores.shape == (n,) else f"{scores.shape}"
        raise ShapeError(f"expected a finite score per pair from the teacher, ({n},), got {got}")
    return scores


def warn_if_flat(config: LLMConfig, triples: Sequence[Triple]) -> None:
    """Say so if the teacher's scores are cosines, say, which tell a softmax nothing.

    Args:
        config: With its loss resolved.
        triples: All of them.
    """
    if not config.distills:
        return
    lists = [triple.scores for triple in triples if triple.scores is not None]
    spread = config.teacher_scale * float(np.mean([max(one) - min(one) for one in lists]))
    if spread < FLAT:
        warnings.warn(
            f"teacher scores of the mean list differ by {spread:.2g} at "
            f"teacher_scale={config.teacher_scale:g}: the softmax of them is nearly flat and "
            "teaches next to nothing; cosines need teacher_scale=20 or so",
            stacklevel=4,
        )
