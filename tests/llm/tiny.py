"""A tiny Llama, a word tokenizer of its own, and texts in which a query names its document."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from csrkit.llm import Backbone, Triple, load_backbone

ANIMALS = ["ant", "bear", "cat", "dog", "eel", "fox", "goat", "hen", "ibex", "jay"]
PLACES = ["lake", "hill", "cave", "barn", "reef"]
WORDS = ["[PAD]", "[UNK]", "_", "a", "the", "lives", "at", "where", "does", "live"]
WORDS += [*ANIMALS, *PLACES]


def tokenizer() -> Any:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.Replace("\u200b", "")
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


def llama(seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": True,
    }
    return LlamaForCausalLM(LlamaConfig(**sizes | settings)).eval()


def of_kind(kind: str, **settings: Any) -> Any:
    """A tiny random model of another architecture."""
    sizes = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    ids = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes | heads | ids | settings)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def tiny_backbone(seed: int = 0, **settings: Any) -> Backbone:
    return load_backbone(llama(seed, **settings), tokenizer())


def make_triples() -> list[Triple]:
    """Fifty questions, each with its document, four others, and what a teacher thinks of them."""
    pairs = [(animal, place) for animal in ANIMALS for place in PLACES]
    texts = [f"the {animal} lives at a {place}" for animal, place in pairs]
    found = []
    for row, (animal, place) in enumerate(pairs):
        others = tuple(texts[(row + step) % len(texts)] for step in (1, 7, 12, 33))
        scores = tuple(2.0 * (animal in text) + (place in text) for text in others)
        query = f"where does {animal} live at {place}"
        found.append(Triple(query, texts[row], others, 3.0, scores))
    return found
