"""What a retriever gives: codes and vectors of texts, hits from a store, tokens, and its folder."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.llm.tiny import WORDS, llama, make_triples, tiny_backbone, tokenizer

from csrkit import Searcher, llm
from csrkit.errors import ConfigError, FormatError, ShapeError
from csrkit.llm import LLMConfig, LLMRetriever, Triple
from csrkit.metrics import ndcg_at
from csrkit.model import load
from csrkit.stores import MemoryStore
from csrkit.vectors import Encoder

TEXTS = ["the cat lives at a lake", "a dog", "", "where does the eel live", "  ", "the reef"]


@pytest.fixture(scope="module")
def retriever() -> LLMRetriever:
    config = LLMConfig(
        head="both",
        loss="kd_kl",
        steps=60,
        batch_size=16,
        learning_rate=3e-3,
        target_active=12,
        dense_temperature=0.05,
        query_flops=1e-3,
        document_flops=1e-3,
    )
    return llm.fit(tiny_backbone(), make_triples(), config, progress=False)


def naive(retriever: LLMRetriever, text: str) -> np.ndarray:
    """One text, all logits, numpy."""
    tokens = retriever.backbone.pad(retriever.backbone.tokenize([text], 128))
    with torch.no_grad():
        logits = retriever.backbone.model(
            input_ids=tokens.ids, attention_mask=tokens.mask.long(), use_cache=False
        ).logits[0]
    best = logits.numpy().max(axis=0) * 32**-0.25 - retriever.head.shift.numpy()
    return np.asarray(np.log1p(np.maximum(best, 0)))


def test_codes_are_those_of_single_texts(retriever: LLMRetriever) -> None:
    codes = retriever.encode(TEXTS)
    assert codes.dim == retriever.n_latents == 40
    assert codes.counts[[2, 4]].tolist() == [0, 0]  # blank texts
    for row in (0, 1, 3, 5):
        assert np.allclose(codes[row].to_dense()[0], naive(retriever, TEXTS[row]), atol=1e-4)


def test_many_texts_come_back_in_order(retriever: LLMRetriever) -> None:
    texts = [" ".join(WORDS[3 : 3 + 1 + i % 17]) for i in range(80)]
    codes, vectors = retriever.encode(texts), retriever.encode_dense(texts)
    for row in (0, 16, 33, 79):
        assert np.allclose(codes[row].to_dense()[0], naive(retriever, texts[row]), atol=1e-4)
        assert np.allclose(vectors[row], retriever.encode_dense([texts[row]])[0], atol=1e-5)
    assert len(retriever.encode([])) == 0
    assert retriever.encode_dense([]).shape == (0, 32)


def test_k_selects_from_the_whole_code(retriever: LLMRetriever) -> None:
    whole = retriever.encode(TEXTS)
    assert retriever.encode(TEXTS, k=3) == whole.top(3)
    assert retriever.encode(TEXTS, k=retriever.n_latents) == whole
    bounded = LLMRetriever(
        retriever.backbone,
        retriever.head,
        retriever.config.model_copy(update={"query_k": 2, "document_k": 4}),
        retriever.provenance,
    )
    assert bounded.encode(TEXTS) == whole.top(4)
    assert bounded.encode_query(TEXTS) == whole.top(2)
    assert bounded.encode(TEXTS, k=7) == whole.top(7)


def test_sides_have_lengths_and_prefixes(retriever: LLMRetriever) -> None:
    config = retriever.config.model_copy(update={"query_length": 2, "query_prefix": "where "})
    other = LLMRetriever(retriever.backbone, retriever.head, config, retriever.provenance)
    short = other.encode(["the cat lives"], side="query")
    assert short == retriever.encode(["where the"])
    assert other.encode(["the cat lives"]) == retriever.encode(["the cat lives"])


def test_vectors_are_means_of_unit_states(retriever: LLMRetriever) -> None:
    (vector,) = retriever.encode_dense(["the cat lives"])
    tokens = retriever.backbone.pad(retriever.backbone.tokenize(["the cat lives"], 9))
    with torch.no_grad():
        states = retriever.backbone.hidden(tokens)[0].numpy()
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    assert np.allclose(vector, unit.mean(axis=0), atol=1e-6)
    assert np.linalg.norm(vector) < 1


def test_a_store_finds_what_the_codes_say(retriever: LLMRetriever, triples: list[Triple]) -> None:
    encoder: Encoder = retriever  # mypy: it is one
    store = MemoryStore()
    docs = [triple.positive for triple in triples]
    store.upsert(range(len(docs)), encoder.encode(docs))
    queries = [triple.query for triple in triples]
    codes = retriever.encode_query(queries, k=16)
    found = [[hit.id for hit in hits] for hits in store.search(codes, limit=10)]
    exact = np.argsort(-codes.dot(retriever.encode(docs)), axis=1)[:, 0]
    assert [hits[0] for hits in found] == exact.tolist()
    assert ndcg_at(found, np.arange(50), 10).mean() > 0.65


def test_a_searcher_takes_texts(retriever: LLMRetriever, triples: list[Triple]) -> None:
    docs = [triple.positive for triple in triples]
    queries = [triple.query for triple in triples[:9]]
    exact = retriever.encode_query(queries, k=6).dot(retriever.encode(docs))
    searcher = Searcher(retriever, MemoryStore(), rescore=None)
    searcher.upsert(range(len(docs)), docs, [{"text": text} for text in docs])
    results = searcher.search(queries, limit=3, k=6, explain=True)
    assert [hits[0].score for hits in results] == pytest.approx(exact.max(axis=1), rel=1e-5)
    assert results.explanations is not None
    why = results.explanations[0][0]
    assert why.score == pytest.approx(exact[0].max(), rel=1e-5)
    expected = dict((one.latent, one.token) for one in retriever.explain(queries[0], docs[why.id]))
    latents = [one.latent for one in why.shared]
    assert retriever.tokens(latents) == [expected[latent] for latent in latents]
    single = searcher.search(queries[0], limit=3, k=6)
    assert [hit.id for hit in single[0]] == [hit.id for hit in results[0]]
    assert searcher.search(queries[0], effort="accurate").setting.k == retriever.n_latents


def test_a_searcher_rescores_by_the_vectors_of_the_same_model(
    retriever: LLMRetriever, triples: list[Triple]
) -> None:
    docs = [triple.positive for triple in triples]
    vectors = retriever.encode_dense(docs)
    searcher = Searcher(retriever, MemoryStore(), rescore="dense", dense=vectors)
    searcher.upsert(range(len(docs)), docs)
    query = triples[7].query
    (hits,) = searcher.search([query], limit=5, candidates=50)
    asked = retriever.encode_dense([query], side="query")[0]
    cosines = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    assert [hit.id for hit in hits] == np.argsort(-cosines)[:5].tolist()
    with pytest.raises(ConfigError, match=r"got a LLMRetriever, whose codes decode to nothing"):
        Searcher(retriever, MemoryStore())


def test_explanations_add_up_and_name_tokens(retriever: LLMRetriever) -> None:
    query, document = "where does cat live at lake", "the cat lives at a lake"
    shared = retriever.explain(query, document)
    score = retriever.encode_query([query]).dot(retriever.encode([document]))[0, 0]
    assert sum(one.contribution for one in shared) == pytest.approx(float(score), rel=1e-4)
    assert [one.contribution for one in shared] == sorted(
        (one.contribution for one in shared), reverse=True
    )
    assert [one.token for one in shared if one.latent < len(WORDS)] == [
        WORDS[one.latent] for one in shared if one.latent < len(WORDS)
    ]
    assert "cat" in [one.token for one in shared[:6]]
    assert retriever.tokens([12, 39]) == ["cat", ""]  # the head is wider than the tokenizer


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: r.encode("a cat"), ShapeError, "expected a list of texts, got 'a cat'"),
        (lambda r: r.encode(None), ShapeError, "expected a list of texts, got None"),
        (
            lambda r: r.encode({"1": "a cat"}),
            ShapeError,
            r"got \{'1': 'a cat'\}: list\(corpus.values",
        ),
        (lambda r: r.encode({"a cat"}), ShapeError, r"expected a list of texts, got \{'a cat'\}"),
        (lambda r: r.encode_dense(x for x in ["", "a"]), ShapeError, "got '' at 0"),
        (lambda r: r.tokens([40]), ShapeError, r"whole numbers from 0 to 39 .*, got \[40\]"),
        (lambda r: r.tokens(r.encode(["a"])), ShapeError, "codes.indices, got SparseVectors"),
        (lambda r: r.encode(["a", 3]), ShapeError, r"a list of texts, got '3' \(int\) at 1"),
        (lambda r: r.encode(["\ud800"]), ShapeError, r"got '.ud800' \(str\) at 0"),
        (lambda r: r.encode(["a"], k=0), ConfigError, r"from 1 to n_latents=40, got encode\(k=0\)"),
        (lambda r: r.encode(["a"], k=True), ConfigError, "k=True"),
        (lambda r: r.encode(["a"], side="doc"), ConfigError, "expected side 'query' or 'document'"),
        (lambda r: r.encode_dense(["a", " "]), ShapeError, r"got ' ' at 1"),
    ],
)
def test_bad_calls_restate_themselves(
    call: Any, error: type[Exception], message: str, retriever: LLMRetriever
) -> None:
    with pytest.raises(error, match=message):
        call(retriever)


def test_a_head_that_was_not_trained_gives_nothing(triples: list[Triple]) -> None:
    for head, other in (("sparse", "dense"), ("dense", "sparse")):
        one = llm.fit(tiny_backbone(), triples, LLMConfig(head=head, steps=1), progress=False)
        with pytest.raises(ConfigError, match=f"one was trained with head='{head}'"):
            one.encode_dense(["a"]) if head == "sparse" else one.encode(["a"])
        assert f"LLMRetriever({head}, dim=32, n_latents=40, fingerprint='" in repr(one)
        assert other not in repr(one)


# -- files ----------------------------------------------------------------------


def test_a_saved_retriever_is_the_same(retriever: LLMRetriever, tmp_path: Path) -> None:
    for _ in range(2):  # the second save replaces the first
        retriever.save(tmp_path / "a" / "saved")
    again = llm.load(tmp_path / "a" / "saved")
    with pytest.raises(FormatError, match="got the retriever of texts"):
        load(tmp_path / "a" / "saved")
    assert again.fingerprint == retriever.fingerprint
    assert again.config == retriever.config
    assert again.provenance == retriever.provenance
    assert again.encode(TEXTS) == retriever.encode(TEXTS)
    assert np.array_equal(again.encode_dense(["a dog"]), retriever.encode_dense(["a dog"]))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["saved"]
    assert not list(tmp_path.rglob("*.bin"))


def test_what_else_is_in_the_folder_stays(retriever: LLMRetriever, tmp_path: Path) -> None:
    retriever.save(tmp_path / "saved")
    (tmp_path / "saved" / "index").mkdir()
    (tmp_path / "saved" / "index" / "points").write_text("mine")
    retriever.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "index" / "points").read_text() == "mine"
    assert llm.load(tmp_path / "saved").fingerprint == retriever.fingerprint


def test_a_retriever_of_a_gguf_file_can_be_saved(triples: list[Triple], tmp_path: Path) -> None:
    """transformers marks such a model as quantized, though its weights are plain."""
    gguf = pytest.importorskip("gguf")
    model = llama()
    writer = gguf.GGUFWriter(str(tmp_path / "tiny.gguf"), "llama")
    writer.add_block_count(2)
    writer.add_context_length(2048)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(40)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":  # tied
            stem, _, suffix = name.rpartition(".")
            writer.add_tensor(f"{names.get_name(stem)}.{suffix}", weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tokenizer().save_pretrained(tmp_path / "words")
    config = LLMConfig(steps=1, target_active=12)
    words = tmp_path / "words"
    made = llm.fit(tmp_path / "tiny.gguf", triples, config, tokenizer=words, progress=False)
    made.save(tmp_path / "saved")
    assert llm.load(tmp_path / "saved").encode(TEXTS) == made.encode(TEXTS)


def test_a_retriever_travels_by_pickle(retriever: LLMRetriever) -> None:
    again = pickle.loads(pickle.dumps(retriever))
    assert again.encode(TEXTS) == retriever.encode(TEXTS)


def test_fingerprints_tell_retrievers_apart(retriever: LLMRetriever) -> None:
    config = retriever.config.model_copy(update={"query_prefix": "q: "})
    other = LLMRetriever(retriever.backbone, retriever.head, config, retriever.provenance)
    assert len(retriever.fingerprint) == 64
    assert other.fingerprint != retriever.fingerprint


def _edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


def _tensor(path: Path, name: str) -> None:
    tensors = load_file(path)
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, path, {"format": "pt"})


BAD = {
    "no config": (lambda f: (f / "config.json").unlink(), r"a retriever's config\.json"),
    "no head": (lambda f: (f / "head.safetensors").unlink(), r"head\.safetensors, found none"),
    "no model": (lambda f: (f / "backbone" / "config.json").unlink(), "no language model"),
    "no weights": (lambda f: (f / "backbone" / "model.safetensors").unlink(), "language model"),
    "not JSON": (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
    "huge": (lambda f: (f / "config.json").write_text(" " * (1 << 21)), "bytes, a config has"),
    "newer": (
        lambda f: _edit(f / "config.json", lambda c: c | {"format": 9}),
        "has format 9, this csrkit reads up to 1: upgrade",
    ),
    "unknown key": (
        lambda f: _edit(f / "config.json", lambda c: c | {"run": "me"}),
        "is not a model config",
    ),
    "edited": (
        lambda f: _edit(f / "config.json", lambda c: c | {"dim": 31}),
        r"was not saved with the config\.json beside it",
    ),
    "other weights": (
        lambda f: _tensor(f / "backbone" / "model.safetensors", "model.norm.weight"),
        "weights or tokenizer were changed",
    ),
    "cut": (
        lambda f: (f / "backbone" / "model.safetensors").write_bytes(
            (f / "backbone" / "model.safetensors").read_bytes()[:-64]
        ),
        "language model",
    ),
    "other tokenizer": (
        lambda f: _edit(
            f / "backbone" / "tokenizer.json",
            lambda c: c | {"model": c["model"] | {"vocab": {"[UNK]": 0, "[PAD]": 1}}},
        ),
        "weights or tokenizer were changed",
    ),
    "causal again": (
        lambda f: _edit(f / "backbone" / "config.json", lambda c: c | {"hidden_size": 16}),
        "language model",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_folder_that_was_changed_is_refused(
    name: str, retriever: LLMRetriever, tmp_path: Path
) -> None:
    damage, message = BAD[name]
    retriever.save(tmp_path / "saved")
    damage(tmp_path / "saved")
    with pytest.raises(FormatError, match=message):
        llm.load(tmp_path / "saved")


def test_a_full_disk_leaves_the_old_retriever(
    retriever: LLMRetriever, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    retriever.save(tmp_path / "saved")
    request.getfixturevalue("full_disk")
    with pytest.raises(FormatError, match=r"cannot write the retriever to .*saved: "):
        retriever.save(tmp_path / "saved")
    assert llm.load(tmp_path / "saved").fingerprint == retriever.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_what_loads_no_retriever(retriever: LLMRetriever, tmp_path: Path) -> None:
    retriever.save(tmp_path / "saved")
    with pytest.raises(ConfigError, match="a device of this machine, got device='tpu:9'"):
        llm.load(tmp_path / "saved", device="tpu:9")
    with pytest.raises(FormatError, match=r"got the retriever .*saved: .*saved.backbone is the"):
        llm.load_backbone(tmp_path / "saved")


def test_a_folder_of_something_else_is_not_overwritten(
    retriever: LLMRetriever, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FormatError, match="is not empty and holds no retriever"):
        retriever.save(tmp_path)
    with pytest.raises(FormatError, match="got the file"):
        retriever.save(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
