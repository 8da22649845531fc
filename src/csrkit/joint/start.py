"""Where projections into the shared space start, in numpy: canonical correlation or PCA.

h_m = W_m x_m + b_m        one affine map per side
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

__all__ = ["Affine", "cca", "pca"]

RIDGE = 0.02  # share of the mean variance added to each: pairs are few, dimensions many


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
