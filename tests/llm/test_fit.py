"""Training end to end on fifty questions: it learns, resumes, and says what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.llm.tiny import llama, tiny_backbone, tokenizer

from csrkit.errors import ConfigError, FormatError, MissingExtra, ShapeError
from csrkit.llm import Backbone, LLMConfig, LLMRetriever, Triple, fit, load
from csrkit.llm.batches import Batches

QUICK: dict[str, Any] = {
    "steps": 6,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "target_active": 12,
    "mntp_steps": 4,
    "mntp_rate": 3e-3,
}


def quick(**given: Any) -> LLMConfig:
    return LLMConfig.model_validate(QUICK | given)


def weights(retriever: LLMRetriever) -> dict[str, torch.Tensor]:
    found = dict(retriever.backbone.model.state_dict())
    return found | {"shift": retriever.head.shift}


def equal(a: LLMRetriever, b: LLMRetriever) -> bool:
    ours, theirs = weights(a), weights(b)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("head", ["sparse", "dense"])
def test_training_finds_the_documents(head: str, triples: list[Triple]) -> None:
    docs = [triple.positive for triple in triples]
    queries = [triple.query for triple in triples]

    def hits(retriever: LLMRetriever) -> float:
        if head == "dense":
            scores = retriever.encode_dense(queries, side="query") @ retriever.encode_dense(docs).T
        else:
            scores = retriever.encode(queries, side="query").dot(retriever.encode(docs))
        return float((scores.argmax(axis=1) == np.arange(50)).mean())

    config = {"head": head, "loss": "cl_kd", "dense_temperature": 0.05, "query_flops": 1e-3}
    untrained = fit(tiny_backbone(), triples, quick(**config, steps=0), progress=False)
    long = quick(**config, document_flops=1e-3, steps=80, batch_size=16)
    trained = fit(tiny_backbone(), triples, long, progress=False)
    assert hits(trained) > max(0.7, hits(untrained) + 0.2)


def test_one_seed_one_model_and_the_original_stays(triples: list[Triple]) -> None:
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    state = torch.get_rng_state()
    one, two = (fit(backbone, triples, quick(), progress=False) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers
    assert equal(one, two)
    assert not equal(one, fit(backbone, triples, quick(seed=1), progress=False))
    assert all(torch.equal(before[name], v) for name, v in backbone.model.state_dict().items())
    assert one.config.loss == "cl_kd"  # the triples have scores
    assert not any(p.requires_grad for p in one.backbone.model.parameters())


def test_micro_batches_train_the_same_model(triples: list[Triple]) -> None:
    one, two = (
        fit(tiny_backbone(), triples, quick(micro_batch=size), progress=False) for size in (None, 3)
    )
    for name, value in weights(one).items():
        assert torch.allclose(value, weights(two)[name], atol=2e-3), name


class Cut(Exception):
    """A machine that went away."""


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        ({}, ("train", 5)),
        ({"train_shift": True}, ("train", 3)),
        ({}, ("mntp", 3)),
        ({"lora_rank": 2, "lora_dropout": 0.2}, ("train", 5)),
    ],
    ids=["train", "shift", "mntp", "lora"],
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    settings: dict[str, Any],
    cut: tuple[str, int],
    triples: list[Triple],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = quick(**settings)
    whole = fit(tiny_backbone(), triples, config, progress=False)

    def run() -> LLMRetriever:
        return fit(
            tiny_backbone(),
            triples,
            config,
            checkpoint=tmp_path / "run",
            checkpoint_every=2,
            progress=False,
        )

    with monkeypatch.context() as patch:
        cut_short_(patch, *cut)
        with pytest.raises(Cut):
            run()
    taken: list[int] = []
    with monkeypatch.context() as patch:
        drawn = Batches.__call__
        patch.setattr(Batches, "__call__", lambda b, step: taken.append(step) or drawn(b, step))
        resumed = run()
    assert equal(whole, resumed)
    assert taken == list(range(cut[1] // 2 * 2 if cut[0] == "train" else 0, 6))
    assert equal(whole, run())  # nothing left to do


def cut_short_(patch: pytest.MonkeyPatch, stage: str, at: int) -> None:
    """Let a run fail in one of its steps."""
    from csrkit.llm.mntp import MaskedTexts

    def failing(function: Callable[[Any, int], Any]) -> Callable[[Any, int], Any]:
        def call(self: Any, step: int) -> Any:
            if step == at:
                raise Cut
            return function(self, step)

        return call

    owner, name = (Batches, "__call__") if stage == "train" else (MaskedTexts, "backward")
    patch.setattr(owner, name, failing(getattr(owner, name)))


def test_a_checkpoint_of_another_run_is_refused(triples: list[Triple], tmp_path: Path) -> None:
    given = {"checkpoint": tmp_path, "progress": False}
    fit(tiny_backbone(), triples, quick(mntp_steps=0), **given)
    for other in (quick(mntp_steps=0, learning_rate=1e-3), quick(mntp_steps=0, steps=7)):
        with pytest.raises(ConfigError, match="is a checkpoint of another run"):
            fit(tiny_backbone(), triples, other, **given)
    with pytest.raises(ConfigError, match="is a checkpoint of another run"):
        fit(tiny_backbone(), triples[1:], quick(mntp_steps=0), **given)
    others = [replace(one, negatives=one.negatives[::-1]) for one in triples]
    with pytest.raises(ConfigError, match="is a checkpoint of another run"):
        fit(tiny_backbone(), others, quick(mntp_steps=0), **given)
    for model in (tiny_backbone(1), tiny_backbone(intermediate_size=32)):
        with pytest.raises(ConfigError, match="triples, corpus or model differ"):
            fit(model, triples, quick(mntp_steps=0), **given)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(FormatError, match=r"is not a checkpoint of csrkit\.llm"):
        fit(tiny_backbone(), triples, quick(mntp_steps=0), **given)
    with pytest.raises(ConfigError, match="every 1 or more steps, got 0"):
        fit(tiny_backbone(), triples, quick(), checkpoint=tmp_path, checkpoint_every=0)


def test_drafts_of_a_killed_run_are_swept(triples: list[Triple], tmp_path: Path) -> None:
    (tmp_path / ".saving-abc").mkdir()
    (tmp_path / ".saving-abc" / "checkpoint.safetensors").write_bytes(b"half")
    fit(tiny_backbone(), triples, quick(mntp_steps=0), checkpoint=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.usefixtures("full_disk")
def test_a_run_that_cannot_be_written_says_where(triples: list[Triple], tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cannot write the checkpoint .*checkpoint.safetensors"):
        fit(tiny_backbone(), triples, quick(), checkpoint=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FormatError, match=r"cannot make the folder .*runs"):
        fit(tiny_backbone(), triples, quick(), checkpoint=tmp_path / "notes.txt" / "runs")


def test_lora_trains_few_weights_and_is_merged(triples: list[Triple]) -> None:
    backbone = tiny_backbone()
    config = quick(lora_rank=2, mntp_steps=0, lora_dropout=0.0)
    retriever = fit(backbone, triples, config, progress=False)
    before, after = backbone.model.state_dict(), retriever.backbone.model.state_dict()
    assert before.keys() == after.keys()  # no adapter is left
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.rsplit(".", 2)[1] for name in changed} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    name = "model.layers.0.mlp.up_proj.weight"
    rank = torch.linalg.matrix_rank(after[name] - before[name], atol=1e-5)
    assert int(rank) <= 2
    assert retriever.backbone.model.config.is_causal is False


def test_lora_needs_peft(triples: list[Triple], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtra, match=r'pip install "csrkit\[llm\]"'):
        fit(tiny_backbone(), triples, quick(lora_rank=2), progress=False)


def test_activation_checkpointing_changes_nothing(triples: list[Triple]) -> None:
    settings = {"mntp_steps": 0, "steps": 2}
    one = fit(tiny_backbone(), triples, quick(**settings), progress=False)
    two = fit(
        tiny_backbone(), triples, quick(**settings, activation_checkpointing=True), progress=False
    )
    for name, value in weights(one).items():
        assert torch.allclose(value, weights(two)[name], atol=1e-4), name


def test_bfloat16_computes_coarsely_and_keeps_float32(triples: list[Triple]) -> None:
    settings = {"mntp_steps": 0, "steps": 2, "head": "both"}
    one = fit(tiny_backbone(), triples, quick(**settings), progress=False)
    two = fit(tiny_backbone(), triples, quick(**settings, dtype="bfloat16"), progress=False)
    assert two.backbone.weight.dtype == torch.float32
    exact, coarse = (r.encode_dense(["the cat lives at a lake"]) for r in (one, two))
    assert 0 < np.abs(exact - coarse).max() < 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", [{}, {"lora_rank": 2}, {"lora_rank": 2, "dtype": "bfloat16"}])
def test_a_model_of_coarse_weights_is_trained_as_if_read_from_files(
    dtype: torch.dtype, settings: dict[str, Any], triples: list[Triple], tmp_path: Path
) -> None:
    """transformers 5 reads most checkpoints as bfloat16."""
    config = quick(mntp_steps=0, steps=2, **settings)
    model = llama().to(dtype)
    retriever = fit(model, triples, config, tokenizer=tokenizer(), progress=False)
    assert model.lm_head.weight.dtype == dtype
    assert retriever.backbone.weight.dtype == getattr(torch, settings.get("dtype", "float32"))
    retriever.save(tmp_path / "saved")
    assert load(tmp_path / "saved").encode(["the cat"]) == retriever.encode(["the cat"])


def test_the_teacher_is_asked_about_every_pair(triples: list[Triple]) -> None:
    asked: list[tuple[str, str]] = []

    def teacher(pairs: list[tuple[str, str]]) -> list[float]:
        asked.extend(pairs)
        return [len(set(q.split()) & set(d.split())) for q, d in pairs]

    plain = [Triple(t.query, t.positive, t.negatives) for t in triples]
    retriever = fit(tiny_backbone(), plain, quick(steps=1), teacher=teacher, progress=False)
    assert asked == [(t.query, text) for t in plain for text in t.documents]
    assert retriever.config.loss == "cl_kd"
    bad: dict[str, Any] = {
        r"a finite score per pair from the teacher, \(250,\), got \(1,\)": lambda pairs: [1.0],
        "got NaN or Inf among them": lambda pairs: [float("nan")] * len(pairs),
        "expected numbers as scores from the teacher": lambda pairs: ["high"] * len(pairs),
    }
    for message, one in bad.items():
        with pytest.raises(ShapeError, match=message):
            fit(tiny_backbone(), plain, quick(), teacher=one, progress=False)
    with pytest.raises(ConfigError, match="expected teacher= to be a callable, got list"):
        fit(tiny_backbone(), plain, quick(), teacher=[1.0], progress=False)


def test_a_teacher_may_return_a_tensor(triples: list[Triple]) -> None:
    plain = [Triple(t.query, t.positive, t.negatives) for t in triples]
    weight = torch.ones(1, requires_grad=True)  # as a model that is still in training
    both = [
        fit(tiny_backbone(), plain, quick(steps=1), teacher=teacher, progress=False)
        for teacher in (
            lambda pairs: [3.0 * len(document) for _, document in pairs],
            lambda pairs: weight * torch.tensor([3.0 * len(document) for _, document in pairs]),
        )
    ]
    assert both[0].fingerprint == both[1].fingerprint


def test_a_teacher_that_says_next_to_nothing_is_noted(triples: list[Triple]) -> None:
    cosines = [
        replace(t, positive_score=0.8, negative_scores=(0.7, 0.6, 0.55, 0.5)) for t in triples
    ]
    with pytest.warns(UserWarning, match=r"differ by 0\.3 at teacher_scale=1.*teacher_scale=20"):
        fit(tiny_backbone(), cosines, quick(steps=0, mntp_steps=0), progress=False)
    for settings in ({"teacher_scale": 20.0}, {"loss": "cl"}):  # a warning would be an error
        fit(tiny_backbone(), cosines, quick(steps=0, mntp_steps=0, **settings), progress=False)


GONE = "\u200b"  # a space of no width: not blank, and nothing to this tokenizer


def plain(n: int, negatives: int = 1) -> list[Triple]:
    return [Triple(f"cat {i}", f"dog {i}", ("eel",) * negatives) for i in range(n)]


@pytest.mark.parametrize(
    ("triples", "settings", "message"),
    [
        ([], {}, "expected triples to train on, got none"),
        (plain(3), {"loss": "kd"}, r"expected teacher scores for loss='kd', got none in triple 0"),
        ([Triple("q", "a", (), 1.0, ())] * 3, {"loss": "kd"}, "got a triple without any"),
        (plain(1, 0), {}, "got one query without negatives"),
        ([Triple("cat", GONE, (GONE,))] * 3, {}, "tokenizer makes none of .*u200b' and the others"),
        (plain(3), {"document_length": 4096}, "at most 2048 tokens, .*, got 64 and 4096"),
        (plain(3), {"device": "tpu:9"}, r"a device of this machine, got LLMConfig\(device='tpu:9'"),
        (plain(3), {"mntp_steps": 1, "mask_token": "at a"}, "got mask_token='at a'"),
        (plain(3), {"query_prefix": "a " * 99}, "query_prefix to leave room .*query_length=64"),
        (plain(3), {"learning_rate": 1e9}, r"training diverged: the loss of step \d is nan, lower"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    triples: list[Triple], settings: dict[str, Any], message: str
) -> None:
    config = quick(**{"mntp_steps": 0} | settings)
    with pytest.raises(ConfigError, match=message):
        fit(tiny_backbone(), triples, config, progress=False)


@pytest.mark.parametrize(
    ("triples", "config", "message"),
    [
        (None, None, "expected a list of triples, got a NoneType"),
        (Triple("q", "a"), None, "expected a list of triples, got a Triple"),
        ("t.jsonl", None, "got 't.jsonl': csrkit.llm.read_triples reads those of a file"),
        ([Triple("q", "a"), ("q", "a")], None, r"csrkit\.llm\.Triple.*, got tuple at 1"),
        ([{"query": "q", "positive": "a"}], None, r"csrkit\.llm\.Triple.*, got dict at 0"),
        (plain(3), {"steps": 1}, r"expected config=LLMConfig\(\.\.\.\), got dict"),
    ],
)
def test_other_types_are_refused(triples: Any, config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(tiny_backbone(), triples, config, progress=False)


def test_codes_that_die_end_the_training(triples: list[Triple]) -> None:
    config = quick(mntp_steps=0, steps=40, query_flops=1e3, document_flops=1e3, flops_ramp=0.01)
    with pytest.raises(ConfigError, match=r"training collapsed: all codes of step \d+ are empty"):
        fit(tiny_backbone(), triples, config.model_copy(update={"learning_rate": 0.05}),
            progress=False)  # fmt: skip


def test_without_scores_the_loss_is_contrast_and_the_model_a_path(
    backbone: Backbone, tmp_path: Path
) -> None:
    backbone.save(tmp_path)
    retriever = fit(tmp_path, plain(4), quick(mntp_steps=0), progress=False)
    assert retriever.config.loss == "cl"
    assert json.loads(retriever.provenance.model_dump_json())["triples"] == 4
    again = fit(llama(), plain(4), quick(mntp_steps=0), tokenizer=tokenizer(), progress=False)
    assert equal(retriever, again)


@pytest.mark.parametrize("head", ["sparse", "dense", "both"])
@pytest.mark.parametrize("micro_batch", [None, 1])
def test_texts_without_tokens_do_no_harm(head: str, micro_batch: int | None) -> None:
    """What is no blank may still leave no token."""
    found = [*plain(7), Triple(GONE, "dog", (GONE,))]
    config = quick(head=head, micro_batch=micro_batch, mntp_steps=1, steps=2)
    retriever = fit(llama(), found, config, tokenizer=tokenizer(), progress=False)
    assert all(value.isfinite().all() for value in weights(retriever).values())


def test_without_negatives_the_loss_is_contrast(triples: list[Triple]) -> None:
    config = quick(negatives=0, mntp_steps=0, steps=1)
    assert fit(tiny_backbone(), triples, config, progress=False).config.loss == "cl"


def test_training_starts_with_the_target_active(triples: list[Triple]) -> None:
    docs = [triple.positive for triple in triples]
    for target in (3, 9):
        config = quick(steps=0, target_active=target)
        codes = fit(tiny_backbone(), triples, config, progress=False).encode(docs)
        assert codes.counts.mean() == pytest.approx(target, abs=1.0)
    unshifted = fit(tiny_backbone(), triples, quick(steps=0, target_active=None), progress=False)
    assert unshifted.encode(docs).counts.mean() > 25
    assert not unshifted.head.shift.any()
