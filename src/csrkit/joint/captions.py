"""Captions as bags of words over the latents, and the choice of a vocabulary from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.vectors import SparseVectors
from csrkit.vectors.invariants import row_pointer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bag_of_words", "frequent_tokens", "token_lists"]


def frequent_tokens(
    captions: Sequence[Sequence[int]], n: int, *, leave_out: Iterable[int] = ()
) -> NDArray[np.int64]:
    """Choose the vocabulary of a small machine: the tokens that most captions hold.

    The cost of a training step grows with the number of latents; 30,000 of them take seconds
    per step on two cores, 4,000 a fraction of one.

    Args:
        captions: For each text the ids of its tokens.
        n: Most tokens to choose, at least 1.
        leave_out: Ids never chosen, such as those of special tokens.

    Returns:
        int64, rising ids, for ``vocabulary=`` of `csrkit.joint.fit`. Of equally frequent ones
        the lower id is taken.

    Raises:
        ConfigError: If n is no whole number from 1.
        ShapeError: If no token is left to choose, or captions or leave_out are no token ids.

    Examples:
        >>> frequent_tokens([[0, 5, 7], [0, 7, 7], [0, 9]], 2, leave_out=[0])
        array([5, 7])
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ConfigError(f"expected a number of tokens from 1, got frequent_tokens(n={n!r})")
    captions = token_lists(captions)
    flat, row = _entries(captions)
    ids, at = np.unique(flat, return_inverse=True)
    once = np.unique(row * len(ids) + at)  # a caption counts a token once
    counts = np.bincount(once % max(1, len(ids)), minlength=len(ids))
    kept = ~_among(ids, leave_out, "leave_out")
    ids, counts = ids[kept], counts[kept]
    if not len(ids):
        raise ShapeError(f"expected captions with tokens, got none in {len(captions)} captions")
    return np.sort(ids[np.argsort(-counts, kind="stable")[:n]])


def bag_of_words(
    captions: Sequence[Sequence[int]],
    token_ids: NDArray[np.int64],
    special: Iterable[int] = (),
) -> SparseVectors:
    """Turn captions as token ids into codes that hold 1 at each word.

    Args:
        captions: For each text the ids of its tokens, in any order.
        token_ids: int64 (n_latents,), the id of each latent; each once.
        special: Ids that are no words, such as those of [CLS] and [SEP]; left out, like ids
            that are no latent.

    Returns:
        One code per text, of width n_latents.

    Raises:
        ShapeError: If captions are no lists, or an id is not a whole number.
    """  # noqa: DOC502  # raised by helpers
    captions = token_lists(captions)
    flat, row = _entries(captions)
    order = np.argsort(token_ids, kind="stable")
    at = np.searchsorted(token_ids[order], flat)
    latent = order[np.minimum(at, len(order) - 1)]
    keep = (token_ids[latent] == flat) & ~_among(flat, special, "special")
    entries = np.unique(row[keep] * len(token_ids) + latent[keep])
    rows, latents = np.divmod(entries, len(token_ids))
    counts = np.bincount(rows, minlength=len(captions))
    ones = np.ones(len(latents), np.float32)
    return SparseVectors(row_pointer(counts), latents.astype(np.int32), ones, len(token_ids))


def token_lists(captions: Iterable[Iterable[int]]) -> list[list[int]]:
    """Return captions as lists, whatever holds them.

    Args:
        captions: For each text the ids of its tokens: lists, arrays or tensors of them.

    Returns:
        One list per text; what is in them is not checked.

    Raises:
        ShapeError: If it is no list of lists.
    """
    expected = "expected captions as one list of token ids per text"
    if isinstance(captions, str | Mapping | SparseVectors):
        raise ShapeError(f"{expected}, got a {type(captions).__name__}")
    try:
        return [c.tolist() if hasattr(c, "tolist") else list(c) for c in captions]
    except TypeError as error:  # None, or one flat list of ids
        raise ShapeError(f"{expected}, got {error}") from error


def _entries(captions: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of all captions, one after the other, and the caption of each."""
    row = np.repeat(np.arange(len(captions)), [len(caption) for caption in captions])
    return _whole(list(chain.from_iterable(captions)), "captions"), row


def _among(flat: NDArray[np.int64], ids: Iterable[int], name: str) -> NDArray[np.bool_]:
    """Tell which entries are one of the ids."""
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise ShapeError(f"expected {name} as a list of token ids, got {ids!r}")
    return np.isin(flat, _whole(list(ids), name))


def _whole(ids: list[int], name: str) -> NDArray[np.int64]:
    try:
        flat = np.array(ids)
    except ValueError as error:  # lists in the place of ids
        raise ShapeError(f"expected {name} as lists of token ids, got {error}") from error
    if flat.size and (flat.dtype.kind not in "iu" or flat.ndim > 1):
        raise ShapeError(
            f"expected {name} as lists of token ids, whole numbers, got dtype {flat.dtype}"
            + (" of lists" if flat.ndim > 1 else "")
        )
    return flat.astype(np.int64)
