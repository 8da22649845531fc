"""The losses of joint training: score matrices of a batch of pairs, in and out of each other.

Rows of a score matrix are images, columns texts; entry (i, i) is a pair. With a temperature tau::

    S_d = H_i H_t^T / tau        dense       S_I = w1 S_d + w2 S_s    integrated, the teacher
    S_s = Z_i Z_t^T              sparse

Source: arXiv 2508.16707 and its released ``BICELoss``, whose constant factors are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from csrkit.joint.config import JointConfig
from csrkit.joint.modules import Encoded
from csrkit.training.ranking import info_nce, soft_cross_entropy

__all__ = [
    "Scores",
    "clamp_temperature_",
    "contrast",
    "distillation",
    "frozen_teacher",
    "ranking_loss",
    "score",
    "shared_pairs",
    "symmetric_nce",
]


class Scores(NamedTuple):
    """The three score matrices of a batch, float (images, texts).

    Attributes:
        dense: Cosines over the temperature.
        sparse: Inner products of codes, with neither temperature nor normalisation.
        integrated: Their weighted sum.
    """

    dense: Tensor
    sparse: Tensor
    integrated: Tensor


def score(text: Encoded, image: Encoded, temperature: Tensor, config: JointConfig) -> Scores:
    """Score every image of a batch with every text.

    Args:
        text: Both sides of the texts.
        image: Both sides of the images.
        temperature: tau, scalar.
        config: Its ``dense_weight`` and ``sparse_weight``.

    Returns:
        The three score matrices.
    """
    dense = image.dense @ text.dense.T / temperature
    sparse = image.sparse @ text.sparse.T
    return Scores(dense, sparse, config.dense_weight * dense + config.sparse_weight * sparse)


def symmetric_nce(
    scores: Float[Tensor, "batch batch"], positives: Bool[Tensor, "batch batch"] | None
) -> Float[Tensor, ""]:
    r"""InfoNCE in both directions.

    .. math:: \frac12 \left( NCE(S) + NCE(S^T) \right)

    Args:
        scores: Images by texts.
        positives: Which pairs belong together; None for the diagonal.

    Returns:
        Scalar, mean over the batch.
    """
    turned = None if positives is None else positives.T
    return (info_nce(scores, positives) + info_nce(scores.T, turned)) / 2


def contrast(
    scores: Scores, config: JointConfig, positives: Bool[Tensor, "batch batch"] | None = None
) -> Float[Tensor, ""]:
    r"""Contrast of dense, sparse and integrated scores.

    .. math:: L = \frac12 \left( \lambda_1 NCE(S_d) + \lambda_2 NCE(S_s) + NCE(S_I) \right)

    Args:
        scores: Of a batch.
        config: Its ``dense_loss`` and ``sparse_loss``.
        positives: Which pairs belong together; None for the diagonal.

    Returns:
        Scalar, mean over the batch.
    """
    return (
        config.dense_loss * symmetric_nce(scores.dense, positives)
        + config.sparse_loss * symmetric_nce(scores.sparse, positives)
        + symmetric_nce(scores.integrated, positives)
    ) / 2


def distillation(scores: Scores, config: JointConfig) -> Float[Tensor, ""]:
    r"""Bi-directional self-knowledge distillation: both sides learn from the integrated scores.

    .. math:: L' = \frac12 \left( \lambda_1 D(S_d) + \lambda_2 D(S_s) \right), \quad
        D(S) = \frac12 \left( H(softmax(S_I), S) + H(softmax(S_I^T), S^T) \right)

    Args:
        scores: Of a batch.
        config: Its ``dense_loss``, ``sparse_loss``, ``teacher_grad`` and ``transpose_teacher``.

    Returns:
        Scalar, mean over the batch.

    Relations:
        The loss does not change when images and texts swap their places, unless
        ``transpose_teacher`` is off.
    """
    teacher = scores.integrated if config.teacher_grad else scores.integrated.detach()
    turned = teacher.T if config.transpose_teacher else teacher

    def both(student: Tensor) -> Tensor:
        return (soft_cross_entropy(student, teacher) + soft_cross_entropy(student.T, turned)) / 2

    return (config.dense_loss * both(scores.dense) + config.sparse_loss * both(scores.sparse)) / 2


def frozen_teacher(scores: Scores, teacher: Float[Tensor, "batch batch"]) -> Float[Tensor, ""]:
    r"""Dense to sparse: the codes learn the ranking of frozen dense vectors, and nothing else.

    .. math:: \frac12 \left( H(softmax(C / \tau), S_s) + H(softmax(C^T / \tau), S_s^T) \right)

    Args:
        scores: Of a batch.
        teacher: Cosines C of the dense sides over their temperature; detached here.

    Returns:
        Scalar, mean over the batch.

    Relations:
        arXiv 2402.17535, the ``BaselineLoss`` of the code of arXiv 2508.16707.
    """
    teacher = teacher.detach()
    return (
        soft_cross_entropy(scores.sparse, teacher) + soft_cross_entropy(scores.sparse.T, teacher.T)
    ) / 2


def ranking_loss(
    text: Encoded,
    image: Encoded,
    temperature: Tensor,
    config: JointConfig,
    positives: Bool[Tensor, "batch batch"] | None = None,
) -> Float[Tensor, ""]:
    """Sum what a method learns from, without the regulariser.

    Args:
        text: Both sides of the texts.
        image: Both sides of the images.
        temperature: tau, scalar.
        config: Method and weights.
        positives: Which pairs belong together; None for the diagonal.

    Returns:
        Scalar: half of contrast and distillation together, as released; of "dense_to_sparse"
        its one loss.
    """
    scores = score(text, image, temperature, config)
    if config.method == "dense_to_sparse":
        cosines = image.dense @ text.dense.T
        return frozen_teacher(scores, cosines / config.d2s_temperature)
    total = contrast(scores, config, positives)
    if config.method != "no_distillation":
        total = total + distillation(scores, config)
    return total / 2


def shared_pairs(pairs: Tensor) -> Bool[Tensor, "batch batch"]:
    """Mark which image of a batch belongs to which text, beyond the diagonal.

    Args:
        pairs: int64 (batch, 2), the rows of text and image of each pair.

    Returns:
        True at (i, j) where pairs i and j have the same image or the same text.
    """
    text, image = pairs.T
    same: Tensor = (image[:, None] == image[None, :]) | (text[:, None] == text[None, :])
    return same


def clamp_temperature_(temperature: Tensor) -> None:
    """Keep the learned temperature in [0.001, 0.5], as released."""
    with torch.no_grad():
        temperature.clamp_(0.001, 0.5)
