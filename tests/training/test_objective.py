"""The whole loss of a step, against the paper's formulas in numpy, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from csrkit.training.autoencoder import Autoencoder
from csrkit.training.config import FitConfig
from csrkit.training.objective import Batch, Objective

DIM, LATENTS, K, VARIANCE = 6, 20, 3, 0.8
NO_BALANCE = torch.zeros(LATENTS)
ALIVE = torch.empty(0, dtype=torch.int64)


def unit(seed: int, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, DIM, generator=generator)
    return torch.nn.functional.normalize(x, dim=1)


@pytest.fixture
def model() -> Autoencoder:
    generator = torch.Generator().manual_seed(0)
    rows = unit(1, 30)
    made = Autoencoder(rows, rows.mean(dim=0), LATENTS, tied=False, generator=generator)
    with torch.no_grad():  # a bias that matters
        made.latent_bias.add_(torch.randn(LATENTS, generator=generator) / 10)
    return made


def objective(**settings: Any) -> Objective:
    """Return the objective of the published recipe with one rung, so nothing is drawn."""
    config = FitConfig(
        **{"recipe": "csr", "ladder": (K,), "n_latents": LATENTS, "aux_latents": 4, **settings}
    )
    return Objective(config, VARIANCE, torch.Generator().manual_seed(0))


# -- the formulas of arXiv 2503.01776, in numpy ----------------------------------------------


class Paper:
    """Equations 2 and 3 with the weights of a model, in float64."""

    def __init__(self, model: Autoencoder, x: torch.Tensor) -> None:
        self.w_enc, self.w_dec, self.b_enc, self.b_pre = (
            p.detach().double().numpy()
            for p in (model.encoder, model.decoder, model.latent_bias, model.pre_bias)
        )
        self.x = x.double().numpy()

    def codes(self, k: int, among: list[int] | None = None) -> np.ndarray:
        """Return ReLU(TopK(W_enc (x - b_pre) + b_enc))."""
        allowed = range(LATENTS) if among is None else among
        z = np.zeros((len(self.x), LATENTS))
        for row, x in enumerate(self.x):
            pre = self.w_enc @ (x - self.b_pre) + self.b_enc
            for latent in sorted(allowed, key=lambda j: -pre[j])[:k]:
                z[row, latent] = max(0.0, pre[latent])
        return z

    def decoded(self, k: int) -> np.ndarray:
        return self.codes(k) @ self.w_dec + self.b_pre

    def fvu(self, k: int) -> float:
        """Return equation 4, as a fraction of the variance."""
        return float(((self.x - self.decoded(k)) ** 2).sum(axis=1).mean() / VARIANCE)

    def auxiliary(self, dead: list[int], k_aux: int) -> float:
        """Return L_aux: the residual at k, explained by dead latents."""
        e = self.x - self.decoded(K)
        e_hat = self.codes(min(k_aux, len(dead)), dead) @ self.w_dec
        share = ((e - e_hat) ** 2).sum() / ((e - e.mean(axis=0)) ** 2).sum()
        return float(min(1.0, len(dead) / k_aux) * share)

    def scores(self, rows: slice, columns: slice) -> np.ndarray:
        z = self.codes(K)
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
        return z[rows] @ z[columns].T


def contrast(scores: np.ndarray, positive: np.ndarray, itself: bool) -> float:
    """Return -log of the share of the positives, mean over rows, temperature 0.2."""
    rows = []
    for i in range(len(scores)):
        others = [j for j in range(len(scores)) if itself or j != i]
        wanted = sum(math.exp(scores[i, j] / 0.2) for j in others if positive[i, j])
        rows.append(-math.log(wanted / sum(math.exp(scores[i, j] / 0.2) for j in others)))
    return sum(rows) / len(rows)


@pytest.mark.parametrize("dead", [[], [1, 7], [0, 2, 3, 5, 8, 13]])
def test_the_recipe_csr_is_equations_5_to_7(model: Autoencoder, dead: list[int]) -> None:
    x = unit(2, 9)
    found = objective()(model, Batch(x), (K,), NO_BALANCE, torch.tensor(dead, dtype=int))
    paper = Paper(model, x)
    expected = paper.fvu(K) + paper.fvu(4 * K) / 8
    if dead:
        expected += paper.auxiliary(dead, 4) / 32
    every = slice(0, 9)
    expected += 0.1 * contrast(paper.scores(every, every), np.eye(9, dtype=bool), itself=True)
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)
    assert found.fvu.item() == pytest.approx(paper.fvu(K), rel=1e-5)


def test_each_rung_weighs_half_of_what_is_left(model: Autoencoder) -> None:
    x = unit(2, 9)
    settings = {"ladder": (1, 2, 4), "contrast_weight": 0.0}
    found = objective(**settings)(model, Batch(x), (1, 2, 4), NO_BALANCE, ALIVE)
    paper = Paper(model, x)
    expected = paper.fvu(1) / 2 + paper.fvu(2) / 4 + paper.fvu(4) / 4 + paper.fvu(16) / 8
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_long_prefix_ends_at_the_number_of_latents(model: Autoencoder) -> None:
    x = unit(2, 9)
    settings = {"ladder": (18,), "contrast_weight": 0.0}
    found = objective(**settings)(model, Batch(x), (18,), NO_BALANCE, ALIVE)
    paper = Paper(model, x)
    assert found.loss.item() == pytest.approx(paper.fvu(18) + paper.fvu(LATENTS) / 8, rel=1e-5)
    found.loss.backward()  # type: ignore[no-untyped-call]


def test_pairs_are_both_reconstructed_and_contrasted(model: Autoencoder) -> None:
    x, y = unit(2, 9), unit(3, 9)
    found = objective()(model, Batch(x, positives=y), (K,), NO_BALANCE, ALIVE)
    paper = Paper(model, torch.cat([x, y]))
    scores = paper.scores(slice(0, 9), slice(9, 18))
    expected = paper.fvu(K) + paper.fvu(4 * K) / 8
    expected += 0.1 * contrast(scores, np.eye(9, dtype=bool), itself=True)
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)


def test_labels_are_contrasted_with_negatives(model: Autoencoder) -> None:
    x, labels = unit(2, 9), torch.tensor([0, 1, 2] * 3)
    found = objective()(model, Batch(x, labels=labels), (K,), NO_BALANCE, ALIVE)
    paper = Paper(model, x)
    same = (labels[:, None] == labels).numpy()
    expected = paper.fvu(K) + paper.fvu(4 * K) / 8
    term = contrast(paper.scores(slice(0, 9), slice(0, 9)), same, itself=False)
    assert term > 0.1  # there are negatives
    assert found.loss.item() == pytest.approx(expected + 0.1 * term, rel=1e-5)


def test_balance_moves_the_selection_as_a_bias_would(model: Autoencoder) -> None:
    x, balance = unit(2, 9), torch.linspace(-0.3, 0, LATENTS)
    with_balance = objective()(model, Batch(x), (K,), balance, ALIVE)
    with torch.no_grad():
        model.latent_bias.add_(balance)
    as_bias = objective()(model, Batch(x), (K,), NO_BALANCE, ALIVE)
    torch.testing.assert_close(with_balance.loss, as_bias.loss)
    plain = objective()(model, Batch(x), (K,), -balance, ALIVE)
    assert not torch.equal(plain.selection.indices, as_bias.selection.indices)


# -- what the losses may not touch -------------------------------------------------------------


def test_the_auxiliary_loss_trains_dead_latents_only(model: Autoencoder) -> None:
    x, dead = unit(2, 9), torch.tensor([1, 7])
    model.latent_bias.data[dead] = -0.2  # too low for the prefixes, high enough to fire alone
    weights = [model.encoder, model.decoder, model.latent_bias]

    def gradients(aux_weight: float) -> list[torch.Tensor]:
        loss = objective(aux_weight=aux_weight)(model, Batch(x), (K,), NO_BALANCE, dead).loss
        return list(torch.autograd.grad(loss, weights))

    for plain, more in zip(gradients(0.0), gradients(1.0), strict=True):
        living = torch.ones(LATENTS, dtype=torch.bool)
        living[dead] = False
        torch.testing.assert_close(plain[living], more[living])
        assert (plain[dead] != more[dead]).any()


def test_a_forward_pass_changes_nothing(model: Autoencoder) -> None:
    """Regression: the published code masks in place and counts while it evaluates."""
    x, balance, dead = unit(2, 9), NO_BALANCE.clone(), torch.tensor([1, 7])
    before = [p.detach().clone() for p in model.parameters()] + [x.clone(), balance.clone()]
    once = objective()(model, Batch(x), (K,), balance, dead)
    twice = objective()(model, Batch(x), (K,), balance, dead)
    assert once.loss.item() == twice.loss.item()
    after = [*model.parameters(), x, balance]
    assert all(map(torch.equal, before, after))


def test_distillation_takes_the_queries_that_are_given(model: Autoencoder) -> None:
    x = unit(2, 9)
    settings = {"contrast_weight": 0.0, "distillation_weight": 1.0}

    def loss(**inputs: Any) -> float:
        made = objective(**settings)
        return made(model, Batch(x, **inputs), (K,), NO_BALANCE, ALIVE).loss.item()

    without = objective(contrast_weight=0.0)(model, Batch(x), (K,), NO_BALANCE, ALIVE).loss.item()
    found = [loss(), loss(queries=unit(4, 5)), loss(queries=unit(5, 5))]
    assert len({without, *found}) == 4
    assert min(found) > without  # a divergence is positive
    assert loss() == found[0]


@pytest.mark.parametrize("dead", [[], [1, 7]])
def test_terms_beside_the_ladder_can_be_estimated_on_a_share_of_the_rows(
    model: Autoencoder, dead: list[int]
) -> None:
    x = unit(2, 9)
    settings = {"contrast_weight": 0.0, "auxiliary_share": 0.3}
    found = objective(**settings)(model, Batch(x), (K,), NO_BALANCE, torch.tensor(dead, dtype=int))
    some = Paper(model, x[:3])  # 2.7 rows, rounded up
    expected = Paper(model, x).fvu(K) + some.fvu(4 * K) / 8
    if dead:
        expected += some.auxiliary(dead, 4) / 32
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)
