"""The losses of joint training against the released code, transcribed to loops in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from csrkit.joint import JointConfig
from csrkit.joint.losses import (
    clamp_temperature_,
    contrast,
    distillation,
    ranking_loss,
    score,
    shared_pairs,
    symmetric_nce,
)
from csrkit.joint.modules import Encoded

BATCH, DIM, LATENTS, TAU = 5, 4, 7, 0.3


def sides(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(BATCH, DIM))
    return dense / np.linalg.norm(dense, axis=1, keepdims=True), rng.exponential(
        size=(BATCH, LATENTS)
    )


TEXT, IMAGE = sides(0), sides(1)


def encoded(side: tuple[np.ndarray, np.ndarray]) -> Encoded:
    return Encoded(*(torch.tensor(part, requires_grad=True) for part in side))


def softmax(row: np.ndarray) -> np.ndarray:
    weights = np.array([math.exp(value) for value in row])
    return weights / weights.sum()


def nce(s: np.ndarray) -> float:
    return -sum(math.log(softmax(row)[i]) for i, row in enumerate(s)) / len(s)


def soft(teacher: np.ndarray, s: np.ndarray) -> float:
    total = 0.0
    for t_row, s_row in zip(teacher, s, strict=True):
        total -= sum(p * math.log(q) for p, q in zip(softmax(t_row), softmax(s_row), strict=True))
    return total / len(s)


def released(config: JointConfig) -> dict[str, float]:
    """``BICELoss`` and ``BaselineLoss``; rows are images."""
    s_d = IMAGE[0] @ TEXT[0].T / TAU
    s_s = IMAGE[1] @ TEXT[1].T
    s_i = config.dense_weight * s_d + config.sparse_weight * s_s
    lambdas = config.dense_loss, config.sparse_loss

    def both(s: np.ndarray) -> float:
        return (nce(s) + nce(s.T)) / 2

    turned = s_i.T if config.transpose_teacher else s_i

    def distil(s: np.ndarray) -> float:
        return (soft(s_i, s) + soft(turned, s.T)) / 2

    cosines = IMAGE[0] @ TEXT[0].T / config.d2s_temperature
    return {
        "contrast": (lambdas[0] * both(s_d) + lambdas[1] * both(s_s) + both(s_i)) / 2,
        "distillation": (lambdas[0] * distil(s_d) + lambdas[1] * distil(s_s)) / 2,
        "d2s": (soft(cosines, s_s) + soft(cosines.T, s_s.T)) / 2,
    }


@pytest.mark.parametrize("transpose", [True, False])
def test_the_losses_are_those_of_the_released_code(transpose: bool) -> None:
    config = JointConfig(dense_loss=0.9, sparse_loss=0.3, transpose_teacher=transpose)
    text, image, tau = encoded(TEXT), encoded(IMAGE), torch.tensor(TAU, dtype=torch.float64)
    expected = released(config)
    scores = score(text, image, tau, config)
    assert contrast(scores, config).item() == pytest.approx(expected["contrast"])
    assert distillation(scores, config).item() == pytest.approx(expected["distillation"])
    whole = ranking_loss(text, image, tau, config).item()
    assert whole == pytest.approx((expected["contrast"] + expected["distillation"]) / 2)


def test_each_ablation_has_its_loss() -> None:
    tau = torch.tensor(TAU, dtype=torch.float64)

    def loss(method: str) -> float:
        config = JointConfig(method=method)  # type: ignore[arg-type]
        return ranking_loss(encoded(TEXT), encoded(IMAGE), tau, config).item()

    expected = released(JointConfig())
    assert loss("no_distillation") == pytest.approx(expected["contrast"] / 2)
    assert loss("dense_to_sparse") == pytest.approx(expected["d2s"])
    assert loss("frozen") == pytest.approx(loss("full"))  # frozen is what stays, not what is asked


def test_modalities_may_swap_only_with_a_transposed_teacher() -> None:
    tau = torch.tensor(TAU, dtype=torch.float64)

    def gap(*, transpose: bool) -> float:
        config = JointConfig(transpose_teacher=transpose)
        one = distillation(score(encoded(TEXT), encoded(IMAGE), tau, config), config)
        other = distillation(score(encoded(IMAGE), encoded(TEXT), tau, config), config)
        return abs(one.item() - other.item())

    assert gap(transpose=True) == pytest.approx(0, abs=1e-12)
    assert gap(transpose=False) > 1e-3


def gradient_at(w2_only: bool, teacher_grad: bool) -> Tensor:
    """Gradient of the distillation alone to the sparse codes of texts."""
    weights = {"dense_weight": 0.0, "sparse_weight": 1.0} if w2_only else {}
    config = JointConfig(sparse_loss=0.0, teacher_grad=teacher_grad, **weights)  # type: ignore[arg-type]
    text = encoded(TEXT)
    scores = score(text, encoded(IMAGE), torch.tensor(TAU, dtype=torch.float64), config)
    distillation(scores, config).backward()  # type: ignore[no-untyped-call]
    return torch.zeros(()) if text.sparse.grad is None else text.sparse.grad


def test_the_teacher_learns_unless_it_is_detached() -> None:
    # sparse_loss=0: codes can hear of the loss through the teacher alone
    assert gradient_at(True, teacher_grad=True).abs().sum() > 0
    assert gradient_at(True, teacher_grad=False).abs().sum() == 0


def test_captions_of_one_image_are_no_negatives() -> None:
    pairs = torch.tensor([[0, 9], [1, 9], [2, 8], [3, 7], [3, 6]])
    mask = shared_pairs(pairs)
    expected = torch.eye(5, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[3, 4] = expected[4, 3] = True
    assert torch.equal(mask, expected)
    scores = torch.tensor(IMAGE[1] @ TEXT[1].T, requires_grad=True)
    symmetric_nce(scores, mask).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert (scores.grad[mask] < 0).all()
    assert (scores.grad[~mask] > 0).all()


@pytest.mark.parametrize(("before", "after"), [(-1.0, 0.001), (0.07, 0.07), (3.0, 0.5)])
def test_the_temperature_stays_in_range(before: float, after: float) -> None:
    tau = torch.nn.Parameter(torch.tensor(before))
    clamp_temperature_(tau)
    assert tau.item() == pytest.approx(after)


def test_a_flat_detached_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dense_weight \+ sparse_weight near 1 .* got 0\.3"):
        JointConfig(teacher_grad=False)
    assert not JointConfig(teacher_grad=False, dense_weight=0.5, sparse_weight=0.5).teacher_grad
    with pytest.raises(ValueError, match="got both 0"):
        JointConfig(dense_weight=0, sparse_weight=0)
