"""Each loss against its formula, written out in loops over float64 numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from csrkit.training.losses import (
    auxiliary_fvu,
    label_contrast,
    pair_contrast,
    reconstruction_fvu,
    self_contrast,
    similarity_distillation,
)

SEEDS = st.integers(0, 10**6)
TAUS = st.sampled_from([0.02, 0.2, 1.0])


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def cosines(seed: int, n: int, m: int | None = None) -> np.ndarray:
    """Return inner products of non-negative unit rows, as codes have."""
    a = np.abs(normal(seed, n, 6))
    b = a if m is None else np.abs(normal(seed + 1, m, 6))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    return unit[0] @ unit[1].T


def tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def gradcheck(loss: Callable[[Tensor], Tensor], *inputs: np.ndarray) -> bool:
    return torch.autograd.gradcheck(loss, tuple(map(tensor, inputs)))


# -- reconstruction: arXiv 2503.01776, equations 4 and 5 -----------------------------


def squared_distance(x: np.ndarray, x_hat: np.ndarray) -> float:
    total = 0.0
    for row, other in zip(x, x_hat, strict=True):
        for a, b in zip(row, other, strict=True):
            total += (a - b) ** 2
    return total


@given(SEEDS, st.integers(1, 5))
def test_reconstruction_is_equation_4_over_the_variance(seed: int, batch: int) -> None:
    x = normal(seed, batch, 3)
    rungs = [normal(seed + r, batch, 3) for r in range(1, 4)]
    expected = [squared_distance(x, x_hat) / batch / 0.7 for x_hat in rungs]
    errors = tensor(np.array([((x - x_hat) ** 2).sum() for x_hat in rungs]))
    np.testing.assert_allclose(reconstruction_fvu(errors, batch, 0.7).detach(), expected)


def test_reconstruction_is_0_if_perfect_and_1_for_the_mean() -> None:
    x = normal(0, 50, 4)
    variance = float(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    errors = torch.tensor([0.0, squared_distance(x, np.tile(x.mean(axis=0), (50, 1)))])
    np.testing.assert_allclose(reconstruction_fvu(errors, 50, variance), [0, 1], rtol=1e-6)


@given(SEEDS, st.integers(2, 6), st.integers(1, 9), st.integers(1, 9))
def test_auxiliary_is_the_normalised_error_of_the_residual(
    seed: int, batch: int, n_dead: int, k_aux: int
) -> None:
    e, e_hat = normal(seed, batch, 3), normal(seed + 1, batch, 3)
    mean = [sum(e[:, d]) / batch for d in range(3)]
    expected = squared_distance(e, e_hat) / squared_distance(e, np.tile(mean, (batch, 1)))
    expected *= n_dead / k_aux if n_dead < k_aux else 1.0
    error = tensor(np.array(squared_distance(e, e_hat)))
    found = auxiliary_fvu(torch.tensor(e), error, n_dead, k_aux)
    assert found.item() == pytest.approx(expected)


def test_auxiliary_of_a_constant_residual_is_zero_with_a_finite_gradient() -> None:
    error = tensor(np.array(3.0))
    loss = auxiliary_fvu(torch.ones(4, 2, dtype=torch.float64), error, n_dead=1, k_aux=1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert error.grad is not None
    assert error.grad.item() == 0


def test_auxiliary_refuses_an_attached_residual() -> None:
    with pytest.raises(ValueError, match=r"^expected a detached residual: the aux loss trains"):
        auxiliary_fvu(tensor(normal(0, 3, 2)), torch.ones(()), n_dead=1, k_aux=1)


def test_auxiliary_has_the_derivative_of_its_formula() -> None:
    e = torch.tensor(normal(0, 4, 3))
    assert gradcheck(
        lambda e_hat: auxiliary_fvu(e, (e - e_hat).square().sum(), 2, 3), normal(1, 4, 3)
    )


# -- contrast: equation 6, with the temperature of the released code --------------------


def equation_6(scores: np.ndarray, tau: float) -> list[float]:
    """Return the loss of each row; its positive is on the diagonal."""
    rows = []
    for i in range(len(scores)):
        positive = math.exp(scores[i, i] / tau)
        negatives = sum(math.exp(scores[i, j] / tau) for j in range(len(scores)) if j != i)
        rows.append(-math.log(positive / (positive + negatives)))
    return rows


@pytest.mark.parametrize("loss", [self_contrast, pair_contrast])
@given(seed=SEEDS, batch=st.integers(1, 6), tau=TAUS)
def test_contrast_is_equation_6(
    loss: Callable[[Tensor, float], Tensor], seed: int, batch: int, tau: float
) -> None:
    scores = cosines(seed, batch, batch)
    expected = sum(equation_6(scores, tau)) / batch
    assert loss(tensor(scores), tau).item() == pytest.approx(expected)


def released_form(z: np.ndarray, tau: float) -> list[float]:
    """Return the rows of the loss as released: both copies of a batch, 2B x 2B.

    ``inbatch_cl`` of the CSR code: the positive of a row is its other copy, all
    rows but these two are negatives.
    """
    both = np.concatenate([z, z])
    batch, rows = len(z), []
    for i in range(2 * batch):
        other = (i + batch) % (2 * batch)
        positive = math.exp(both[i] @ both[other] / tau)
        negatives = sum(
            math.exp(both[i] @ both[j] / tau) for j in range(2 * batch) if j not in (i, other)
        )
        rows.append(-math.log(positive / (positive + negatives)))
    return rows


@given(SEEDS, st.integers(2, 6))
def test_the_released_contrast_is_ours_with_every_negative_twice(seed: int, batch: int) -> None:
    z = np.abs(normal(seed, batch, 5))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    scores = z @ z.T
    released = released_form(z, 0.2)
    # both copies are the same vectors, so the positive is exp(1 / 0.2) always and
    # each negative comes twice: log(1 + 2 e^-5 sum_j e^(5 cos))
    for i in range(batch):
        others = sum(math.exp(5 * scores[i, j]) for j in range(batch) if j != i)
        assert released[i] == pytest.approx(math.log(1 + 2 * math.exp(-5) * others))
        assert released[i + batch] == pytest.approx(released[i])
    ours = equation_6(scores, 0.2)
    assert released[:batch] == pytest.approx([math.log1p(2 * math.expm1(row)) for row in ours])
    # a score of tau log 2 more for the negatives is what counts them twice
    doubled = tensor(scores + 0.2 * math.log(2) * (1 - np.eye(batch)))
    assert self_contrast(doubled, 0.2).item() == pytest.approx(sum(released) / (2 * batch))


def test_self_contrast_only_repels() -> None:
    scores = tensor(cosines(0, 5))
    self_contrast(scores, 0.2).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert (scores.grad[~torch.eye(5, dtype=torch.bool)] > 0).all()


def test_contrast_refuses_scores_without_a_diagonal() -> None:
    with pytest.raises(
        ValueError, match=r"^expected scores of shape \(batch, batch\), got \(2, 3\)"
    ):
        pair_contrast(torch.zeros(2, 3), 0.2)


# -- supervised contrast: SpSCL of arXiv 2602.05735 ---------------------------------------


def spscl(scores: np.ndarray, labels: list[int], tau: float) -> float:
    rows = []
    for i in range(len(scores)):
        positives = negatives = 0.0
        for j in range(len(scores)):
            if j != i and labels[j] == labels[i]:
                positives += math.exp(scores[i, j] / tau)
            elif j != i:
                negatives += math.exp(scores[i, j] / tau)
        if positives:
            rows.append(-math.log(positives / (positives + negatives)))
    return sum(rows) / len(rows) if rows else 0.0


@given(SEEDS, st.lists(st.integers(0, 2), min_size=1, max_size=7), TAUS)
def test_label_contrast_is_the_formula(seed: int, labels: list[int], tau: float) -> None:
    scores = cosines(seed, len(labels))
    found = label_contrast(tensor(scores), torch.tensor(labels), tau)
    assert found.item() == pytest.approx(spscl(scores, labels, tau), abs=1e-12)


def test_label_contrast_attracts_its_label_and_repels_the_others() -> None:
    """Regression: the released code lost the labels, so no row had a negative."""
    labels = torch.tensor([0, 0, 1, 1, 2])
    scores = tensor(cosines(3, 5))
    label_contrast(scores, labels, 0.2).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    same = labels[:, None] == labels
    itself = torch.eye(5, dtype=torch.bool)
    assert (scores.grad[:4][~same[:4]] > 0).all()
    assert (scores.grad[:4][(same & ~itself)[:4]] < 0).all()
    assert (scores.grad[itself] == 0).all()
    assert (scores.grad[4] == 0).all()  # no other row of its label: not an anchor


def test_without_negatives_the_labels_say_nothing() -> None:
    scores = tensor(cosines(3, 5))
    assert label_contrast(scores, torch.zeros(5, dtype=int), 0.2).item() == pytest.approx(0)
    alone = label_contrast(scores, torch.arange(5), 0.2)
    alone.backward()  # type: ignore[no-untyped-call]  # still part of the graph
    assert alone.item() == 0


# -- distillation ----------------------------------------------------------------------------


def kl(student: np.ndarray, teacher: np.ndarray, tau: float, mask: np.ndarray) -> float:
    total = 0.0
    for s, c, hidden in zip(student, teacher, mask, strict=True):
        shown = [d for d in range(len(s)) if not hidden[d]]
        weights = [math.exp(c[d] / tau) for d in shown]
        guesses = [math.exp(s[d] / tau) for d in shown]
        for weight, guess in zip(weights, guesses, strict=True):
            p, q = weight / sum(weights), guess / sum(guesses)
            total += p * math.log(p / q)
    return total / len(student)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seed=SEEDS, shape=st.tuples(st.integers(1, 5), st.integers(2, 5)), tau=TAUS, data=st.data())
def test_distillation_is_the_formula(
    dtype: torch.dtype, seed: int, shape: tuple[int, int], tau: float, data: st.DataObject
) -> None:
    student, teacher = cosines(seed, *shape), cosines(seed + 2, *shape)
    mask = np.zeros(shape, dtype=bool)
    if data.draw(st.booleans()):
        mask[np.arange(shape[0]), np.arange(shape[0]) % shape[1]] = True
    found = similarity_distillation(
        torch.tensor(student, dtype=dtype),
        torch.tensor(teacher, dtype=dtype),
        tau,
        torch.tensor(mask) if mask.any() else None,
    )
    assert found.item() == pytest.approx(kl(student, teacher, tau, mask), rel=1e-3, abs=1e-4)


def test_a_masked_document_has_no_say() -> None:
    """Regression: -inf in both distributions made the loss, and then the weights, NaN."""
    student, teacher = tensor(cosines(0, 4)), tensor(cosines(1, 4))
    itself = torch.eye(4, dtype=torch.bool)
    loss = similarity_distillation(student, teacher, 0.05, itself)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() > 0
    assert student.grad is not None
    assert (student.grad[itself] == 0).all()
    assert (student.grad[~itself] != 0).all()
    assert teacher.grad is None
    with torch.no_grad():
        student[itself] += 5
        teacher[itself] -= 5
    assert similarity_distillation(student, teacher, 0.05, itself).item() == loss.item()


def test_distillation_is_0_only_where_the_distributions_agree() -> None:
    scores = tensor(cosines(0, 4))
    assert similarity_distillation(scores, scores + 3, 0.05).item() == pytest.approx(0)
    assert similarity_distillation(scores, scores * 2, 0.05).item() > 0.01


# -- derivatives ------------------------------------------------------------------------------

LABELS = torch.tensor([0, 1, 0, 1, 0])
TEACHER = torch.tensor(cosines(9, 5))
MASK = torch.eye(5, dtype=torch.bool)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, tau=TAUS)
@pytest.mark.parametrize(
    "loss",
    [
        self_contrast,
        pair_contrast,
        lambda s, tau: label_contrast(s, LABELS, tau),
        lambda s, tau: similarity_distillation(s, TEACHER, tau),
        lambda s, tau: similarity_distillation(s, TEACHER, tau, MASK),
    ],
    ids=["self", "pair", "label", "distil", "distil masked"],
)
def test_derivatives_are_those_of_finite_differences(
    loss: Callable[[Tensor, float], Tensor], seed: int, tau: float
) -> None:
    assert gradcheck(lambda scores: loss(scores, tau), cosines(seed, 5))
