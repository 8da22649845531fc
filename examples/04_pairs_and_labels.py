"""Tell the codec what belongs together: pairs of query and document, or labels.

    python examples/04_pairs_and_labels.py

With pairs or labels the training contrasts them instead of distilling similarities. Each
codec is judged by what it was told about, on rows that it has not seen. In our runs the labels
helped; the 750 pairs did not: they are few.
"""

import json
import os
from pathlib import Path

import numpy as np

import csrkit
from csrkit.metrics import exact_top, hit_rate_at, neighbour_accuracy

DATA = Path(__file__).parent / "data"
TOY = os.environ.get("CSRKIT_TOY") == "1"
STEPS = 5 if TOY else 300
K = 16


def vectors(name: str) -> np.ndarray:
    """Load embeddings that are kept as int8 with one scale per row."""
    return np.load(DATA / f"{name}.npy") * np.load(DATA / f"{name}.scale.npy")[:, None]


def fit(rows: np.ndarray, **told: np.ndarray) -> csrkit.CSRModel:
    config = csrkit.FitConfig(n_latents=256 if TOY else 512, steps=STEPS)
    return csrkit.fit(rows, config=config, progress=not TOY, **told)


def ranked(model: csrkit.CSRModel, queries: np.ndarray, docs: np.ndarray) -> np.ndarray:
    """Rank by codes of k latents on both sides; dense arrays are fine at this size."""
    return exact_top(model.encode(queries, k=K).to_dense(), model.encode(docs, k=K).to_dense(), 10)


docs, queries, relevant = vectors("docs"), vectors("queries"), np.load(DATA / "relevant.npy")
words = [json.loads(line)["lex"] for line in (DATA / "docs.jsonl").read_text().splitlines()]
_, labels = np.unique(words, return_inverse=True)
order = np.random.default_rng(0).permutation(len(docs))
seen, unseen = order[: 600 if TOY else 12_000], order[-300 if TOY else -2_000 :]

print("pairs: a query and the definition it asks for; hit rate@10 of unseen queries")
half = len(queries) // 2
wanted, others = relevant[half:], np.setdiff1d(order, relevant)[: 300 if TOY else 5_000]
pool = np.concatenate([docs[wanted], docs[others]])  # row i is the answer to unseen query i
plain = fit(queries[:half])
paired = fit(queries[:half], positives=docs[relevant[:half]])
for name, model in (("without", plain), ("with", paired)):
    rate = hit_rate_at(ranked(model, queries[half:], pool), np.arange(len(wanted)), 10).mean()
    print(f"  {name:8} positives  {rate:.3f}")

print("labels: the class of the defined word; class of the nearest neighbour is right")
plain, labelled = fit(docs[seen]), fit(docs[seen], labels=labels[seen])
for name, model in (("without", plain), ("with", labelled)):
    found = ranked(model, docs[unseen], docs[seen])
    accuracy = neighbour_accuracy(found, labels[unseen], labels[seen]).mean()
    print(f"  {name:8} labels     {accuracy:.3f}")
