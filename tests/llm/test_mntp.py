"""Masked next-token prediction: what is masked, what is predicted from where, and that it helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.llm.tiny import WORDS, llama, of_kind, tiny_backbone, tokenizer

from csrkit.errors import ConfigError
from csrkit.llm import Backbone, LLMConfig, Triple, adapt, fit, load_backbone
from csrkit.llm.backbone import Tokens
from csrkit.llm.encoding import TextEncoder
from csrkit.llm.heads import SparseHead
from csrkit.llm.mntp import Masked, MaskedTexts, mask_id, mask_tokens, mntp_loss

MASK, VOCABULARY = 2, 500


@pytest.mark.parametrize("kind", ["Llama", "Gemma2"])
def test_loss_is_that_of_transformers_labels(kind: str) -> None:
    """transformers shifts labels by one itself: -100 wherever nothing is to be predicted."""
    model = llama() if kind == "Llama" else of_kind(kind, final_logit_softcapping=0.05)
    backbone = load_backbone(model, tokenizer())
    tokens = backbone.pad(backbone.tokenize(["the cat lives at a lake", "a dog at the hill"], 16))
    chosen = torch.zeros_like(tokens.mask)
    chosen[0, [1, 3]] = chosen[1, 4] = True
    seen = tokens.ids.masked_fill(chosen, MASK)
    labels = tokens.ids.masked_fill(~chosen, -100)
    with torch.no_grad():
        expected = backbone.model(
            input_ids=seen, attention_mask=tokens.mask.long(), labels=labels, use_cache=False
        ).loss
        masked = Masked(Tokens(seen, tokens.mask), chosen, tokens.ids)
        found = mntp_loss(backbone, backbone.hidden(masked.tokens), masked)
    assert float(found) / 3 == pytest.approx(float(expected), abs=1e-5)


def test_shares_of_masked_replaced_and_kept_tokens() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(10, VOCABULARY, size=(200, 100))
    maskable = np.ones(ids.shape, dtype=bool)
    maskable[:, 60:] = False
    seen, chosen = mask_tokens(ids, maskable, rng, share=0.2, mask=MASK, vocabulary=VOCABULARY)
    assert not chosen[:, 60:].any()
    assert not chosen[:, 0].any()  # nothing stands before it
    assert (seen == ids)[~chosen].all()
    assert chosen[:, 1:60].mean() == pytest.approx(0.2, abs=0.01)
    assert (seen == MASK)[chosen].mean() == pytest.approx(0.8, abs=0.02)
    assert (seen == ids)[chosen].mean() == pytest.approx(0.1, abs=0.02)


def test_a_batch_has_something_to_predict() -> None:
    ids = np.arange(10)[None]
    maskable = np.zeros((1, 10), dtype=bool)
    maskable[0, 4] = True
    rng = np.random.default_rng(0)
    _, chosen = mask_tokens(ids, maskable, rng, share=1e-9, mask=MASK, vocabulary=10)
    assert chosen.nonzero()[1].tolist() == [4]
    _, none = mask_tokens(ids, maskable & False, rng, share=0.5, mask=MASK, vocabulary=10)
    assert not none.any()


def test_batches_follow_from_the_step_and_spare_special_tokens(backbone: Backbone) -> None:
    texts = ["the cat lives at a lake", "strange words here", "a", ""]
    config = LLMConfig(batch_size=16, mntp_share=0.9)
    encoder = TextEncoder(backbone, SparseHead(backbone.vocabulary, backbone.dim), config)
    one, two = (MaskedTexts(encoder, texts, config) for _ in range(2))
    first, again, other = one.batch(3), two.batch(3), one.batch(4)
    assert torch.equal(first.tokens.ids, again.tokens.ids)
    assert not torch.equal(first.chosen.sum(), other.chosen.sum()) or not torch.equal(
        first.targets, other.targets
    )
    unknown = WORDS.index("[UNK]")
    assert (first.targets == unknown).any()
    assert not (first.targets == unknown)[first.chosen].any()


def test_the_mask_is_one_token(backbone: Backbone) -> None:
    assert mask_id(backbone, "_") == WORDS.index("_")
    for bad in ("the cat", "unheard-of"):
        with pytest.raises(ConfigError, match=f"got mask_token='{bad}'"):
            mask_id(backbone, bad)
    backbone.tokenizer.mask_token = "at"
    assert mask_id(backbone, "_") == WORDS.index("at")


def test_adapting_lowers_the_loss_and_leaves_the_original(triples: list[Triple]) -> None:
    texts = [triple.positive for triple in triples]
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    config = LLMConfig(mntp_steps=60, mntp_rate=5e-3, batch_size=16)
    adapted = adapt(backbone, texts, config, progress=False)
    losses = []
    for one in (backbone, adapted):
        encoder = TextEncoder(one, SparseHead(one.vocabulary, one.dim), config)
        masked = MaskedTexts(encoder, texts, config).batch(10_000)
        with torch.no_grad():
            total = mntp_loss(one, one.hidden(masked.tokens), masked)
        losses.append(float(total / masked.chosen.sum()))
    assert losses[0] > 3.3  # log 40 is 3.7
    assert losses[1] < 2.0
    assert all(torch.equal(before[name], v) for name, v in backbone.model.state_dict().items())


def test_no_texts_are_refused(backbone: Backbone) -> None:
    with pytest.raises(ConfigError, match="expected texts to adapt the model on, got none"):
        adapt(backbone, [], LLMConfig(mntp_steps=1), progress=False)


@pytest.mark.parametrize("texts", ["corpus.tsv", {"1": "the cat"}, [1, 2], ["the cat", None]])
def test_what_only_looks_like_texts_is_refused(texts: Any, triples: list[Triple]) -> None:
    """A path would be read letter by letter, and of a corpus by id the ids."""
    config = LLMConfig(mntp_steps=1, steps=0)
    with pytest.raises(ConfigError, match="texts as texts, got "):
        adapt(tiny_backbone(), texts, config, progress=False)
    with pytest.raises(ConfigError, match="texts as corpus, got "):
        fit(tiny_backbone(), triples, config, corpus=texts, progress=False)


def test_no_steps_adapt_nothing(backbone: Backbone) -> None:
    with pytest.raises(ConfigError, match=r"mntp_steps=\.\.\.\) of at least 1 to adapt, got 0"):
        adapt(backbone, ["the cat"], LLMConfig(), progress=False)
