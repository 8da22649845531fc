"""The benchmark's published step computes what the released code computes.

The oracle is a literal numpy transcription in float64 of sections 3.2 and C.4 of arXiv 2503.01776
with the constants and the order of events of the released trainer; it loops over rows and latents.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
BATCH, DIM, LATENTS, K, K_AUX = 6, 5, 16, 2, 3


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import _published

    yield _published
    sys.modules.pop("_published")


class Oracle:
    """The formulas, one loop each, on weights copied from a model."""

    def __init__(self, model: Any) -> None:
        self.w = model.encoder.weight.detach().numpy().copy()
        self.b_enc = model.latent_bias.detach().numpy().copy()
        self.b_pre = model.pre_bias.detach().numpy().copy()
        self.calls = model.calls_since_fired.numpy().copy()
        self.limit = model.dead_calls

    def top(self, pre: np.ndarray, k: int) -> np.ndarray:
        z = np.zeros_like(pre)
        for row, values in enumerate(pre):
            for j in sorted(range(len(values)), key=lambda j: -values[j])[:k]:
                z[row, j] = max(values[j], 0.0)
        return z

    def forward(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pre = (x - self.b_pre) @ self.w.T + self.b_enc
        z = self.top(pre, k)
        for j in range(LATENTS):
            self.calls[j] = 1 if (z[:, j] > 1e-5).any() else self.calls[j] + 1
        pre[:, self.calls <= self.limit] = 0.0
        z_aux = self.top(pre, K_AUX)
        return z, z @ self.w + self.b_pre, z_aux @ self.w + self.b_pre

    def losses(self, x: np.ndarray) -> tuple[float, float, float, float]:
        first, x_k, x_aux = self.forward(x, K)
        _, x_4k, _ = self.forward(x, 4 * K)
        second, _, _ = self.forward(x, K)
        e = x - x_k + self.b_pre
        aux = np.mean((x_aux - e) ** 2) / np.mean((e.mean(axis=0) - e) ** 2)
        z = np.concatenate([first, second])
        z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
        rows = []
        for i in range(2 * BATCH):
            near = [np.exp(z[i] @ z[j] / 0.2) for j in range(2 * BATCH)]
            positive = near[(i + BATCH) % (2 * BATCH)]
            others = sum(near[j] for j in range(2 * BATCH) if j % BATCH != i % BATCH)
            rows.append(-np.log(positive / (positive + others)))
        return np.mean((x - x_k) ** 2), np.mean((x - x_4k) ** 2), aux, float(np.mean(rows))


def make(published: Any, dead: int = 5) -> tuple[Any, Any]:
    torch.manual_seed(3)
    model = published.PublishedAutoencoder(DIM, LATENTS, k_aux=K_AUX).double()
    with torch.no_grad():
        model.pre_bias.normal_()
        model.latent_bias.normal_(std=0.3)
        model.calls_since_fired.fill_(29)  # one call later: 30, and that is still alive
        model.calls_since_fired[LATENTS - dead :] = 40
    return model, torch.randn(BATCH, DIM, dtype=torch.float64)


@pytest.mark.parametrize("dead", [1, 5, LATENTS])
def test_losses_and_counts_are_the_formulas(published: Any, dead: int) -> None:
    model, x = make(published, dead)
    oracle = Oracle(model)
    expected = oracle.losses(x.numpy())
    found = published.losses(model, x, K, with_contrast=True)
    parts = [part.item() for part in found]
    np.testing.assert_allclose(parts[:4], expected, rtol=1e-10)
    total = expected[0] + expected[1] / 8 + expected[2] / 32 + expected[3] / 10
    assert parts[4] == pytest.approx(total, rel=1e-10)
    np.testing.assert_array_equal(model.calls_since_fired.numpy(), oracle.calls)


def test_gradient_is_that_of_the_formulas(published: Any) -> None:
    # no latent is dead, so that the aux term, whose target is detached, moves no encoder row
    model, x = make(published, dead=0)

    def parts() -> Any:
        model.calls_since_fired.zero_()
        return published.losses(model, x, K, with_contrast=True)

    parts().total.backward()
    gradient = model.encoder.weight.grad.view(-1)
    weights, step = model.encoder.weight.data.view(-1), 1e-6
    for entry in range(0, len(weights), 7):
        sides = []
        for sign in (1, -1):
            weights[entry] += sign * step
            found = parts()
            sides.append((found.total - found.aux / 32).item())
            weights[entry] -= sign * step
        slope = (sides[0] - sides[1]) / (2 * step)
        assert gradient[entry].item() == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_contrast_of_identical_views_is_pure_repulsion(published: Any) -> None:
    code = torch.rand(BATCH, LATENTS, dtype=torch.float64)
    unit = code / code.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.T).fill_diagonal_(-torch.inf)
    closed = torch.log(1 + 2 * torch.exp(torch.tensor(-5.0)) * torch.exp(5 * cosines).sum(dim=1))
    assert published.contrast(code, code).item() == pytest.approx(closed.mean().item(), rel=1e-6)


@pytest.mark.parametrize(("with_contrast", "forwards"), [(True, 3), (False, 2)])
def test_a_step_runs_its_forwards_and_follows_adam(
    published: Any, with_contrast: bool, forwards: int
) -> None:
    model, x = make(published)
    decodes: list[None] = []
    decode = model._decode
    model._decode = lambda code: (decodes.append(None), decode(code))[1]
    model.calls_since_fired.fill_(-100)
    trainer = published.PublishedTrainer(model, K, with_contrast=with_contrast)
    before = model.encoder.weight.detach().clone()
    trainer.step_(x)
    assert len(decodes) == 2 * forwards
    never = model.calls_since_fired < -50
    assert never.any()
    assert set(model.calls_since_fired[never].tolist()) == {-100 + forwards}
    # Adam's first step moves every weight by the rate, against the sign of its gradient
    moved, gradient = model.encoder.weight.detach() - before, model.encoder.weight.grad
    expected = -4e-4 * gradient / (gradient.abs() + 6.25e-10)
    torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-12)
