"""``csrkit llm train | encode`` from files alone, against what Python makes of the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from tests.llm.tiny import make_triples, tiny_backbone

from csrkit import SparseVectors, llm
from csrkit.llm import LLMConfig
from csrkit.llm.batches import Batch, Batches
from csrkit.stores import EdgeStore

SETTINGS = {"steps": 4, "batch_size": 8, "target_active": 12, "learning_rate": 0.003}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a corpus, triples that name its documents, queries and settings."""
    folder = tmp_path_factory.mktemp("llm")
    tiny_backbone().save(folder / "llama")
    triples = make_triples()
    ids = {t.positive: f"{row}" if row else "first" for row, t in enumerate(triples)}
    rows = [f"{key}\t{text}\n" for text, key in ids.items()]
    (folder / "corpus.tsv").write_text("".join(rows))
    lines = [
        {
            "question": t.query,
            "pos_pid": ids[t.positive],
            "neg_pids": [ids[text] for text in t.negatives],
            "pos_score": t.positive_score,
            "neg_scores": t.negative_scores,
        }
        for t in triples
    ]
    (folder / "triples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "settings.json").write_text(json.dumps(SETTINGS))
    return folder


@pytest.fixture(scope="module")
def expected() -> llm.LLMRetriever:
    config = LLMConfig.model_validate(SETTINGS | {"head": "both"})
    return llm.fit(tiny_backbone(), make_triples(), config, progress=False)


@pytest.fixture
def trained(files: Path, expected: llm.LLMRetriever) -> Path:
    if not (files / "trained").exists():
        expected.save(files / "trained")
    return files / "trained"


def test_train_is_fit(
    run: Callable, files: Path, expected: llm.LLMRetriever, tmp_path: Path
) -> None:
    arguments = [files / "llama", files / "triples.jsonl", "-o", tmp_path / "out"]
    options = ["--corpus", files / "corpus.tsv", "--config", files / "settings.json"]
    result = run("llm", "train", *arguments, *options, "--head", "both", "--json")
    facts = json.loads(result.stdout)
    assert facts.pop("seconds") > 0
    assert facts.pop("loss") == pytest.approx(expected.provenance.loss)
    assert facts == {
        "retriever": str(tmp_path / "out"),
        "fingerprint": expected.fingerprint,
        "head": "both",
        "ranking": "cl_kd",
        "dim": 32,
        "n_latents": 40,
        "triples": 50,
        "steps": 4,
    }
    assert llm.load(tmp_path / "out").encode(["a cat"]) == expected.encode(["a cat"])


def test_the_model_is_adapted_to_the_whole_corpus(
    run: Callable, files: Path, tmp_path: Path
) -> None:
    """Not to the documents of the triples alone, of which one has fewer here."""
    (tmp_path / "one.jsonl").write_text((files / "triples.jsonl").read_text().partition("\n")[0])
    arguments = [files / "llama", tmp_path / "one.jsonl", "-o", tmp_path / "out"]
    options = ["--corpus", files / "corpus.tsv", "--steps", 1, "--mntp-steps", 2]
    facts = json.loads(run("llm", "train", *arguments, *options, "--json").stdout)
    config = LLMConfig(steps=1, mntp_steps=2)
    texts = list(llm.read_corpus(files / "corpus.tsv").values())
    found = llm.fit(tiny_backbone(), make_triples()[:1], config, corpus=texts, progress=False)
    assert facts["fingerprint"] == found.fingerprint


def test_encode_to_a_file_a_store_and_vectors(
    run: Callable, files: Path, trained: Path, expected: llm.LLMRetriever, tmp_path: Path
) -> None:
    texts = [triple.positive for triple in make_triples()]
    corpus = files / "corpus.tsv"
    facts = json.loads(
        run("llm", "encode", trained, corpus, "-o", tmp_path / "c.safetensors", "--json").stdout
    )
    codes = expected.encode(texts)
    assert SparseVectors.load(tmp_path / "c.safetensors") == codes
    assert (facts["rows"], facts["empty"], facts["dim"]) == (50, 0, None)
    assert facts["mean_latents"] == pytest.approx(codes.nnz / 50, abs=0.01)
    url = f"edge://{tmp_path / 'index'}"
    out = run("llm", "encode", trained, corpus, "--store", url, "--k", 3).stdout
    assert "50 codes of 3.0 latents on average (of 40)" in out
    with EdgeStore(tmp_path / "index") as store:
        assert store.fetch(["first", 1, 49]) == codes.top(3)[[0, 1, 49]]
        hit = store.search(expected.encode_query([texts[7]]), limit=1)[0][0]
        assert hit.payload is not None
        assert hit.payload["text"] in texts
    run("llm", "encode", trained, corpus, "-o", tmp_path / "v.npy", "--side", "query")
    vectors = np.load(tmp_path / "v.npy")
    assert np.allclose(vectors, expected.encode_dense(texts, side="query"), atol=1e-6)


def test_a_store_of_another_retriever_is_refused(
    run: Callable, files: Path, trained: Path, tmp_path: Path
) -> None:
    url = f"edge://{tmp_path / 'index'}"
    run("llm", "encode", trained, files / "corpus.tsv", "--store", url)
    config = LLMConfig.model_validate(SETTINGS | {"seed": 1})
    llm.fit(tiny_backbone(), make_triples(), config, progress=False).save(tmp_path / "other")
    result = run("llm", "encode", tmp_path / "other", files / "corpus.tsv", "--store", url, code=3)
    assert "got the codec" in result.stderr


def test_a_checkpoint_is_gone_on_from(run: Callable, files: Path, tmp_path: Path) -> None:
    arguments = [files / "llama", files / "triples.jsonl", "-o", tmp_path / "out"]
    options = ["--corpus", files / "corpus.tsv", "--config", files / "settings.json"]
    options += ["--checkpoint", tmp_path / "run"]
    first = json.loads(run("llm", "train", *arguments, *options, "--json").stdout)
    again = json.loads(run("llm", "train", *arguments, *options, "--json").stdout)
    assert again["fingerprint"] == first["fingerprint"]
    assert again["loss"] is None  # nothing was left to do
    other = run("llm", "train", *arguments, *options, "--steps", 5, code=2).stderr
    assert "is a checkpoint of another run" in other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{f}/none", "{f}/triples.jsonl", "-o", "out"], "named by id, such as"),
        (["train", "{f}/none", "{f}/t.tsv", "-o", "out"], "cannot read"),
        (["train", "{f}/llama", "{f}/settings.json", "-o", "out"], "ends in .jsonl or .tsv"),
        (["train", "{f}/llama", "{f}/triples.jsonl", "-o", "{f}"], "holds no retriever"),
        (
            ["train", "{f}/llama", "{f}/t", "-o", "out", "--checkpoint", "out/run"],
            "expected --checkpoint outside of --output, which is written whole at the end, got out",
        ),
        (
            ["train", "{f}/llama", "{f}/triples.jsonl", "-o", "out", "--steps", "-1"],
            "bad setting steps=-1",
        ),
        (["encode", "{f}/llama", "{f}/corpus.tsv", "-o", "c.npy"], "a retriever's config.json"),
        (["encode", "{f}/llama", "{f}/corpus.tsv"], "expected one of --output FILE and --store"),
        (["encode", "{f}/llama", "{f}/corpus.tsv", "-o", "c.txt"], "ends in .safetensors"),
        (["encode", "{f}/llama", "{f}/corpus.tsv", "-o", "c.npy", "--k", "3"], "--k is for codes"),
    ],
)
def test_refusals_are_one_line(
    arguments: list[str],
    message: str,
    run: Callable,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("llm", *[one.format(f=files) for one in arguments], code=2)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("step", "ending"),
    [(0, "nothing was kept yet; run would hold it every 2 steps"), (2, "run holds the last ch")],
)
def test_an_interrupt_says_what_was_kept(
    step: int,
    ending: str,
    run: Callable,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Batches.__call__

    def interrupted(self: Batches, at: int) -> Batch:
        if at == step:
            raise KeyboardInterrupt
        return whole(self, at)

    monkeypatch.setattr(Batches, "__call__", interrupted)
    monkeypatch.chdir(tmp_path)
    arguments = [files / "llama", files / "triples.jsonl", "-o", "out"]
    options = ["--corpus", files / "corpus.tsv", "--config", files / "settings.json"]
    options += ["--checkpoint", "run", "--checkpoint-every", 2]
    result = run("llm", "train", *arguments, *options, code=4)
    assert f"csrkit: interrupted: {ending}" in result.stderr


def test_ids_that_are_longer_than_numbers_are_names(
    run: Callable, trained: Path, tmp_path: Path
) -> None:
    ids = ["7", "007", str(2**64), "9" * 5000]
    (tmp_path / "c.tsv").write_text("".join(f"{one}\tthe cat\n" for one in ids))
    run("llm", "encode", trained, tmp_path / "c.tsv", "--store", f"edge://{tmp_path / 'index'}")
    with EdgeStore(tmp_path / "index") as store:
        assert store.count() == 4
        store.fetch([7, *ids[1:]])


def test_a_blank_text_without_a_vector_is_named(
    run: Callable, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.jsonl").write_text('{"_id": "a", "text": "x"}\n{"_id": "d7", "text": " "}\n')
    result = run("llm", "encode", trained, tmp_path / "c.jsonl", "-o", tmp_path / "v.npy", code=2)
    assert result.stderr == "csrkit: expected texts that are not blank for vectors, got id 'd7'\n"
    out = run("llm", "encode", trained, tmp_path / "c.jsonl", "-o", tmp_path / "c.safetensors")
    assert "1 of them are empty: no search finds them" in out.stdout
