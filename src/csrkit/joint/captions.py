"""Captions as bags of words over the latents, and the choice of a vocabulary from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.vectors import SparseVectors
from csrkit.vectors.invariants import row_pointer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bag_of_words", "frequent_tokens"]


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
        ConfigError: If n is below 1.
        ShapeError: If no token is left to choose.

    Examples:
        >>> frequent_tokens([[0, 5, 7], [0, 7, 7], [0, 9]], 2, leave_out=[0])
        array([5, 7])
    """
    if n < 1:
        raise ConfigError(f"expected at least one token, got frequent_tokens(n={n!r})")
    once = _flat([sorted(set(caption)) for caption in captions])
    ids, counts = np.unique(once[~np.isin(once, list(leave_out))], return_counts=True)
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
        ShapeError: If an id is not a whole number.
    """
    flat = _flat(captions)
    row = np.repeat(np.arange(len(captions)), [len(caption) for caption in captions])
    order = np.argsort(token_ids, kind="stable")
    at = np.searchsorted(token_ids[order], flat)
    latent = order[np.minimum(at, len(order) - 1)]
    keep = (token_ids[latent] == flat) & ~np.isin(flat, list(special))
    entries = np.unique(row[keep] * len(token_ids) + latent[keep])
    rows, latents = np.divmod(entries, len(token_ids))
    counts = np.bincount(rows, minlength=len(captions))
    ones = np.ones(len(latents), np.float32)
    return SparseVectors(row_pointer(counts), latents.astype(np.int32), ones, len(token_ids))


def _flat(captions: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    flat = np.array(list(chain.from_iterable(captions)))
    if flat.size and flat.dtype.kind not in "iu":
        raise ShapeError(
            f"expected captions as lists of token ids, whole numbers, got dtype {flat.dtype}"
        )
    return flat.astype(np.int64)
