"""The losses, one function each: a formula, its shapes, its source.

All similarity losses take a **score matrix** of normalised codes (or of dense
vectors), so that one sparse product serves several of them. Every function
returns its mean over the batch; weights belong to the caller.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

__all__ = [
    "auxiliary_fvu",
    "label_contrast",
    "pair_contrast",
    "reconstruction_fvu",
    "self_contrast",
    "similarity_distillation",
]


def reconstruction_fvu(
    squared_errors: Float[Tensor, " rungs"], batch: int, variance: float
) -> Float[Tensor, " rungs"]:
    r"""Fraction of variance unexplained by each rung's reconstruction.

    .. math:: FVU_r = \frac{1}{B \sigma^2} \sum_b |x_b - \hat x_{r,b}|^2

    Args:
        squared_errors: Squared distance of rows and their reconstructions at each
            rung, summed over the batch, float (rungs,); see
            `csrkit.training.sparse_ops.prefix_errors`.
        batch: Rows summed over.
        variance: Mean squared distance of the training rows from their mean,
            over all dimensions; a constant of the data set, so that the weights
            of the other losses mean the same on every model.

    Returns:
        float (rungs,), mean over the batch; 0 is perfect, 1 is no better than
        the mean row.

    Relations:
        Equation 4 of arXiv 2503.01776 divided by a constant. The released code
        averages over dimensions instead, which makes the term shrink with dim.

    Examples:
        >>> reconstruction_fvu(torch.tensor([0.0, 3.0]), batch=2, variance=0.5)
        tensor([0., 3.])
    """
    return squared_errors / (batch * variance)


def auxiliary_fvu(
    residual: Float[Tensor, "batch dim"],
    squared_error: Float[Tensor, ""],
    n_dead: int,
    k_aux: int,
) -> Float[Tensor, ""]:
    r"""How badly the dead latents explain what the living ones leave.

    .. math:: \min(1, n_{dead} / k_{aux}) \cdot
        \frac{\sum_b |e_b - \hat e_b|^2}{\sum_b |e_b - \bar e|^2}

    Args:
        residual: ``e = x - x_hat``, float (batch, dim), without gradient: the
            term only trains the dead latents.
        squared_error: Squared distance of the residual and its reconstruction by
            the top dead latents, summed over the batch; scalar.
        n_dead: Number of dead latents.
        k_aux: Most dead latents a row may use if there were enough of them.

    Returns:
        Scalar, a ratio of sums over the batch; 0 if the residual is constant.

    Raises:
        ValueError: If the residual carries a gradient.

    Relations:
        Equation 5 of arXiv 2503.01776 (after arXiv 2406.04093, section A.2); the
        scale for few dead latents is that of EleutherAI's sparsify.

    Examples:
        >>> e = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> auxiliary_fvu(e, e.square().sum(), n_dead=1, k_aux=4)
        tensor(0.5000)
    """
    if residual.requires_grad:
        raise ValueError("expected a detached residual: the aux loss trains dead latents only")
    spread = (residual - residual.mean(dim=0)).square().sum()
    scale = min(1.0, n_dead / k_aux)
    return torch.where(spread > 0, scale * squared_error / spread.clamp_min(1e-30), 0 * spread)


def self_contrast(scores: Float[Tensor, "batch batch"], temperature: float) -> Float[Tensor, ""]:
    r"""Non-negative contrastive loss whose positive is the sample itself.

    .. math:: -\frac1B \sum_i \log \frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}}

    Args:
        scores: Inner products of the normalised TopK codes of a batch with
            themselves, float (batch, batch).
        temperature: tau, positive; lower weighs the closest rows more.

    Returns:
        Scalar, mean over the rows. With normalised codes the positive is
        constant, so the loss only pushes different rows apart.

    Relations:
        Equation 6 of arXiv 2503.01776, with the temperature of the released code.

    Examples:
        >>> self_contrast(torch.eye(2) * 100, temperature=1.0)
        tensor(0.)
    """
    return pair_contrast(scores, temperature)


def pair_contrast(scores: Float[Tensor, "batch batch"], temperature: float) -> Float[Tensor, ""]:
    r"""InfoNCE from each row to its positive, all other positives being negatives.

    .. math:: -\frac1B \sum_i \log \frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}}

    Args:
        scores: Inner products of row i's code with the code of positive j,
            float (batch, batch).
        temperature: tau, positive.

    Returns:
        Scalar, mean over the rows.

    Raises:
        ValueError: If the scores are not square.

    Relations:
        Section 2.3 of the retrieval trainer released with arXiv 2503.01776.
        `self_contrast` is the case in which each row is its own positive.

    Examples:
        >>> pair_contrast(torch.zeros(2, 2), temperature=1.0)  # log 2
        tensor(0.6931)
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"expected scores of shape (batch, batch), got {tuple(scores.shape)}")
    target = torch.arange(len(scores), device=scores.device)
    return functional.cross_entropy(scores / temperature, target)


def label_contrast(
    scores: Float[Tensor, "batch batch"],
    labels: Int[Tensor, " batch"],
    temperature: float,
) -> Float[Tensor, ""]:
    r"""Supervised contrast: every row of the same label is a positive.

    .. math:: -\frac{1}{|A|} \sum_{i \in A} \log
        \frac{\sum_{p \in P(i)} e^{s_{ip}/\tau}}{\sum_{j \neq i} e^{s_{ij}/\tau}}

    Args:
        scores: Inner products of the normalised TopK codes of a batch with
            themselves, float (batch, batch).
        labels: Class of each row, int (batch,).
        temperature: tau, positive.

    Returns:
        Scalar, mean over the rows A that have a positive in the batch; 0 if
        there are none.

    Relations:
        SpSCL of arXiv 2602.05735: the sum over positives is inside the logarithm.
        The released code counts the row's own copy as a positive; here a row
        never is its own.

    Examples:
        >>> label_contrast(torch.zeros(3, 3), torch.tensor([0, 0, 1]), temperature=1.0)
        tensor(0.6931)
    """
    itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    logits = (scores / temperature).masked_fill(itself, -torch.inf)
    anchors = positive.any(dim=1)
    if not anchors.any():
        return scores.sum() * 0
    logits, positive = logits[anchors], positive[anchors]
    of_positives = logits.masked_fill(~positive, -torch.inf).logsumexp(dim=1)
    return (logits.logsumexp(dim=1) - of_positives).mean()


def similarity_distillation(
    student: Float[Tensor, "queries documents"],
    teacher: Float[Tensor, "queries documents"],
    temperature: float,
    mask: Bool[Tensor, "queries documents"] | None = None,
) -> Float[Tensor, ""]:
    r"""Make sparse scores rank the batch as the dense cosines do.

    .. math:: \frac1Q \sum_q KL\left( softmax(c_q / \tau) \,\|\, softmax(s_q / \tau) \right)

    Args:
        student: Scores of codes, float (queries, documents).
        teacher: Cosines of the dense vectors, same shape; detached here.
        temperature: tau, positive. Cosines of neighbours differ by hundredths, so
            0.02 to 0.05 looks at the nearest and 0.2 at the whole batch.
        mask: True where a document must not count for a query, usually the
            query itself: its cosine of 1 would drown all others.

    Returns:
        Scalar, mean over the queries; 0 when the two distributions agree.

    Relations:
        csrkit's own. It is the relational form of knowledge distillation: the
        paper's self-positive contrast only repels, this also says how much.

    Examples:
        >>> c = torch.tensor([[0.9, 0.1]])
        >>> similarity_distillation(c, c, temperature=0.05)
        tensor(0.)
    """
    student, teacher = student / temperature, teacher.detach() / temperature
    if mask is not None:
        # finite, and after the division: -inf in both would make 0 * (inf - inf) = NaN
        hide = torch.finfo(student.dtype).min
        student, teacher = student.masked_fill(mask, hide), teacher.masked_fill(mask, hide)
    log_student = functional.log_softmax(student, dim=1)
    log_teacher = functional.log_softmax(teacher, dim=1)
    return functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
