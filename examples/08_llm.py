"""A retriever out of a decoder-only language model, trained from nothing on WordNet's definitions.

    python examples/08_llm.py                      a tiny Llama of random weights: shows the steps
    python examples/08_llm.py path/of/a/llama      any causal language model of a folder or the hub

A tiny model learns little in the seconds that this takes; a pretrained one is what `csrkit.llm` is
for. See data/README.md for the texts.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import csrkit
from csrkit import llm
from csrkit.stores import EdgeStore

DATA = Path(__file__).parent / "data"
TOY = os.environ.get("CSRKIT_TOY") == "1"  # little data, few steps: only shows that it runs
DOCS, STEPS = (200, 3) if TOY else (3000, 60)


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def tiny_llama(texts: list[str]) -> llm.Backbone:
    """Make a Llama of random weights with a BPE of its own; "_" will mask tokens."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<pad>", "<unk>", "_"], show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", unk_token="<unk>")
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 192}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    ids = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    config = LlamaConfig(**sizes, **heads, **ids, tie_word_embeddings=True)
    model = LlamaForCausalLM(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.1)  # not 0.02: docs/llm.md
    return llm.load_backbone(model, tokenizer)


docs = lines("docs")[:DOCS]
texts = [doc["text"] for doc in docs]
triples = [llm.Triple(", ".join(doc["words"]), doc["text"]) for doc in docs]  # a word asks
model = sys.argv[1] if len(sys.argv) > 1 else tiny_llama(texts)

# Without teacher scores the loss is contrast: the other documents of a batch are the negatives.
config = llm.LLMConfig(
    head="both",
    steps=STEPS,
    batch_size=32,
    learning_rate=2e-3,  # a pretrained model wants 1e-4 and mntp_steps
    sparse_temperature=0.3,
    dense_temperature=0.1,
    renormalize=True,
)
retriever = llm.fit(model, triples, config, progress=not TOY)
print(retriever)

with tempfile.TemporaryDirectory() as folder, EdgeStore(folder) as store:
    vectors = retriever.encode_dense(texts)  # the second stage: the same model's vectors
    searcher = csrkit.Searcher(retriever, store, rescore="dense", dense=vectors)
    searcher.upsert(range(len(texts)), texts, docs)
    query = triples[7].query
    results = searcher.search([query], limit=3, k=32, explain=True)
    print(f"\n{query}")
    for hit, why in zip(results[0], results.explanations[0], strict=True):
        tokens = retriever.tokens([one.latent for one in why.shared[:4]])
        print(f"  {hit.score:.2f}  {hit.payload['text']}, by {', '.join(tokens)}")
