"""Where the maps of a joint model start, in numpy.

::

    h_m = W_m x_m + b_m     into the shared space, one per side: canonical correlation or PCA
    u   = W h + c           from there towards word embeddings: a rotation, by captions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.vectors import SparseVectors

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

__all__ = ["Affine", "cca", "pca", "towards_words", "whitened"]

RIDGE = 0.02  # share of the mean variance added to each: pairs are few, dimensions many
WORD_RIDGE = 0.1  # likewise of word embeddings, whose rows share a few main directions


class Affine(NamedTuple):
    """An affine map.

    Attributes:
        weight: float32 (dim, width of the inputs).
        bias: float32 (dim,).
    """

    weight: Floats
    bias: Floats


def cca(text: Floats, image: Floats, dim: int) -> tuple[Affine, Affine]:
    """Find the directions in which paired rows agree: regularised canonical correlation.

    With whitened sides ``a`` and ``b`` and the singular value decomposition
    ``a.T b / n = U diag(r) V.T``, the maps are the first ``dim`` columns of U and V, each
    scaled by ``sqrt(r)``: directions that agree less count less.

    Args:
        text: float32 (pairs, d_text).
        image: float32 (pairs, d_image); row i belongs to row i of text.
        dim: Directions, at most the narrower width.

    Returns:
        The maps of texts and of images, centred; cosines behind them rank pairs.

    Raises:
        ConfigError: If dim is above one of the widths.
        ShapeError: If there are fewer than two pairs.
    """
    width = min(text.shape[1], image.shape[1])
    if dim > width:
        raise ConfigError(
            f"expected dim of at most {width}, the narrower side, got JointConfig(dim={dim})"
        )
    if len(text) < 2:
        raise ShapeError(f"expected two or more pairs to start projections, got {len(text)}")
    whiten_text, mean_text = _whitening(text)
    whiten_image, mean_image = _whitening(image)
    cross = (text - mean_text).astype(np.float64).T @ (image - mean_image).astype(np.float64)
    left, shared, right = np.linalg.svd(whiten_text.T @ (cross / len(text)) @ whiten_image)
    scale = np.sqrt(shared[:dim])
    return (
        _centred(whiten_text @ left[:, :dim] * scale, mean_text),
        _centred(whiten_image @ right[:dim].T * scale, mean_image),
    )


def pca(text: Floats, image: Floats, dim: int) -> tuple[Affine, Affine]:
    """Find the main directions of both sides together, for sides that share a space.

    Args:
        text: float32 (n, d).
        image: float32 (m, d).
        dim: Directions, at most d.

    Returns:
        One map twice, without centring: cosines stay what they were, but for the directions
        left out.

    Raises:
        ConfigError: If the widths differ, or dim is above them.
    """
    width = text.shape[1]
    if image.shape[1] != width or dim > width:
        raise ConfigError(
            "expected sides of one width and a dim up to it to start from PCA, "
            f"got texts of {width}, images of {image.shape[1]}, dim={dim}"
        )
    power = sum(part.astype(np.float64).T @ part / len(part) for part in (text, image))
    _, directions = np.linalg.eigh(power)
    weight = np.ascontiguousarray(directions[:, ::-1][:, :dim].T, dtype=np.float32)
    one = Affine(weight, np.zeros(dim, np.float32))
    return one, one


def towards_words(dense: Floats, words: SparseVectors, embeddings: Floats) -> Affine:
    r"""Turn the shared space such that rows come to lie by the embeddings of their words.

    The orthogonal Procrustes map: of all rotations the one with the greatest

    .. math:: \sum_i \langle W (h_i - \bar h), y_i \rangle, \quad
        y_i = \sum_{w \in words_i} \tilde E_w

    Being a rotation, it keeps all that the dense space tells apart, words or not; a regression
    on the same y would keep what is in the words alone.

    Args:
        dense: float32 (n, dim), rows h of the shared space.
        words: The words of each row, (n, latents).
        embeddings: float32 (latents, width), E; whitened here, with a ridge.

    Returns:
        W (width, dim), which keeps angles if width is at least dim, and ``c = -W mean(h)``.
    """
    mean = dense.mean(axis=0, dtype=np.float64)
    by_word = words.to_scipy().T @ (dense - mean)  # (latents, dim)
    centred = embeddings - embeddings.mean(axis=0, dtype=np.float64)
    power = centred.T @ centred
    power += WORD_RIDGE * np.trace(power) / len(power) * np.eye(len(power))
    left, _, right = np.linalg.svd(np.linalg.solve(power, centred.T @ by_word), full_matrices=False)
    weight = left @ right
    return Affine(weight.astype(np.float32), (-weight @ mean).astype(np.float32))


def whitened(embeddings: Floats) -> Floats:
    """Centre word embeddings and stretch them until they point all ways about alike.

    Args:
        embeddings: float32 (latents, width).

    Returns:
        float32 (latents, width): the centred rows times the inverse square root of their
        covariance and a ridge, as long in the mean as the rows given.
    """
    centred = embeddings - embeddings.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    stretch = 1 / np.sqrt(np.maximum(values, 0) + WORD_RIDGE * values.mean())
    rows = centred @ (vectors * stretch) @ vectors.T
    lengths = [np.linalg.norm(part, axis=1).mean() for part in (embeddings, rows)]
    return np.asarray(rows * (lengths[0] / lengths[1]), dtype=np.float32)


def _whitening(rows: Floats) -> tuple[Doubles, Doubles]:
    """Return W (d, d) such that ``(rows - mean) W`` has about unit covariance, and the mean."""
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows - mean
    covariance = centred.T @ centred / len(rows)
    variance = np.trace(covariance) / len(covariance)
    if variance <= 0:
        raise ShapeError("expected rows that differ to start a projection, got equal ones")
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.sqrt(np.maximum(values, 0) + RIDGE * variance), mean


def _centred(columns: Doubles, mean: Doubles) -> Affine:
    weight = np.ascontiguousarray(columns.T, dtype=np.float32)
    return Affine(weight, (-columns.T @ mean).astype(np.float32))
