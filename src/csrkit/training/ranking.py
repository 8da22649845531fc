"""Ranking losses over a score matrix: contrast, and distillation of one ranking into another.

Used by the trainers of text encoders and lexical heads (`csrkit.joint`, `csrkit.llm`), whose
scores are raw inner products: a temperature is applied by the caller, ``scores / tau``, before
the loss sees them. Every function returns its mean over the queries; weights belong to the caller.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

__all__ = ["info_nce", "list_kl", "margin_mse", "soft_cross_entropy"]


def info_nce(
    scores: Float[Tensor, "queries documents"],
    positives: Int[Tensor, " queries"] | Bool[Tensor, "queries documents"] | None = None,
) -> Float[Tensor, ""]:
    r"""Contrast of each query's positives with every other document of the batch.

    .. math:: -\frac1Q \sum_q \log \frac{\sum_{p \in P(q)} e^{s_{qp}}}{\sum_d e^{s_{qd}}}

    Args:
        scores: Of every query with every document, divided by the temperature.
        positives: Column of each query's one positive; or True wherever a document is a
            positive, at least one per query. None: document q is the positive of query q.

    Returns:
        Scalar, mean over the queries; 0 when the positives take all of the softmax.

    Raises:
        ValueError: If the shapes do not fit, or a query has no positive.

    Relations:
        The contrast of arXiv 2508.16707 and the ``CL`` loss of arXiv 2502.15526. Several
        positives are summed inside the logarithm, as in `label_contrast`: none of them is a
        negative, and the loss does not ask the model to like them equally. The case None is
        `pair_contrast` at temperature 1.

    Examples:
        >>> info_nce(torch.zeros(2, 4))  # log 4
        tensor(1.3863)
        >>> info_nce(torch.zeros(1, 4), torch.tensor([[True, True, False, False]]))  # log 2
        tensor(0.6931)
    """
    queries, documents = scores.shape
    if positives is None:
        if documents < queries:
            raise ValueError(
                f"expected a document per query on the diagonal, got scores {(queries, documents)}"
            )
        positives = torch.arange(queries, device=scores.device)
    if positives.dtype != torch.bool:
        if positives.shape != (queries,):
            raise ValueError(
                f"expected one positive per query, ({queries},), got {tuple(positives.shape)}"
            )
        return functional.cross_entropy(scores, positives)
    if positives.shape != scores.shape:
        raise ValueError(
            f"expected a mask like the scores, {(queries, documents)}, got {tuple(positives.shape)}"
        )
    if not bool(positives.any(dim=1).all()):
        raise ValueError("expected a positive for every query, got a row of the mask without one")
    of_positives = scores.masked_fill(~positives, -torch.inf).logsumexp(dim=1)
    return (scores.logsumexp(dim=1) - of_positives).mean()


def soft_cross_entropy(
    scores: Float[Tensor, "queries documents"], teacher: Float[Tensor, "queries documents"]
) -> Float[Tensor, ""]:
    r"""Cross-entropy of a ranking with the distribution of a teacher's scores.

    .. math:: -\frac1Q \sum_q \sum_d softmax(t_q)_d \log softmax(s_q)_d

    Args:
        scores: The student's, divided by its temperature.
        teacher: The teacher's, likewise. **Not detached**: a teacher that is to stay as it
            is has to come without gradient; one that keeps it is sharpened as well.

    Returns:
        Scalar, mean over the queries; least, at the teacher's entropy, when both
        distributions agree.

    Raises:
        ValueError: If the shapes differ.

    Relations:
        The distillation of arXiv 2508.16707 (bi-directional self-knowledge distillation).
        `list_kl` differs from it by the teacher's entropy, a constant only where the
        teacher has no gradient.

    Examples:
        >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[9.0, 0.0]]))  # log 2
        tensor(0.6931)
    """
    _same_shape(scores, teacher)
    target = functional.softmax(teacher, dim=1)
    return -(target * functional.log_softmax(scores, dim=1)).sum(dim=1).mean()


def margin_mse(
    student: Float[Tensor, "queries documents"], teacher: Float[Tensor, "queries documents"]
) -> Float[Tensor, ""]:
    r"""Squared difference of the margins by which a positive beats its negatives.

    .. math:: \frac{1}{Q N} \sum_q \sum_{n=1}^{N} \left(
        (s_{q0} - s_{qn}) - (t_{q0} - t_{qn}) \right)^2

    Args:
        student: Scores of each query with its own documents: the positive in column 0,
            then one or more negatives.
        teacher: Scores of a cross-encoder for the same pairs; detached here.

    Returns:
        Scalar, mean over queries and negatives, in squared units of the teacher's scores;
        0 when the margins agree, whatever the level of the scores.

    Raises:
        ValueError: If the shapes differ, or there is no negative.

    Relations:
        The ``KD`` loss of arXiv 2502.15526 (one negative per query), after arXiv 2010.02666.

    Examples:
        >>> margin_mse(torch.tensor([[3.0, 1.0]]), torch.tensor([[9.0, 8.0]]))  # (2 - 1)^2
        tensor(1.)
    """
    _same_shape(student, teacher)
    if student.shape[1] < 2:
        raise ValueError(
            f"expected a positive and one or more negatives per query, got {tuple(student.shape)}"
        )
    wanted = teacher[:, :1] - teacher[:, 1:]
    return functional.mse_loss(student[:, :1] - student[:, 1:], wanted.detach())


def list_kl(
    student: Float[Tensor, "queries documents"], teacher: Float[Tensor, "queries documents"]
) -> Float[Tensor, ""]:
    r"""Divergence of a student's ranking of each query's list from a teacher's.

    .. math:: \frac1Q \sum_q KL\left( softmax(t_q) \,\|\, softmax(s_q) \right)

    Args:
        student: Scores of each query with the documents of its list, divided by the
            temperature.
        teacher: The teacher's scores of the same pairs, likewise; detached here.

    Returns:
        Scalar, mean over the queries; 0 when the two distributions agree, that is when
        the scores differ by a constant per query.

    Raises:
        ValueError: If the shapes differ.

    Relations:
        The KL part of ``CL+KD`` in arXiv 2502.15526, at temperature 1.
        `similarity_distillation` is the same with a temperature and a mask.

    Examples:
        >>> list_kl(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 5.0]]))
        tensor(0.)
    """
    _same_shape(student, teacher)
    log_teacher = functional.log_softmax(teacher.detach(), dim=1)
    log_student = functional.log_softmax(student, dim=1)
    return functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def _same_shape(scores: Tensor, teacher: Tensor) -> None:
    if scores.shape != teacher.shape or scores.ndim != 2:
        raise ValueError(
            "expected scores of student and teacher for the same pairs, (queries, documents), "
            f"got {tuple(scores.shape)} and {tuple(teacher.shape)}"
        )
