"""The heads against their formulas, blocks against the whole, and what encoding may occupy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from csrkit.llm import Backbone
from csrkit.llm.heads import SparseHead, dense_pool, max_logits

BATCH, LENGTH, DIM, VOCABULARY = 3, 7, 5, 11


def inputs(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    hidden = torch.randn(BATCH, LENGTH, DIM, dtype=dtype)
    mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    mask[0, 3:] = False  # padded on the right
    mask[1, :2] = False  # and on the left
    return hidden, mask, torch.randn(VOCABULARY, DIM, dtype=dtype)


def naive(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The whole (batch, length, vocabulary) at once, as autograd sees it."""
    logits = hidden @ weight.T
    logits = logits if bias is None else logits + bias
    return logits.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


@pytest.mark.parametrize("positions", [1, 2, 3, LENGTH, 100])
@pytest.mark.parametrize("grad", [False, True])
def test_blocks_give_the_maximum_of_the_whole(positions: int, grad: bool) -> None:
    hidden, mask, weight = inputs(dtype=torch.float32)
    with torch.set_grad_enabled(grad):
        found = max_logits(hidden, mask, weight, block_bytes=positions * 4 * BATCH * VOCABULARY)
    assert torch.allclose(found, naive(hidden, mask, weight), atol=1e-6)


@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_are_those_of_the_whole(with_bias: bool) -> None:
    bias = torch.linspace(-1, 1, VOCABULARY) if with_bias else None
    upstream = torch.randn(BATCH, VOCABULARY, generator=torch.Generator().manual_seed(3))
    upstream[:, ::3] = 0  # latents that are not active
    results = []
    for function in (naive, lambda *args: max_logits(*args, block_bytes=1)):
        leaves = [t.float().requires_grad_() for t in inputs()[::2]]
        leaves += [bias.clone().requires_grad_()] if bias is not None else []
        extra = leaves[2:] or [None]
        function(leaves[0], inputs()[1], leaves[1], *extra).backward(upstream)
        results.append([leaf.grad for leaf in leaves])
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(expected, found, atol=1e-5)


def test_a_text_without_tokens_has_an_empty_code(backbone: Backbone) -> None:
    hidden, mask, weight = inputs(dtype=torch.float32)
    mask[0] = False
    assert torch.isneginf(max_logits(hidden, mask, weight)[0]).all()
    assert not dense_pool(hidden, mask)[0].any()


def code_by_formula(head: SparseHead, logits: np.ndarray) -> np.ndarray:
    shifted = head.scale * logits - head.shift.detach().numpy()
    return np.log(1 + np.maximum(shifted, 0))


def test_sparse_head_is_its_formula(backbone: Backbone) -> None:
    tokens = backbone.pad(backbone.tokenize(["the cat lives at a lake", "a dog"], 16))
    head = SparseHead(backbone.vocabulary, backbone.dim)
    assert head.scale == pytest.approx(32**-0.25)
    torch.nn.init.uniform_(head.shift, -0.1, 0.1)
    with torch.no_grad():
        hidden = backbone.hidden(tokens)
        whole = backbone.model(
            input_ids=tokens.ids, attention_mask=tokens.mask.long(), use_cache=False
        ).logits  # transformers' own head
        logits = whole.masked_fill(~tokens.mask[..., None], -torch.inf).amax(dim=1)
        codes = head(backbone, hidden, tokens.mask)
    assert codes.count_nonzero() > 5
    assert np.allclose(codes, code_by_formula(head, logits.numpy()), atol=1e-5)


def test_top_k_keeps_the_largest(backbone: Backbone) -> None:
    tokens = backbone.pad(backbone.tokenize(["the cat lives at a lake", "a dog"], 16))
    head = SparseHead(backbone.vocabulary, backbone.dim)
    with torch.no_grad():
        hidden = backbone.hidden(tokens)
        whole, top = (head(backbone, hidden, tokens.mask, k) for k in (None, 4))
    assert (top.count_nonzero(dim=1) == 4).all()
    assert torch.equal(top.topk(4, dim=1).values, whole.topk(4, dim=1).values)
    assert torch.equal(top[top > 0], whole[top > 0])


@pytest.mark.parametrize("target", [1, 5, 17])
def test_calibration_leaves_the_target_active(target: int) -> None:
    generator = torch.Generator().manual_seed(0)
    popular = 30 * torch.rand(200, generator=generator)  # logits that are high everywhere
    logits = torch.randn(64, 200, generator=generator) + popular
    head = SparseHead(200, 16)
    before = torch.relu(head.scale * logits).count_nonzero() / 64
    head.calibrate_(logits, target)
    active = (head.scale * logits - head.shift > 0).sum(dim=1)
    assert before > 180
    assert active.float().mean() == pytest.approx(target, abs=0.05)
    assert active.max() < 10 + 3 * target


@pytest.mark.parametrize("renormalize", [False, True])
def test_dense_pool_is_the_mean_of_unit_vectors(renormalize: bool) -> None:
    hidden, mask, _ = inputs()
    expected = []
    for states, kept in zip(hidden.numpy(), mask.numpy(), strict=True):
        unit = [state / np.linalg.norm(state) for state in states[kept]]
        mean = sum(unit) / len(unit)
        expected.append(mean / np.linalg.norm(mean) if renormalize else mean)
    found = dense_pool(hidden, mask, renormalize=renormalize)
    assert np.allclose(found, np.array(expected), atol=1e-6)


PEAK = """
import resource, sys, torch
from csrkit.llm.heads import max_logits
torch.manual_seed(0)
hidden, weight = torch.randn(32, 128, 64), torch.randn(128_000, 64)
mask = torch.ones(32, 128, dtype=torch.bool)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.no_grad():
    codes = torch.log1p(torch.relu(max_logits(hidden[:, :int(sys.argv[1])], mask, weight)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def peak_gigabytes(code: str, *arguments: Any) -> float:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux alone")
def test_a_batch_over_a_large_vocabulary_stays_under_a_gigabyte() -> None:
    """32 texts, 128,000 tokens of vocabulary: logits of all 128 positions would be 2.1 GB.

    Sixteen positions are enough to go through several blocks; `examples/benchmarks/llm.py
    --memory` measures the whole of `encode`, all 128 positions.
    """
    assert peak_gigabytes(PEAK, 16) < 0.6
