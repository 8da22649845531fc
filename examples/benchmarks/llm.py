"""Sparse and dense retrievers from tiny Llamas: contrast, distillation, both; three widths.

    python examples/benchmarks/llm.py                             smallest run, minutes
    python examples/benchmarks/llm.py --data FOLDER --transfer FILE --seeds 0 1 2 --out llm
    python examples/benchmarks/llm.py --rows llm.json wide.json   one report of several runs
    python examples/benchmarks/llm.py --model M.gguf --lora 16    a pretrained model instead
    python examples/benchmarks/llm.py --memory                    peak of encode alone

Llamas of random weights, with a BPE of their own, are trained on two kinds of triples: real queries
(the last ``--train`` of the data) and crops (half of the words of a document ask for it). Negatives
are drawn from the teacher's neighbours; the teacher are the dense embeddings that come with the
data. No test query is trained on. Per row:

    nDCG, MRR    at 10, test queries over all documents, exact inner products
    active q, d  active latents of the mean query and document
    cost         postings visited per query and document, sum_j p_query(j) p_doc(j)
    transfer     nDCG@10 out of domain: ``name`` asks for ``text`` of the file --transfer
    sec          processor seconds of the training

``start`` takes no step, ``free`` is CL+KD with no FLOPS loss; ``bm25`` and ``teacher`` frame the
scale. With ``--mntp`` the models are adapted to the passages first, and ``mntp`` says so.
``--data`` is laid out as examples/data: docs and queries as .jsonl and .npy, and relevant.npy.

Token embeddings are drawn ``--embedding`` wide, not 0.02 as Llamas are: of that size they drown in
what the random layers add to them, and a step of AdamW moves them by a tenth.
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
from _texts import Data, Domain, bm25, load_data, load_transfer, relevance, triples_of

from csrkit.llm import Backbone, LLMConfig, LLMRetriever, adapt, fit, load_backbone
from csrkit.metrics import posting_cost

LOSSES = ("cl", "kd", "cl_kd")


class Row(NamedTuple):
    """One retriever, measured."""

    width: int
    head: str
    loss: str
    seed: int
    values: dict[str, float]


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


def llama(width: int, tokenizer: Any, seed: int, options: argparse.Namespace) -> Backbone:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=options.layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=options.embedding)
    return load_backbone(model, tokenizer)


def measure(model: LLMRetriever, test: Domain) -> dict[str, float]:
    """Return the relevance over all pairs, and what the codes cost."""
    if model.config.head == "dense":
        asked = model.encode_dense(test.queries, side="query")
        return relevance(asked @ model.encode_dense(test.docs).T, test.relevant)
    q, d = model.encode(test.queries, side="query"), model.encode(test.docs)
    cost = {
        "active_q": float(q.counts.mean()),
        "active_d": float(d.counts.mean()),
        "cost": float(posting_cost(q, d).mean()),
    }
    return relevance(q.dot(d), test.relevant) | cost


def rate_of(width: int, options: argparse.Namespace) -> float:
    """Lower the rate as tiny models grow wider; a pretrained one takes it as it is."""
    return float(options.rate * (64 / width if options.model is None else 1))


def settings(width: int, head: str, loss: str, seed: int, options: argparse.Namespace) -> LLMConfig:
    return LLMConfig(
        head="dense" if head == "dense" else "sparse",
        loss="cl_kd" if loss in ("free", "start") else loss,
        steps=0 if loss == "start" else options.steps,
        batch_size=options.batch,
        negatives=options.negatives,
        learning_rate=rate_of(width, options),
        lora_rank=options.lora,
        dtype=options.dtype,
        # cosines of a dense student that are the teacher's leave nothing to learn then
        teacher_scale=options.dense_teacher_scale if head == "dense" else options.teacher_scale,
        sparse_temperature=options.sparse_temperature,
        dense_temperature=options.dense_temperature,
        renormalize=True,
        target_active=options.active,
        query_flops=0.0 if loss == "free" else options.query_flops,
        document_flops=0.0 if loss == "free" else options.document_flops,
        query_length=24,
        document_length=24,
        seed=seed,
    )


def frame(data: Data, test: Domain, transfer: Domain | None) -> Iterator[Row]:
    """Measure the teacher and BM25."""
    exact = data.query_vectors[: data.n_test] @ data.doc_vectors.T
    yield Row(0, "teacher", "", 0, relevance(exact, test.relevant))
    lexical = relevance(bm25(test.queries, test.docs), test.relevant)
    if transfer is not None:
        found = relevance(bm25(transfer.queries, transfer.docs), transfer.relevant)
        lexical["transfer"] = found["ndcg"]
    yield Row(0, "bm25", "", 0, lexical)


def rows_of(
    data: Data, transfer: Domain | None, tokenizer: Any, options: argparse.Namespace
) -> Iterator[Row]:
    """Train and measure the grid, one model at a time."""
    test = Domain(data.queries[: data.n_test], data.docs, data.relevant[: data.n_test])
    yield from frame(data, test, transfer)
    grid = [(head, loss) for head in options.heads for loss in options.losses]
    grid = [pair for pair in grid if pair != ("dense", "free")]  # no FLOPS loss to be free of
    for width in options.widths:
        for seed in options.seeds:
            triples = triples_of(data, seed)
            base, spent = start_of(width, tokenizer, seed, data, options)
            for head, loss in grid:
                started = time.process_time()
                model = fit(
                    base, triples, settings(width, head, loss, seed, options), progress=False
                )
                values = {"seconds": spent + time.process_time() - started}
                values |= measure(model, test)
                if transfer is not None:
                    values["transfer"] = measure(model, transfer)["ndcg"]
                yield Row(base.dim, f"mntp {head}" if options.mntp else head, loss, seed, values)


def start_of(
    width: int, tokenizer: Any, seed: int, data: Data, options: argparse.Namespace
) -> tuple[Backbone, float]:
    """Make the model that a seed starts from, and say what its adaptation took."""
    base = (
        llama(width, tokenizer, seed, options)
        if options.model is None
        else load_backbone(options.model)
    )
    if not options.mntp:
        return base, 0.0
    started = time.process_time()
    config = LLMConfig(
        mntp_steps=options.mntp,
        mntp_rate=rate_of(width, options),
        lora_rank=options.lora,
        dtype=options.dtype,
        batch_size=64,
        document_length=24,
        seed=seed,
    )
    base = adapt(base, data.passages, config, progress=False)
    return base, time.process_time() - started


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
        name = f"{key[0]} {key[1]} {key[2]}" if key[0] else key[1]
        cells = [name, str(len({row.seed for row in rows if row[:3] == key}))]
        for name, digits in COLUMNS.values():
            values = [one[name] for one in same if name in one]
            text = f"{np.mean(values):.{digits}f}" if values else "-"
            if len(values) > 1 and digits == 3:
                text += f" ± {np.std(values):.{digits}f}"
            cells.append(text)
        lines.append(cells)
    return table(["width, head, loss", "seeds", *COLUMNS], lines)


def gates(rows: Sequence[Row]) -> Iterator[str]:
    """Say whether the targets are met at the first width: by the mean, and by each seed."""
    first = min(row.width for row in rows if row.width)

    def of(head: str, loss: str, name: str = "ndcg") -> np.ndarray:
        found = {row.seed: row.values[name] for row in rows if row[:3] == (first, head, loss)}
        return np.array([found[seed] for seed in sorted(found)])

    for head in dict.fromkeys(row.head for row in rows if row.width):
        both, contrast, taught = (of(head, loss) for loss in ("cl_kd", "cl", "kd"))
        if len(both) == len(contrast) == len(taught) > 0:
            better = contrast if contrast.mean() >= taught.mean() else taught
            gains = points(both - better)
            yield f"{head}: CL+KD {gains} points to the better of CL and KD (-0.5 up)"
    kept, free = of("sparse", "cl_kd"), of("sparse", "free")
    if len(kept) == len(free) > 0:
        active = [of("sparse", "cl_kd", f"active_{side}").mean() for side in "dq"]
        yield (
            f"active latents {active[0]:.0f} per document (under 512), {active[1]:.0f} per query "
            f"(under 128), {points(kept - free)} points to the run without FLOPS loss (-1 up)"
        )


def points(gains: np.ndarray) -> str:
    """Format the mean gain of the seeds, and that of each, in hundredths."""
    each = ", ".join(f"{100 * gain:+.1f}" for gain in gains)
    return f"{100 * gains.mean():+.1f} ({each})"


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
    add("--docs", type=int, default=1500, help="only the first so many, and the relevant ones")
    add("--test", type=int, default=500, help="test queries: the first")
    add("--train", type=int, default=1000, help="real queries to train on: the last")
    add("--widths", nargs="+", type=int, default=[64])
    add("--layers", type=int, default=2)
    add("--embedding", type=float, default=0.1, help="standard deviation of token embeddings")
    add("--vocabulary", type=int, default=3000)
    add("--heads", nargs="+", default=["sparse", "dense"])
    add("--losses", nargs="+", default=["start", *LOSSES, "free"])
    add("--seeds", nargs="+", type=int, default=[0])
    add("--mntp", type=int, default=0, help="steps of the adaptation")
    add("--steps", type=int, default=250, help="steps of every training")
    add("--batch", type=int, default=24)
    add("--negatives", type=int, default=3)
    add("--sparse-temperature", type=float, default=0.3)
    add("--dense-temperature", type=float, default=0.1)
    add("--teacher-scale", type=float, default=20.0, help="of its cosines, for the sparse head")
    add("--dense-teacher-scale", type=float, help="by default one over --dense-temperature")
    add("--rate", type=float, default=2e-3, help="at width 64; it falls as the width grows")
    add("--active", type=int, default=256, help="active latents of a document at the start")
    add("--query-flops", type=float, default=0.3)
    add("--document-flops", type=float, default=0.1)
    add("--model", type=Path, help="folder or .gguf of a causal language model")
    add("--lora", type=int, help="rank of adapters; by default all weights are trained")
    add("--dtype", default="float32", help="of weights that adapters leave alone: bfloat16")
    add("--rows", nargs="+", type=Path, help="run nothing: report what earlier runs wrote as .json")
    add("--out", type=Path, help="write OUT.md and OUT.json")
    options = parser.parse_args()
    options.dense_teacher_scale = options.dense_teacher_scale or 1 / options.dense_temperature
    if options.toy:
        toy = {"docs": 200, "test": 50, "train": 100, "vocabulary": 400, "mntp": 2, "steps": 3}
        vars(options).update(toy, batch=8, widths=[32], layers=1)
    return options


def saved(paths: Sequence[Path]) -> list[Row]:
    """Read what earlier runs wrote; the last one wins where two have measured the same."""
    found = [Row(**one) for path in paths for one in json.loads(path.read_text())]
    kept = {row[:4]: row for row in found}.values()
    order = ("", "start", *LOSSES, "free")
    return sorted(kept, key=lambda row: (row.width, row.head, order.index(row.loss)))


def run(options: argparse.Namespace) -> None:
    hidden = ("rows", "data", "out", "transfer", "memory", "model")
    line = " ".join(f"{k}={value}" for k, value in vars(options).items() if k not in hidden)
    heading(f"Retrievers from tiny Llamas on {options.data.name}", line, toy=options.toy)
    wall, processor = time.perf_counter(), time.process_time()
    data = load_data(options.data, options.docs, options.test, options.train)
    transfer = options.transfer and load_transfer(options.transfer, 4000, 1000)
    print(f"{len(data.docs)} documents, {data.n_test} queries to test, {data.n_train} to train\n")
    tokenizer = tokenizer_of(data.passages, options.vocabulary)
    rows: list[Row] = []
    for row in rows_of(data, transfer, tokenizer, options):
        rows.append(row)
        shown = {name: round(value, 3) for name, value in row.values.items()}
        print(row.width, row.head, row.loss, f"seed {row.seed}", shown, flush=True)
        if options.out is not None:  # after each row, so that a run that is cut tells something
            options.out.with_suffix(".json").write_text(json.dumps([r._asdict() for r in rows]))
    ending = (
        f"{time.perf_counter() - wall:.0f} seconds, all of it; "
        f"{time.process_time() - processor:.0f} of the processor"
    )
    text = "\n".join(["", report(rows), "", *gates(rows), ending])
    print(text)
    if options.out is not None:
        options.out.with_suffix(".md").write_text(f"{line}\n{text}\n")


def main() -> None:
    options = parse()
    if options.memory:
        subprocess.run([sys.executable, "-c", PEAK], check=True)
    elif options.rows:
        rows = saved(options.rows)
        print("\n".join([report(rows), "", *gates(rows)]))
    else:
        run(options)


if __name__ == "__main__":
    main()
