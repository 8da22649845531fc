"""Ranking and sparsity losses against their formulas, in loops over float64 numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from csrkit.training.losses import pair_contrast, similarity_distillation
from csrkit.training.ranking import info_nce, list_kl, margin_mse, soft_cross_entropy
from csrkit.training.sparsity import QuadraticRamp, flops, l1

SEEDS = st.integers(0, 10**6)
SHAPES = st.tuples(st.integers(1, 5), st.integers(2, 6))


def normal(seed: int, *shape: int) -> np.ndarray:
    return 3 * np.random.default_rng(seed).normal(size=shape)


def tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def softmax(row: np.ndarray) -> list[float]:
    weights = [math.exp(value) for value in row]
    return [weight / sum(weights) for weight in weights]


# -- InfoNCE ------------------------------------------------------------------------------


def nce(scores: np.ndarray, positives: list[list[int]]) -> float:
    total = 0.0
    for row, wanted in zip(scores, positives, strict=True):
        p = softmax(row)
        total -= math.log(sum(p[column] for column in wanted))
    return total / len(scores)


@given(SEEDS, SHAPES, st.data())
def test_info_nce_of_one_positive_each_is_the_formula(
    seed: int, shape: tuple[int, int], data: st.DataObject
) -> None:
    scores = normal(seed, *shape)
    columns = data.draw(st.lists(st.integers(0, shape[1] - 1), min_size=len(scores), max_size=5))
    columns = columns[: len(scores)]
    found = info_nce(tensor(scores), torch.tensor(columns))
    assert found.item() == pytest.approx(nce(scores, [[c] for c in columns]))


@given(SEEDS, SHAPES)
def test_info_nce_of_several_positives_is_the_formula(seed: int, shape: tuple[int, int]) -> None:
    scores, rng = normal(seed, *shape), np.random.default_rng(seed)
    mask = rng.random(shape) < 0.4
    mask[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = True
    found = info_nce(tensor(scores), torch.tensor(mask))
    expected = nce(scores, [list(np.flatnonzero(row)) for row in mask])
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_info_nce_takes_the_diagonal_unless_told() -> None:
    scores = tensor(normal(0, 4, 4))
    diagonal = info_nce(scores, torch.eye(4, dtype=torch.bool))
    assert info_nce(scores).item() == pytest.approx(diagonal.item())
    assert info_nce(scores).item() == pytest.approx(pair_contrast(scores, 1.0).item())
    wide = normal(1, 2, 5)
    assert info_nce(tensor(wide)).item() == pytest.approx(nce(wide, [[0], [1]]))


def test_another_positive_is_no_negative() -> None:
    scores = tensor(normal(3, 2, 3))
    mask = torch.tensor([[True, True, False], [False, True, False]])
    info_nce(scores, mask).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert (scores.grad[mask] < 0).all()
    assert (scores.grad[~mask] > 0).all()


@pytest.mark.parametrize(
    ("positives", "message"),
    [
        (torch.tensor([0, 1, 1]), r"^expected one positive per query, \(2,\), got \(3,\)"),
        (torch.ones(2, 2, dtype=torch.bool), r"^expected a mask like the scores, \(2, 3\), got"),
        (torch.tensor([[True] * 3, [False] * 3]), "^expected a positive for every query, got a"),
    ],
)
def test_info_nce_refuses_positives_that_do_not_fit(positives: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        info_nce(torch.zeros(2, 3), positives)


def test_info_nce_refuses_more_queries_than_the_diagonal_has() -> None:
    with pytest.raises(ValueError, match=r"^expected a document per query on the diagonal, got"):
        info_nce(torch.zeros(3, 2))


# -- distillation -------------------------------------------------------------------------


@given(SEEDS, SHAPES)
def test_soft_cross_entropy_is_the_formula(seed: int, shape: tuple[int, int]) -> None:
    scores, teacher = normal(seed, *shape), normal(seed + 1, *shape)
    expected = 0.0
    for s, t in zip(scores, teacher, strict=True):
        expected -= sum(p * math.log(q) for p, q in zip(softmax(t), softmax(s), strict=True))
    found = soft_cross_entropy(tensor(scores), tensor(teacher))
    assert found.item() == pytest.approx(expected / len(scores))


def test_the_teacher_of_soft_cross_entropy_learns_too() -> None:
    scores, teacher = tensor(normal(0, 3, 3)), tensor(normal(1, 3, 3))
    soft_cross_entropy(scores, teacher).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert teacher.grad is not None
    assert teacher.grad.abs().sum() > 0


@given(SEEDS, SHAPES)
def test_list_kl_is_the_formula(seed: int, shape: tuple[int, int]) -> None:
    scores, teacher = normal(seed, *shape), normal(seed + 1, *shape)
    expected = 0.0
    for s, t in zip(scores, teacher, strict=True):
        expected += sum(p * math.log(p / q) for p, q in zip(softmax(t), softmax(s), strict=True))
    found = list_kl(tensor(scores), tensor(teacher))
    assert found.item() == pytest.approx(expected / len(scores), abs=1e-12)
    same = similarity_distillation(tensor(scores), tensor(teacher), temperature=1.0)
    assert found.item() == pytest.approx(same.item())


def test_list_kl_does_not_see_a_constant_per_query() -> None:
    teacher, level = normal(0, 4, 5), normal(1, 4, 1)
    assert list_kl(tensor(teacher + level), tensor(teacher)).item() == pytest.approx(0, abs=1e-12)
    assert list_kl(tensor(2 * teacher), tensor(teacher)).item() > 0.1


@given(SEEDS, SHAPES)
def test_margin_mse_is_the_formula(seed: int, shape: tuple[int, int]) -> None:
    student, teacher = normal(seed, *shape), normal(seed + 1, *shape)
    squares = [
        ((s[0] - s[n]) - (t[0] - t[n])) ** 2
        for s, t in zip(student, teacher, strict=True)
        for n in range(1, shape[1])
    ]
    found = margin_mse(tensor(student), tensor(teacher))
    assert found.item() == pytest.approx(sum(squares) / len(squares))
    level = normal(seed + 2, shape[0], 1)
    assert margin_mse(tensor(teacher + level), tensor(teacher)).item() == pytest.approx(0)


@pytest.mark.parametrize("loss", [list_kl, margin_mse])
def test_a_teacher_from_outside_gets_no_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    student, teacher = tensor(normal(0, 2, 3)), tensor(normal(1, 2, 3))
    loss(student, teacher).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("loss", [list_kl, margin_mse, soft_cross_entropy])
def test_other_pairs_are_refused(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"same pairs.*got \(2, 3\) and \(3, 2\)"):
        loss(torch.zeros(2, 3), torch.zeros(3, 2))


def test_a_margin_needs_a_negative() -> None:
    with pytest.raises(ValueError, match=r"one or more negatives per query, got \(2, 1\)"):
        margin_mse(torch.zeros(2, 1), torch.zeros(2, 1))


# -- sparsity -------------------------------------------------------------------------------


@given(SEEDS, SHAPES)
def test_regularisers_are_the_formulas(seed: int, shape: tuple[int, int]) -> None:
    z = normal(seed, *shape)
    rows, columns = shape
    sums = [sum(abs(z[b, j]) for j in range(columns)) for b in range(rows)]
    means = [sum(abs(z[b, j]) for b in range(rows)) / rows for j in range(columns)]
    assert l1(tensor(z)).item() == pytest.approx(sum(sums) / rows)
    assert flops(tensor(z)).item() == pytest.approx(sum(mean**2 for mean in means))


def test_flops_pulls_hardest_at_the_busiest_latent() -> None:
    z = tensor(np.array([[1.0, 1.0], [1.0, 0.0]]))
    flops(z).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad[0, 0] == 2 * z.grad[0, 1]


def test_the_ramp_is_quadratic_and_then_flat() -> None:
    ramp = QuadraticRamp(0.05, steps=200)
    expected = [0.05 * (s / 200) ** 2 if s < 200 else 0.05 for s in range(0, 400, 10)]
    assert [ramp(s) for s in range(0, 400, 10)] == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [(-1.0, 10), (math.nan, 10), (1.0, 0)])
def test_a_ramp_needs_a_weight_and_steps(wrong: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match=r"^expected a weight of at least 0 and 1 or more steps"):
        QuadraticRamp(*wrong)


# -- derivatives ------------------------------------------------------------------------------

MASK = torch.eye(4, dtype=torch.bool) | (torch.arange(16).reshape(4, 4) % 3 == 0)
TEACHER = torch.tensor(normal(9, 4, 4))


@pytest.mark.parametrize(
    "loss",
    [
        info_nce,
        lambda s: info_nce(s, MASK),
        lambda s: soft_cross_entropy(s, TEACHER),
        lambda t: soft_cross_entropy(TEACHER, t),
        lambda s: list_kl(s, TEACHER),
        lambda s: margin_mse(s, TEACHER),
        l1,
        flops,
    ],
    ids=["nce", "nce mask", "soft", "soft teacher", "kl", "margin", "l1", "flops"],
)
def test_derivatives_are_those_of_finite_differences(loss: Callable[[Tensor], Tensor]) -> None:
    assert torch.autograd.gradcheck(loss, (tensor(normal(5, 4, 4)),))
