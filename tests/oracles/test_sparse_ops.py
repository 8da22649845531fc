"""The sparse products of a training step against dense autograd, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from csrkit.training import sparse_ops
from csrkit.training.sparse_ops import Selection, encode_top, gather_scores, prefix_errors

SEEDS = st.integers(0, 10**6)


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def leaf(seed: int, *shape: int) -> Tensor:
    return normal(seed, *shape).requires_grad_()


def gradients(output: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Differentiate a random weighing of the output, so that no term can cancel."""
    found = torch.autograd.grad((output * normal(99, *output.shape)).sum(), inputs)
    return [grad.clone() for grad in found]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def random_selection(seed: int, batch: int, k: int, latents: int) -> Selection:
    """Return distinct latents per row, in random order, with values of both signs."""
    indices = torch.argsort(normal(seed, batch, latents), dim=1)[:, :k]
    return Selection(leaf(seed + 1, batch, k), indices)


def dense(selection: Selection, latents: int, stop: int | None = None) -> Tensor:
    """Write the first latents of a selection into a dense (batch, latents) table."""
    values, indices = selection.values[:, :stop], selection.indices[:, :stop]
    return torch.zeros(len(values), latents, dtype=torch.float64).scatter(1, indices, values)


# -- encode -------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    batch=st.integers(1, 6),
    dim=st.integers(1, 5),
    latents=st.integers(1, 12),
    data=st.data(),
)
def test_encode_top_is_topk_of_the_dense_product(
    seed: int, batch: int, dim: int, latents: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, latents))
    dead = torch.tensor(data.draw(st.lists(st.integers(0, latents - 1), unique=True)), dtype=int)
    k_dead = data.draw(st.integers(0, len(dead)))
    x, weight, bias = (
        normal(seed, batch, dim),
        leaf(seed + 1, latents, dim),
        leaf(seed + 2, latents),
    )

    alive, of_dead = encode_top(x, weight, bias, k, dead, k_dead)
    found = torch.cat([alive.values, of_dead.values], dim=1)

    pre = x @ weight.T + bias
    expected = torch.topk(pre, k, dim=1)
    only_dead = torch.full_like(pre, -torch.inf)
    only_dead[:, dead] = pre[:, dead]
    expected_dead = torch.topk(only_dead, k_dead, dim=1)
    assert torch.equal(alive.indices, expected.indices)
    assert torch.equal(of_dead.indices, expected_dead.indices)
    values = torch.cat([expected.values, expected_dead.values], dim=1)
    torch.testing.assert_close(found, values, rtol=1e-12, atol=1e-12)
    assert_same(gradients(found, weight, bias), gradients(values, weight, bias))


def test_encode_top_at_ties_still_picks_k_distinct_of_the_largest() -> None:
    x, bias = normal(0, 4, 3), torch.zeros(8, dtype=torch.float64, requires_grad=True)
    weight = normal(1, 2, 3).repeat(4, 1).requires_grad_()  # each latent four times
    alive, _ = encode_top(x, weight, bias, 6)
    pre = x @ weight.T + bias
    torch.testing.assert_close(alive.values, pre.sort(dim=1, descending=True).values[:, :6])
    assert all(len(set(row)) == 6 for row in alive.indices.tolist())
    picked = pre.gather(1, alive.indices)
    assert_same(gradients(alive.values, weight, bias), gradients(picked, weight, bias))


def test_selecting_among_the_dead_changes_nothing_among_all() -> None:
    """Regression: sentence-transformers masks the pre-activations in place."""
    x, weight, bias = normal(0, 5, 4), normal(1, 9, 4), normal(2, 9)
    before = x.clone(), weight.clone(), bias.clone()
    alone, none = encode_top(x, weight, bias, 4)
    both, of_dead = encode_top(x, weight, bias, 4, torch.tensor([0, 3]), 2)
    assert none.values.shape == none.indices.shape == (5, 0)
    assert torch.equal(alone.values, both.values)
    assert torch.equal(alone.indices, both.indices)
    assert set(of_dead.indices.unique().tolist()) == {0, 3}
    assert all(map(torch.equal, (x, weight, bias), before))


def test_encode_top_in_blocks_is_encode_top(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = normal(0, 200, 4), leaf(1, 9, 4), leaf(2, 9)
    dead = torch.tensor([1, 5, 7])

    def run() -> list[Tensor]:
        alive, of_dead = encode_top(x, weight, bias, 4, dead, 2)
        values = torch.cat([alive.values, of_dead.values], dim=1)
        return [values, alive.indices, of_dead.indices, *gradients(values, weight, bias)]

    whole = run()
    monkeypatch.setattr(sparse_ops, "CPU_BLOCK_ENTRIES", 1)  # 64 rows at a time
    assert_same(run(), whole)


# -- decode ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    batch=st.integers(1, 5),
    dim=st.integers(1, 5),
    latents=st.integers(1, 10),
    data=st.data(),
)
def test_prefix_errors_are_those_of_dense_decoding(
    seed: int, batch: int, dim: int, latents: int, data: st.DataObject
) -> None:
    # rungs may repeat: the one at 4k is cut to the number of latents
    ladder = tuple(sorted(data.draw(st.lists(st.integers(1, latents), min_size=1, max_size=4))))
    k = data.draw(st.integers(ladder[-1], latents))
    x, bias, weight = normal(seed, batch, dim), leaf(seed + 1, dim), leaf(seed + 2, latents, dim)
    selection = random_selection(seed + 3, batch, k, latents)

    errors, residuals = prefix_errors(x, bias, selection, weight, ladder)

    x_hat = torch.stack([dense(selection, latents, stop) @ weight + bias for stop in ladder])
    expected = (x_hat - x).square().sum(dim=(1, 2))
    torch.testing.assert_close(residuals, x_hat - x)
    torch.testing.assert_close(errors, expected)
    inputs = (bias, weight, selection.values)
    assert_same(gradients(errors, *inputs), gradients(expected, *inputs))


def test_the_residuals_carry_no_gradient() -> None:
    """Regression: an aux loss on an attached residual trains the living latents."""
    selection, weight = random_selection(0, 3, 4, 9), leaf(1, 9, 5)
    errors, residuals = prefix_errors(normal(2, 3, 5), leaf(3, 5), selection, weight, (2, 4))
    assert errors.requires_grad
    assert not residuals.requires_grad


# -- scores ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, q=st.integers(1, 5), d=st.integers(1, 5), data=st.data())
def test_gather_scores_is_the_dense_product(seed: int, q: int, d: int, data: st.DataObject) -> None:
    latents = data.draw(st.integers(1, 9))
    queries = random_selection(seed, q, data.draw(st.integers(1, latents)), latents)
    documents = random_selection(seed + 5, d, data.draw(st.integers(1, latents)), latents)
    found = gather_scores(queries, documents, latents)
    expected = dense(queries, latents) @ dense(documents, latents).T
    torch.testing.assert_close(found, expected)
    inputs = (queries.values, documents.values)
    assert_same(gradients(found, *inputs), gradients(expected, *inputs))


def test_scores_of_codes_with_themselves_have_both_gradients() -> None:
    codes = random_selection(0, 4, 3, 7)
    found = gather_scores(codes, codes, 7)
    expected = dense(codes, 7) @ dense(codes, 7).T
    assert_same(gradients(found, codes.values), gradients(expected, codes.values))


# -- all of it ----------------------------------------------------------------------


def test_numeric_derivatives_agree() -> None:
    """A second opinion, which shares no code with the other oracle: finite differences."""
    x, weight, bias, pre_bias = normal(0, 3, 4), leaf(1, 7, 4), leaf(2, 7), leaf(3, 4)

    def step(weight: Tensor, bias: Tensor, pre_bias: Tensor) -> tuple[Tensor, Tensor]:
        chosen, _ = encode_top(x, weight, bias, 5)
        errors, _ = prefix_errors(x, pre_bias, chosen, weight, (1, 3, 5))
        short = Selection(chosen.values[:, :2], chosen.indices[:, :2])
        return errors, gather_scores(short, chosen, 7)

    assert torch.autograd.gradcheck(step, (weight, bias, pre_bias))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_cpu_gives_the_same_bits_every_time(threads: int) -> None:
    x, start = normal(0, 300, 16).float(), normal(1, 400, 16).float()

    def step() -> list[bytes]:
        weight = start.clone().requires_grad_()
        chosen, of_dead = encode_top(x, weight, start[:, 0], 20, torch.arange(50), 5)
        errors, _ = prefix_errors(x, start[0], chosen, weight, (4, 20))
        loss = errors.sum() + gather_scores(chosen, chosen, 400).sum() + of_dead.values.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        return [np.asarray(t.detach()).tobytes() for t in (loss, weight.grad, chosen.indices)]

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert step() == step() == step()
    finally:
        torch.set_num_threads(before)
