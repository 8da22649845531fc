"""Sparse and dense retrievers from tiny Llamas: contrast, distillation, both; three widths.

    python examples/benchmarks/llm.py                                       smallest run, minutes
    python examples/benchmarks/llm.py --widths 64 128 256 --out results/llm --data FOLDER
    python examples/benchmarks/llm.py --memory                              peak of encode alone

Llamas of random weights, with a BPE of their own, are trained on two kinds of triples: real queries
(the last ``--train`` of the data) and crops (half of the words of a document ask for it). Negatives
are drawn from the teacher's neighbours; the teacher are the dense embeddings that come with the
data. No test query is trained on. With ``--mntp`` they are adapted to the documents first; so few
steps teach a model of random weights little, and rather unteach it what its tied embeddings
give: that a token is its own best match. Per row:

    nDCG, MRR    at 10, test queries over all documents, exact inner products
    active q, d  active latents of the mean query and document
    cost         postings visited per query and document, sum_j p_query(j) p_doc(j)
    transfer     nDCG@10 out of domain: ``name`` asks for ``text`` of the file --transfer

``free`` is the CL+KD sparse retriever with no FLOPS loss, ``start`` the sparse one with no step
taken; ``bm25`` and ``teacher`` frame the scale.
``--data`` is laid out as examples/data: docs and queries as .jsonl and .npy, and relevant.npy.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _common import HERE, heading, table

from csrkit.llm import Backbone, LLMConfig, LLMRetriever, Triple, adapt, fit, load_backbone
from csrkit.metrics import mrr_at, ndcg_at, posting_cost

NEIGHBOURS = 50  # of the teacher, from which negatives are drawn
SCALE = 20.0  # of the teacher's cosines
LOSSES = ("cl", "kd", "cl_kd")


class Data(NamedTuple):
    """Texts, their dense embeddings of norm 1, and which document each query asks for."""

    docs: list[str]
    queries: list[str]
    doc_vectors: np.ndarray
    query_vectors: np.ndarray
    relevant: np.ndarray
    n_test: int
    n_train: int


class Row(NamedTuple):
    """One retriever, measured."""

    width: int
    head: str
    loss: str
    seed: int
    values: dict[str, float]


def texts_of(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def unit(path: Path) -> np.ndarray:
    rows = np.load(path).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # the scale per row cancels


def load_data(path: Path, options: argparse.Namespace) -> Data:
    docs, queries = texts_of(path / "docs.jsonl"), texts_of(path / "queries.jsonl")
    vectors, asked = unit(path / "docs.npy"), unit(path / "queries.npy")
    relevant = np.load(path / "relevant.npy")
    if options.docs is not None:  # the first ones, and those that are asked for
        kept = np.union1d(np.arange(options.docs), relevant)
        docs, vectors = [docs[row] for row in kept], vectors[kept]
        relevant = np.searchsorted(kept, relevant)
    return Data(docs, queries, vectors, asked, relevant, options.test, options.train)


def neighbours(vectors: np.ndarray, docs: np.ndarray) -> np.ndarray:
    """Return the teacher's nearest documents of each vector, int64 (n, NEIGHBOURS)."""
    found = []
    for start in range(0, len(vectors), 512):
        scores = vectors[start : start + 512] @ docs.T
        found.append(np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    return np.concatenate(found)


def triples_of(data: Data, seed: int) -> list[Triple]:
    """Real queries and crops, each with sixteen of the teacher's neighbours as negatives."""
    rng = np.random.default_rng(seed)
    asked = np.arange(len(data.queries) - data.n_train, len(data.queries))
    texts = [data.queries[row] for row in asked]
    positives = data.relevant[asked]
    vectors = data.query_vectors[asked]
    for row, text in enumerate(data.docs):
        words = text.split()
        if len(words) >= 6:
            kept = np.sort(rng.permutation(len(words))[: (len(words) + 1) // 2])
            texts.append(" ".join(words[at] for at in kept))
            positives = np.append(positives, row)
    vectors = np.concatenate([vectors, data.doc_vectors[positives[len(asked) :]]])
    found = []
    for text, positive, vector, near in zip(
        texts, positives, vectors, neighbours(vectors, data.doc_vectors), strict=True
    ):
        others = rng.permutation(near[near != positive])[:16]
        scores = data.doc_vectors[[positive, *others]] @ vector
        negatives = tuple(data.docs[other] for other in others)
        found.append(
            Triple(text, data.docs[positive], negatives, float(scores[0]), tuple(scores[1:]))
        )
    return found


def tokenizer_of(texts: Sequence[str], vocabulary: int) -> Any:
    """Train a BPE; "_" stays a token of its own, to mask with."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "_"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>")


def llama(width: int, tokenizer: Any, seed: int, layers: int) -> Backbone:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=True,
    )
    return load_backbone(LlamaForCausalLM(config), tokenizer)


def ranked(scores: np.ndarray) -> np.ndarray:
    best = np.argpartition(-scores, 10, axis=1)[:, :10]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def relevance(scores: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    found = ranked(scores)
    return {
        "ndcg": float(ndcg_at(found, relevant, 10).mean()),
        "mrr": float(mrr_at(found, relevant, 10).mean()),
    }


def measure(model: LLMRetriever, queries: Sequence[str], docs: Sequence[str]) -> Any:
    """Return the scores of all pairs, and what the codes cost."""
    if model.config.head == "dense":
        asked = model.encode_dense(queries, side="query")
        return asked @ model.encode_dense(docs).T, {}
    q, d = model.encode(queries, side="query"), model.encode(docs)
    cost = {
        "active_q": float(q.counts.mean()),
        "active_d": float(d.counts.mean()),
        "cost": float(posting_cost(q, d).mean()),
    }
    return q.dot(d), cost


def bm25(
    queries: Sequence[str], docs: Sequence[str], k1: float = 0.9, b: float = 0.4
) -> np.ndarray:
    """Score with BM25 over lower-case words, with the parameters of Anserini."""
    from scipy.sparse import csr_array

    names: dict[str, int] = {}
    lines = [[names.setdefault(w, len(names)) for w in text.lower().split()] for text in docs]
    lengths = np.array([len(line) for line in lines])
    counted = [np.unique(line, return_counts=True) for line in lines]
    at = np.concatenate([[0], np.cumsum([len(words) for words, _ in counted])])
    words = np.concatenate([words for words, _ in counted])
    counts = np.concatenate([counts for _, counts in counted]).astype(np.float64)
    holding = np.bincount(words, minlength=len(names))
    idf = np.log(1 + (len(docs) - holding + 0.5) / (holding + 0.5))
    norm = np.repeat(k1 * (1 - b + b * lengths / lengths.mean()), np.diff(at))
    weights = csr_array((idf[words] * counts / (counts + norm), words, at), (len(docs), len(names)))
    asked = [np.unique([names[w] for w in text.lower().split() if w in names]) for text in queries]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in asked])])
    ones = csr_array(
        (np.ones(starts[-1]), np.concatenate(asked).astype(np.int64), starts),
        (len(queries), len(names)),
    )
    return np.asarray((ones @ weights.T).toarray())


def settings(head: str, loss: str, seed: int, options: argparse.Namespace) -> LLMConfig:
    return LLMConfig(
        head="dense" if head == "dense" else "sparse",
        loss=loss,
        steps=0 if head == "start" else options.steps,
        batch_size=options.batch,
        negatives=options.negatives,
        learning_rate=options.rate,
        teacher_scale=SCALE,
        sparse_temperature=options.temperature,
        dense_temperature=1 / SCALE,
        target_active=options.active,
        query_flops=0.0 if head == "free" else options.query_flops,
        document_flops=0.0 if head == "free" else options.document_flops,
        query_length=24,
        document_length=24,
        seed=seed,
    )


def rows_of(
    data: Data, transfer: tuple[list[str], list[str]] | None, options: argparse.Namespace
) -> Iterator[Row]:
    test = slice(0, data.n_test)
    queries, relevant = data.queries[test], data.relevant[test]
    exact = data.query_vectors[test] @ data.doc_vectors.T
    yield Row(0, "teacher", "-", 0, relevance(exact, relevant))
    lexical = relevance(bm25(queries, data.docs), relevant)
    if transfer is not None:
        lexical["transfer"] = relevance(bm25(*transfer), np.arange(len(transfer[0])))["ndcg"]
    yield Row(0, "bm25", "-", 0, lexical)
    tokenizer = tokenizer_of(data.docs, options.vocabulary)
    grid = [(head, loss) for head in options.heads for loss in options.losses]
    grid += [("free", "cl_kd"), ("start", "cl_kd")] if "sparse" in options.heads else []
    for width in options.widths:
        for seed in options.seeds if width == options.widths[0] else options.seeds[:1]:
            triples = triples_of(data, seed)
            mntp = LLMConfig(
                mntp_steps=options.mntp,
                mntp_rate=2e-3,
                batch_size=64,
                document_length=24,
                seed=seed,
            )
            base = llama(width, tokenizer, seed, options.layers)
            if options.mntp:
                base = adapt(base, data.docs, mntp, progress=False)
            for head, loss in grid:
                config = settings(head, loss, seed, options)
                started = time.perf_counter()
                model = fit(base, triples, config, progress=False)
                values = {"seconds": time.perf_counter() - started}
                scores, cost = measure(model, queries, data.docs)
                values |= relevance(scores, relevant) | cost
                if transfer is not None:
                    scores, _ = measure(model, *transfer)
                    values["transfer"] = relevance(scores, np.arange(len(scores)))["ndcg"]
                yield Row(width, head, loss, seed, values)


COLUMNS = {
    "nDCG@10": ("ndcg", 3),
    "MRR@10": ("mrr", 3),
    "active q": ("active_q", 0),
    "active d": ("active_d", 0),
    "cost": ("cost", 2),
    "transfer": ("transfer", 3),
    "sec": ("seconds", 0),
}


def report(rows: Sequence[Row]) -> str:
    """Lay out the means over the seeds, with the standard deviation where there are several."""
    lines = []
    for key in dict.fromkeys((row.width, row.head, row.loss) for row in rows):
        same = [row.values for row in rows if (row.width, row.head, row.loss) == key]
        cells = [f"{key[0]} {key[1]} {key[2]}" if key[0] else key[1], str(len(same))]
        for name, digits in COLUMNS.values():
            values = [one[name] for one in same if name in one]
            text = f"{np.mean(values):.{digits}f}" if values else "-"
            if len(values) > 1 and digits == 3:
                text += f" ± {np.std(values):.{digits}f}"
            cells.append(text)
        lines.append(cells)
    return table(["width, head, loss", "seeds", *COLUMNS], lines)


def gates(rows: Sequence[Row]) -> Iterator[str]:
    """Say whether the targets of this benchmark are met at the first width."""
    first = min(row.width for row in rows if row.width)

    def mean(head: str, loss: str, name: str = "ndcg") -> float:
        found = [row.values[name] for row in rows if row[:3] == (first, head, loss)]
        return float(np.mean(found)) if found else float("nan")

    for head in dict.fromkeys(row.head for row in rows if row.head in ("sparse", "dense")):
        gain = 100 * (mean(head, "cl_kd") - max(mean(head, "cl"), mean(head, "kd")))
        yield f"{head}: CL+KD {gain:+.1f} points of nDCG@10 to the better of CL and KD (-0.5 up)"
    if any(row.head == "free" for row in rows):
        lost = 100 * (mean("sparse", "cl_kd") - mean("free", "cl_kd"))
        active = [mean("sparse", "cl_kd", f"active_{side}") for side in "dq"]
        yield (
            f"active latents {active[0]:.0f} per document (under 512), {active[1]:.0f} per query "
            f"(under 128), {lost:+.1f} points to the run without FLOPS loss (-1 up)"
        )


PEAK = """
import resource, torch
from transformers import LlamaConfig, LlamaForCausalLM
from csrkit.llm import Backbone, LLMConfig
from csrkit.llm.heads import SparseHead
from csrkit.llm.retriever import LLMRetriever, Provenance
vocabulary, width = 128_000, 256
config = LlamaConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width,
    num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=8, tie_word_embeddings=True)
model = LlamaForCausalLM(config).eval()
model.config.is_causal = False
class Words:  # a tokenizer of which nothing is asked but ids
    def __call__(self, texts, **_):
        return {"input_ids": [[hash((t, i)) % vocabulary for i in range(128)] for t in texts]}
    def get_vocab(self):
        return {}
head = SparseHead(vocabulary, width)
head.shift.data += 0.3
retriever = LLMRetriever(Backbone(model, Words()), head, LLMConfig(), Provenance(csrkit="", triples=0))
kilobytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = kilobytes()
codes = retriever.encode(["text %d" % i for i in range(32)])
print(f"encode, batch 32 x 128 tokens, vocabulary {vocabulary}: "
      f"{(kilobytes() - before) / 2**20:.2f} GB above the model ({codes.counts.mean():.0f} active)")
"""  # noqa: E501  # a script of its own, so that nothing else is in its peak


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--memory", action="store_true", help="measure the peak memory of encode, nothing else")
    add("--data", type=Path, default=HERE.parent / "data")
    add("--transfer", type=Path, help=".jsonl with name and text")
    add(
        "--docs",
        type=int,
        default=1500,
        help="only the first so many, and the relevant ones",
    )
    add("--test", type=int, default=500, help="test queries: the first")
    add("--train", type=int, default=1000, help="real queries to train on: the last")
    add("--widths", nargs="+", type=int, default=[64])
    add("--layers", type=int, default=2)
    add("--vocabulary", type=int, default=3000)
    add("--heads", nargs="+", default=["sparse", "dense"])
    add("--losses", nargs="+", default=list(LOSSES))
    add("--seeds", nargs="+", type=int, default=[0], help="all at the first width, then the first")
    add("--mntp", type=int, default=0, help="steps of the adaptation")
    add("--steps", type=int, default=120, help="steps of every training")
    add("--batch", type=int, default=24)
    add("--negatives", type=int, default=3)
    add("--temperature", type=float, default=0.1, help="of the scores of codes")
    add("--rate", type=float, default=2e-3)
    add("--active", type=int, default=128, help="active latents of a document at the start")
    add("--query-flops", type=float, default=3e-2)
    add("--document-flops", type=float, default=1e-2)
    add("--rows", nargs="+", type=Path, help="run nothing: report what earlier runs wrote as .json")
    add("--out", type=Path, help="write OUT.md and OUT.json")
    options = parser.parse_args()
    if options.toy:
        toy = {"docs": 200, "test": 50, "train": 100, "vocabulary": 400, "mntp": 2, "steps": 3}
        vars(options).update(toy, batch=8, widths=[32], layers=1)
    return options


def main() -> None:
    options = parse()
    if options.memory:
        subprocess.run([sys.executable, "-c", PEAK], check=True)
        return
    if options.rows:
        saved = [Row(**one) for path in options.rows for one in json.loads(path.read_text())]
        rows = list({row[:4]: row for row in saved}.values())
        print("\n".join([report(rows), "", *gates(rows)]))
        return
    hidden = ("rows", "data", "out", "transfer", "memory")
    kept = {name: value for name, value in vars(options).items() if name not in hidden}
    line = " ".join(f"{name}={value}" for name, value in kept.items())
    heading(f"Retrievers from tiny Llamas on {options.data.name}", line, toy=options.toy)
    started = time.perf_counter()
    transfer = None
    if options.transfer is not None:
        items = [json.loads(one) for one in options.transfer.read_text().splitlines()]
        unique = {item["text"]: item["name"].replace("-", " ") for item in items}
        transfer = (list(unique.values())[:1000], list(unique))
    rows = []
    for row in rows_of(load_data(options.data, options), transfer, options):
        rows.append(row)
        shown = {name: round(value, 3) for name, value in row.values.items()}
        print(row.width, row.head, row.loss, f"seed {row.seed}", shown, flush=True)
    ending = f"{time.perf_counter() - started:.0f} seconds, all of it"
    text = "\n".join(["", report(rows), "", *gates(rows), ending])
    print(text)
    if options.out is not None:
        options.out.with_suffix(".md").write_text(f"{line}\n{text}\n")
        options.out.with_suffix(".json").write_text(json.dumps([row._asdict() for row in rows]))


if __name__ == "__main__":
    main()
