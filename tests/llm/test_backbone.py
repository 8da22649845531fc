"""Attention in both directions: it is there, it is looked for, and padding changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.llm.tiny import llama, of_kind, tiny_backbone, tokenizer

from csrkit.errors import ConfigError, FormatError
from csrkit.llm import Backbone, load_backbone
from csrkit.llm.backbone import Tokens
from csrkit.llm.probing import probe


def four_d(model: Any, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The independent way: a ready additive mask (batch, 1, length, length), all of it open."""
    bias = torch.zeros(len(ids), 1, ids.shape[1], ids.shape[1])
    bias.masked_fill_(~real[:, None, None, :], torch.finfo(torch.float32).min)
    with torch.no_grad():
        found = model.base_model(input_ids=ids, attention_mask=bias, use_cache=False)
    states: torch.Tensor = found.last_hidden_state
    return states


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_states_are_those_of_an_open_mask(attention: str, kv_heads: int) -> None:
    model = llama(attn_implementation=attention, num_key_value_heads=kv_heads)
    ids = torch.randint(0, 40, (3, 7), generator=torch.Generator().manual_seed(1))
    real = torch.ones(3, 7, dtype=torch.bool)
    real[1, 4:] = False
    causal = llama(attn_implementation=attention, num_key_value_heads=kv_heads)
    expected = four_d(causal, ids, real)
    with torch.no_grad():
        states = load_backbone(model, tokenizer()).hidden(Tokens(ids, real))
    assert torch.allclose(states[real], expected[real], atol=1e-5)


def test_padding_on_either_side_changes_nothing(backbone: Backbone) -> None:
    rows = backbone.tokenize(["the cat lives", "a dog lives at the lake"], 16)
    right = backbone.pad(rows)
    left = Tokens(right.ids.clone(), right.mask.clone())
    count = len(rows[0])
    left.ids[0], left.mask[0] = right.ids[0].roll(-count), right.mask[0].roll(-count)
    assert not left.mask[0, 0]
    assert left.mask[0, -1]
    with torch.no_grad():
        alone = backbone.hidden(backbone.pad(rows[:1]))[0]
        assert torch.allclose(backbone.hidden(right)[0, :count], alone, atol=1e-5)
        assert torch.allclose(backbone.hidden(left)[0, -count:], alone, atol=1e-5)


def test_a_model_that_stays_causal_is_refused(backbone: Backbone) -> None:
    backbone.model.config.is_causal = True
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM is causal: its first token does not"):
        probe(backbone)


def test_a_model_that_is_bidirectional_without_padding_alone_is_refused() -> None:
    """What a flag on the attention layers gives: silently causal in every padded batch."""
    model = llama(attn_implementation="sdpa")
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    with pytest.raises(ConfigError, match="is causal"):
        probe(Backbone(model, tokenizer()))


def test_a_model_that_sees_padding_is_refused(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = backbone.model.base_model.forward
    monkeypatch.setattr(
        backbone.model.base_model,
        "forward",
        lambda **given: forward(**given | {"attention_mask": None}),
    )
    with pytest.raises(ConfigError, match="right padding changes"):
        probe(backbone)


@pytest.mark.parametrize("kind", ["Mistral", "Qwen2", "Qwen3", "Gemma3Text", "Phi3", "Olmo2"])
def test_other_architectures_read_both_ways(kind: str) -> None:
    load_backbone(of_kind(kind), tokenizer())


@pytest.mark.parametrize("kind", ["MiniMax", "Qwen3Next"])
def test_a_model_of_which_a_layer_stays_causal_is_refused(kind: str) -> None:
    """Linear attention reads forwards; the first token sees the last by the other layers."""
    kinds = {"layer_types": ["linear_attention", "full_attention"]}
    with pytest.raises(ConfigError, match=r"1 of 2 layers of .* read forwards alone, layer 1"):
        load_backbone(of_kind(kind, **kinds), tokenizer())


@pytest.mark.parametrize(
    ("kind", "settings", "factor"),
    [
        ("Granite", {"logits_scaling": 8.0}, 0.125),
        ("Cohere", {"logit_scale": 0.25}, 0.25),
        ("Gemma2", {"final_logit_softcapping": 0.05}, 1.0),
    ],
)
def test_logits_are_scaled_and_capped_as_the_model_does(
    kind: str, settings: dict[str, Any], factor: float
) -> None:
    backbone = load_backbone(of_kind(kind, **settings), tokenizer())
    assert backbone.factor == factor
    tokens = backbone.pad([[3, 12, 5, 6], [4, 13]])
    with torch.no_grad():
        given = backbone.model(**backbone.inputs(tokens)).logits
        plain = backbone.hidden(tokens) @ backbone.weight.T
    assert torch.allclose(backbone.finish(plain), given, atol=1e-6)
    assert not torch.allclose(plain, given, rtol=0.01)
    assert torch.isneginf(backbone.finish(torch.full((1, 40), -torch.inf))).all()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Bert", "those of BertLMHeadModel are something else: .* decoder-only"),
        ("Electra", "ElectraForCausalLM fails on a batch of two texts: "),
        ("Jamba", "JambaForCausalLM is causal"),
    ],
)
def test_models_of_another_make_are_refused(kind: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_backbone(of_kind(kind), tokenizer())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers 5 by an old name
def test_adapters_are_to_be_merged_first() -> None:
    peft = pytest.importorskip("peft")
    with pytest.raises(ConfigError, match=r"PeftModel.* pass model.merge_and_unload\(\)"):
        load_backbone(peft.get_peft_model(llama(), peft.LoraConfig()), tokenizer())


def test_broken_weights_are_refused() -> None:
    model = llama()
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    with pytest.raises(ConfigError, match="finite states, got NaN or Inf from LlamaForCausalLM in"):
        load_backbone(model, tokenizer())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coarse_weights_are_probed_by_their_own_measure(dtype: torch.dtype) -> None:
    load_backbone(llama().to(dtype), tokenizer())


def test_probe_leaves_the_model_as_it_was() -> None:
    one = tiny_backbone()
    one.model.train()
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    probe(one)
    assert one.model.training
    assert all(torch.equal(before[name], value) for name, value in one.model.state_dict().items())


def test_a_folder_gives_the_same_states(backbone: Backbone, tmp_path: Path) -> None:
    backbone.save(tmp_path / "llama")
    assert not list((tmp_path / "llama").glob("*.bin"))
    again = load_backbone(tmp_path / "llama")
    tokens = backbone.pad(backbone.tokenize(["the cat lives at a lake"], 16))
    with torch.no_grad():
        assert torch.equal(backbone.hidden(tokens), again.hidden(tokens))
    assert again.model.config.is_causal is False


def test_texts_are_cut_to_a_length(backbone: Backbone) -> None:
    assert backbone.tokenize(["the cat lives at a lake", ""], 3) == [[4, 12, 5], []]
    assert backbone.tokenize([], 3) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere/at/all", "found no nowhere/at/all"),
        ("./nowhere", r"found no \./nowhere"),
        ("llama.gguf", r"found no llama\.gguf"),
        (object(), "expected a tokenizer with a model object, got a object alone"),
    ],
)
def test_what_is_no_model_is_refused(given: Any, message: str) -> None:
    with pytest.raises((ConfigError, FormatError), match=message):
        load_backbone(given)


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a causal language model with a head"):
        load_backbone(torch.nn.Linear(2, 2), tokenizer())


def test_a_tokenizer_of_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a tokenizer of at most 12 tokens"):
        load_backbone(llama(vocab_size=12), tokenizer())


def test_tokens_that_the_model_has_no_row_for_are_refused() -> None:
    """Ids may leave gaps: their number says nothing."""
    words = tokenizer()
    words.add_tokens([f"new {i}" for i in range(20)])
    with pytest.raises(ConfigError, match=r"got one of 45: .*resize_token_embeddings"):
        load_backbone(llama(), words)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(FormatError, match=r"expected a folder .* of a causal language model"):
        load_backbone(tmp_path)


def test_a_reason_of_several_lines_is_told_whole(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(FormatError, match=r"with a tokenizer, got .*: .*[^:]\Z"):
        load_backbone(tmp_path)


def test_pickled_weights_are_refused(backbone: Backbone, tmp_path: Path) -> None:
    backbone.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(backbone.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FormatError, match="causal language model"):
        load_backbone(tmp_path)
