"""Compress 15,000 embeddings, store the codes, and choose k anew for every search.

    python examples/01_fit_encode_search.py

Two minutes on two cores. The embeddings are WordNet's definitions, see data/README.md.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

import csrkit
from csrkit.stores import EdgeStore

DATA = Path(__file__).parent / "data"
TOY = os.environ.get("CSRKIT_TOY") == "1"  # little data, few steps: only shows that it runs
EVERY, STEPS = (25, 5) if TOY else (1, 500)


def vectors(name: str) -> np.ndarray:
    """Load embeddings that are kept as int8 with one scale per row."""
    return np.load(DATA / f"{name}.npy") * np.load(DATA / f"{name}.scale.npy")[:, None]


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


docs, payloads = vectors("docs")[::EVERY], lines("docs")[::EVERY]
config = csrkit.FitConfig(steps=STEPS, n_latents=256 if TOY else None)
model = csrkit.fit(docs, config=config, progress=not TOY)
print(model)

codes = model.encode(docs)  # at the longest k of the ladder: a query may use any shorter one
with tempfile.TemporaryDirectory() as folder, EdgeStore(folder) as store:
    store.upsert([payload["id"] for payload in payloads], codes, payloads)
    print(f"{store.count()} codes of {codes.nnz / len(codes):.0f} latents in {model.n_latents}")

    for question, vector in zip(lines("questions"), vectors("questions"), strict=True):
        print(f"\n{question['text']}")
        for k in (4, 16, 64):
            (hits,) = store.search(model.encode(vector[None], k=k), limit=2)
            for hit in hits:
                print(f"  k={k:<3} {hit.score:.2f}  {hit.payload['words'][0]}")
