"""Two passes give the gradient of one; so do two processes, in both stages."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.llm.tiny import make_triples, tiny_backbone

from csrkit.llm import LLMConfig, Triple
from csrkit.llm.batches import Batches
from csrkit.llm.encoding import TextEncoder
from csrkit.llm.heads import SparseHead
from csrkit.llm.lora import wrap_
from csrkit.llm.mntp import MaskedTexts
from csrkit.llm.objective import Objective
from csrkit.llm.twopass import backward

ROOT = Path(__file__).parents[2]


def gradients(
    micro_batch: int | None, config: LLMConfig, *, dropout: bool = False
) -> dict[str, torch.Tensor]:
    """The gradient of one batch of eight queries and three documents each."""
    torch.manual_seed(0)
    backbone = tiny_backbone()
    if dropout:
        torch.manual_seed(1)
        wrap_(backbone, config)
        for name, parameter in backbone.model.named_parameters():
            if "lora_B" in name:  # they start at zero, where dropout has no effect
                torch.nn.init.normal_(parameter, std=0.1)
    backbone.model.train()
    head = SparseHead(backbone.vocabulary, backbone.dim)
    head.shift.data += 0.1
    encoder = TextEncoder(backbone, head, config)
    batch = Batches(make_triples(), 8, 2, seed=0)(0)
    torch.manual_seed(5)
    parts = backward(encoder, Objective(config), batch, 50, micro_batch)
    found = {n: p.grad for n, p in backbone.model.named_parameters() if p.grad is not None}
    shift = {} if head.shift.grad is None else {"shift": head.shift.grad}
    return {"loss": parts.total} | found | shift


def masked_gradients(micro_batch: int | None = None) -> dict[str, torch.Tensor]:
    """The gradient of one batch of ten masked texts."""
    backbone = tiny_backbone()
    config = LLMConfig(batch_size=10, micro_batch=micro_batch, mntp_share=0.5)
    encoder = TextEncoder(backbone, SparseHead(backbone.vocabulary, backbone.dim), config)
    texts = [triple.positive for triple in make_triples()] + ["the cat"]
    loss = MaskedTexts(encoder, texts, config).backward(3)
    found = {n: p.grad for n, p in backbone.model.named_parameters() if p.grad is not None}
    return {"loss": torch.tensor(loss)} | found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        scale = float(value.abs().max())
        assert torch.allclose(value, b[name], atol=1e-4 * scale + 1e-7), name


def settings(**given: Any) -> LLMConfig:
    base = {"head": "both", "loss": "cl_kd", "steps": 100, "dense_temperature": 0.1}
    return LLMConfig.model_validate(base | given)


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
@pytest.mark.parametrize("loss", ["cl", "cl_kd"])
def test_two_passes_are_one(micro_batch: int, loss: str) -> None:
    config = settings(loss=loss)
    whole = gradients(None, config)
    assert float(whole["shift"].abs().sum()) > 0
    same(whole, gradients(micro_batch, config))


def test_micro_batches_of_masked_texts_are_one() -> None:
    for micro_batch in (1, 3):
        same(masked_gradients(), masked_gradients(micro_batch))


def test_one_head_alone(triples: list[Triple]) -> None:
    for head in ("sparse", "dense"):
        config = settings(head=head)
        found = gradients(3, config)
        assert ("shift" in found) == (head == "sparse")
        same(gradients(None, config), found)


def test_dropout_draws_the_same_in_both_passes() -> None:
    config = settings(lora_rank=2, lora_dropout=0.5, batch_size=8)
    torch.manual_seed(0)
    dropped = gradients(4, config, dropout=True)
    plain = gradients(4, settings(lora_rank=2, lora_dropout=0.0), dropout=True)
    again = gradients(4, config, dropout=True)
    same(dropped, again)
    name = next(name for name in dropped if "lora_A" in name)
    assert not torch.allclose(dropped[name], plain[name], rtol=0.05)


def test_dropout_that_differs_between_passes_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Had the second pass other masks than the first, the gradient would be another."""
    import csrkit.llm.twopass as twopass

    config = settings(lora_rank=2, lora_dropout=0.5, batch_size=8)
    right = gradients(4, config, dropout=True)
    monkeypatch.setattr(twopass, "_set_random_state", lambda *_: None)
    wrong = gradients(4, config, dropout=True)
    name = next(name for name in right if "lora_A" in name)
    assert torch.equal(right["loss"], wrong["loss"])
    assert not torch.allclose(right[name], wrong[name], rtol=0.05)


WORKER = """
import json, sys, torch
from torch import distributed
from csrkit.llm.twopass import join
torch.cuda.is_available = lambda: True  # that there is a GPU does not mean that it trains
assert join("cpu").size == 2
from tests.llm.test_twopass import gradients, masked_gradients, settings
found = gradients(2, settings()), masked_gradients()
if distributed.get_rank() == int(sys.argv[1]):
    torch.save(found, sys.argv[2])
distributed.barrier()
distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_are_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(ROOT), *sys.path])
    env = os.environ | {"PYTHONPATH": path, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, "1", str(tmp_path / "grads.pt")],
            env=env | {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], json.dumps(errors)
    trained, adapted = torch.load(tmp_path / "grads.pt")
    same(gradients(None, settings()), trained)
    same(masked_gradients(), adapted)
