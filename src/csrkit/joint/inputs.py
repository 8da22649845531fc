"""What `csrkit.joint.fit` was given, checked and brought into one form; numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.joint.captions import bag_of_words, token_lists
from csrkit.joint.start import Affine
from csrkit.tensors import is_tensor, tensor_to_numpy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.joint.config import JointConfig
    from csrkit.vectors import SparseVectors

    Floats = NDArray[np.float32]

__all__ = [
    "Inputs",
    "Words",
    "as_affine",
    "as_captions",
    "as_matrix",
    "as_pairs",
    "as_rows_of_both",
    "as_words",
]


@dataclass(frozen=True, eq=False)
class Words:
    """The latents: where they start and what they are called.

    Attributes:
        embeddings: float32 (n_latents, width), or None for random ones.
        tokens: One string per latent.
        token_ids: int64 (n_latents,), rows of the matrix that was given.
    """

    embeddings: Floats | None
    tokens: tuple[str, ...]
    token_ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything that training reads.

    Attributes:
        text: float32 (n_texts, text_dim).
        image: float32 (n_images, image_dim).
        pairs: int64 (pairs, 2), rows of text and image.
        words: The latents.
        captions: One bag of words per text, or None.
        text_projection: Start of the text adapter, or None.
        image_projection: Likewise.
    """

    text: Floats
    image: Floats
    pairs: NDArray[np.int64]
    words: Words
    captions: SparseVectors | None
    text_projection: Affine | None
    image_projection: Affine | None


def as_matrix(name: str, value: ArrayLike) -> Floats:
    """Return finite numbers of two dimensions as float32.

    Args:
        name: Of the argument, for messages.
        value: An array, lists, or a torch tensor.

    Returns:
        float32 (n, width), at least one of each.

    Raises:
        ShapeError: If it is anything else.
    """
    given: Any = tensor_to_numpy(value) if is_tensor(value) else value
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ShapeError(f"expected {name} of shape (n, dim), got ragged rows: {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        raise ShapeError(
            f"expected {name} as numbers of shape (n, dim), got {array.dtype} of {array.shape}"
        )
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(array, dtype=np.float32)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise ShapeError(f"expected finite {name}, got row {int(bad.argmax())} with NaN or Inf")
    return rows


def as_pairs(pairs: ArrayLike | None, n_texts: int, n_images: int) -> NDArray[np.int64]:
    """Return pairs of row numbers that exist.

    Args:
        pairs: Whole numbers (m, 2), rows of text and image; None pairs equal rows.
        n_texts: Rows of text.
        n_images: Rows of image.

    Returns:
        int64 (m, 2), of at least two texts and two images.

    Raises:
        ShapeError: If they are anything else, or None does not fit.
    """
    if pairs is None:
        if n_texts != n_images:
            raise ShapeError(
                f"expected pairs=, or one text per image, got {n_texts} texts and {n_images} images"
            )
        pairs = np.stack([np.arange(n_texts)] * 2, axis=1)
    array = as_rows_of_both(pairs, n_texts, n_images)
    distinct = [len(np.unique(column)) for column in array.T]
    if min(distinct) < 2:
        raise ShapeError(
            "expected pairs of two or more texts and images, to tell apart, "
            f"got {len(array)} pairs of {distinct[0]} texts and {distinct[1]} images"
        )
    return array


def as_rows_of_both(pairs: ArrayLike, n_texts: int, n_images: int) -> NDArray[np.int64]:
    """Return pairs of row numbers that exist, any number of them.

    Args:
        pairs: Whole numbers (m, 2), rows of text and image.
        n_texts: Rows of text.
        n_images: Rows of image.

    Returns:
        int64 (m, 2).

    Raises:
        ShapeError: If they are anything else.
    """
    given: Any = tensor_to_numpy(pairs) if is_tensor(pairs) else pairs
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ShapeError(f"expected pairs of shape (m, 2), got {error}") from error
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise ShapeError(
            "expected pairs (m, 2) of whole numbers, the rows of text and image, "
            f"got {array.dtype} of {array.shape}"
        )
    for column, (side, n) in enumerate((("text", n_texts), ("image", n_images))):
        outside = (array[:, column] < 0) | (array[:, column] >= n)
        if outside.any():
            pair = int(outside.argmax())
            raise ShapeError(
                f"expected pairs of rows below {n_texts} texts and {n_images} images, "
                f"got {side} {array[pair, column]} in pair {pair}; the {side} side has {n} rows"
            )
    return array.astype(np.int64)


def as_words(
    embeddings: ArrayLike | None,
    tokens: Sequence[str] | None,
    vocabulary: ArrayLike | None,
    config: JointConfig,
) -> Words:
    """Choose the latents.

    Args:
        embeddings: (v, width), the word embeddings of an encoder, or None.
        tokens: One string per row of them, or per latent where there are none.
        vocabulary: Rows to take, whole numbers, each once; None takes all.
        config: Its ``n_latents`` where nothing else says how many.

    Returns:
        The latents, in the order of the vocabulary.

    Raises:
        ShapeError: If the three do not fit each other.
    """
    matrix = None if embeddings is None else as_matrix("embeddings", embeddings)
    listed = isinstance(tokens, Sequence | np.ndarray) and not isinstance(tokens, str)
    if tokens is not None and not listed:
        raise ShapeError(f"expected tokens as a list of strings, got {tokens!r:.40}")
    rows = config.n_latents if matrix is None else len(matrix)
    if matrix is None and tokens is not None:
        rows = len(tokens)
    if tokens is not None and len(tokens) != rows:
        raise ShapeError(
            f"expected one token per row of embeddings, got {len(tokens)} tokens and {rows} rows"
        )
    ids = np.arange(rows) if vocabulary is None else _as_ids(vocabulary, rows)
    if len(ids) < 2:
        raise ShapeError(f"expected two or more latents, got {len(ids)}")
    names = tuple(f"latent {i}" if tokens is None else tokens[i] for i in ids.tolist())
    others = [name for name in names if not isinstance(name, str)]
    if others:
        raise ShapeError(f"expected tokens as strings, got {others[0]!r}")
    start = None if matrix is None else matrix[ids]
    if start is not None and (start == start[0]).all():
        raise ShapeError(
            f"expected word embeddings that differ, got {len(ids)} rows of {start[0, :3]}...: "
            "leave them out to start from random ones"
        )
    return Words(start, tuple(map(str, names)), ids)


def _as_ids(vocabulary: ArrayLike, rows: int) -> NDArray[np.int64]:
    try:
        ids = np.asarray(vocabulary)
    except ValueError as error:
        raise ShapeError(f"expected a vocabulary of row numbers, got {error}") from error
    fits = ids.ndim == 1 and ids.dtype.kind in "iu" and len(np.unique(ids)) == len(ids)
    if not fits or not ids.size or ids.min() < 0 or ids.max() >= rows:
        raise ShapeError(
            f"expected a vocabulary of row numbers below {rows}, each once, got {ids.dtype} of "
            f"{ids.shape}" + (f" up to {ids.max()}" if ids.size and ids.dtype.kind in "iu" else "")
        )
    return ids.astype(np.int64)


def as_captions(
    captions: Sequence[Sequence[int]] | None,
    special: Iterable[int],
    words: Words,
    n_texts: int,
    config: JointConfig,
) -> SparseVectors | None:
    """Return the words of every text that latents stand for.

    Args:
        captions: Token ids of every text, or None.
        special: Ids that are no words.
        words: The latents.
        n_texts: Rows of text.
        config: Whether captions are needed.

    Returns:
        One bag of words per text, or None.

    Raises:
        ConfigError: If expansion or the start of the head asks for captions and there are
            none, or none of theirs has a word among the latents.
        ShapeError: If there is not one caption per text.
    """
    needs = f"JointConfig(head_start={config.head_start!r})"
    if config.expansion != "free":
        needs = f"JointConfig(expansion={config.expansion!r})"
    if captions is None:
        if config.expansion != "free" or config.head_start == "captions":
            raise ConfigError(
                f"expected captions=, the token ids of every text, got none with {needs}"
            )
        return None
    lists = token_lists(captions)
    if len(lists) != n_texts:
        raise ShapeError(f"expected one caption per text, got {len(lists)} for {n_texts} texts")
    bags = bag_of_words(lists, words.token_ids, special)
    unused = config.expansion == "free" and config.head_start == "random"
    if not bags.nnz and not unused:
        raise ConfigError(
            f"expected captions with words among the {len(words.tokens)} latents for "
            f"{needs}, got none in {n_texts} captions: are the ids those of the embeddings?"
        )
    return bags


def as_affine(name: str, given: Any, width: int) -> Affine | None:
    """Return a projection that was given as ``(weight, bias)`` or as a weight alone.

    Args:
        name: Of the argument, for messages.
        given: weight (dim, width) as of ``torch.nn.Linear``, with a bias (dim,) or None.
        width: Of the tower's vectors.

    Returns:
        The map, or None if nothing was given.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    if given is None:
        return None
    if isinstance(given, tuple) and len(given) != 2:
        raise ShapeError(f"expected {name}=(weight, bias), got a tuple of {len(given)}")
    weight, bias = given if isinstance(given, tuple) else (given, None)
    matrix = as_matrix(f"the weight of {name}", weight)
    if matrix.shape[1] != width:
        raise ShapeError(
            f"expected {name}=(weight, bias) with a weight of shape (dim, {width}), "
            f"got {matrix.shape}" + (": transpose it" if matrix.shape[0] == width else "")
        )
    if bias is None:
        return Affine(matrix, np.zeros(len(matrix), np.float32))
    vector = as_matrix(f"the bias of {name}", np.atleast_2d(_host(bias)))[0]
    if vector.shape != (len(matrix),):
        raise ShapeError(f"expected a bias of shape ({len(matrix)},) in {name}, got {vector.shape}")
    return Affine(matrix, vector)


def _host(value: Any) -> Any:
    return tensor_to_numpy(value) if is_tensor(value) else value
