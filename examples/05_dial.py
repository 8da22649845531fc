"""The dial: how much work a query does, what it gives, and what can be promised.

    python examples/05_dial.py

A few minutes on two cores. The embeddings are WordNet's definitions, see data/README.md.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import csrkit
from csrkit.metrics import exact_top, recall_at
from csrkit.stores import EdgeStore

DATA = Path(__file__).parent / "data"
TOY = os.environ.get("CSRKIT_TOY") == "1"  # little data, few steps: only shows that it runs
EVERY, STEPS, LATENTS = (25, 5, 256) if TOY else (1, 500, None)


def vectors(name: str) -> np.ndarray:
    """Load embeddings that are kept as int8 with one scale per row."""
    return np.load(DATA / f"{name}.npy") * np.load(DATA / f"{name}.scale.npy")[:, None]


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


docs, payloads, queries = vectors("docs")[::EVERY], lines("docs")[::EVERY], vectors("queries")
queries, held_out = queries[:600:EVERY], queries[600:1000]
config = csrkit.FitConfig(steps=STEPS, n_latents=LATENTS)
model = csrkit.fit(docs, config=config, progress=not TOY)

# Measure what each setting gives on these documents; the card is saved with the model.
model = csrkit.tune(model, docs, queries, dense=False, progress=not TOY)
print(model.card.summary())

with tempfile.TemporaryDirectory() as folder, EdgeStore(folder) as store:
    searcher = csrkit.Searcher(model, store)  # candidates are rescored from their codes
    searcher.upsert(range(len(docs)), docs, payloads)

    exact = exact_top(held_out, docs / np.linalg.norm(docs, axis=1, keepdims=True), 10)
    reached = max(row.recall.low for row in model.card.measured)
    wishes = [{"effort": "fast"}, {"effort": "accurate"}, {"recall": 0.7}, {"recall": 0.85}]
    for wish in wishes:
        if wish.get("recall", 0) > reached:
            print(f"\n{wish}: no setting promises it")
            continue
        started = time.perf_counter()
        results = searcher.search(held_out, limit=10, **wish)
        ms = 1000 * (time.perf_counter() - started) / len(held_out)
        found = recall_at([[hit.id for hit in hits] for hits in results], exact, 10).mean()
        low, _, high = results.promised
        print(f"\n{wish}: {results.setting}")
        print(f"  promised {low:.3f} to {high:.3f}, held-out queries {found:.3f}, {ms:.2f} ms each")

    question, vector = lines("questions")[1], vectors("questions")[1]
    results = searcher.search(vector, limit=2, effort="fast", score_threshold=0.3, explain=True)
    print(f"\n{question['text']}")
    for hit, why in zip(results[0], results.explanations[0], strict=True):
        latents = ", ".join(f"{one.latent} ({one.contribution:.2f})" for one in why.shared[:3])
        print(f"  {hit.score:.2f}  {hit.payload['words'][0]}, by the latents {latents}")
