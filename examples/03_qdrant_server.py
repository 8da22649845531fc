"""Codes in a Qdrant server: the vendor's own client, payloads and filters.

    QDRANT_URL=http://localhost:6333 python examples/03_qdrant_server.py

Without QDRANT_URL it runs on the client's local mode, which is for trying the API: it scans
every code, so there it takes few documents.
"""

import json
import os
import uuid
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models

import csrkit
from csrkit.stores import QdrantStore

DATA = Path(__file__).parent / "data"
TOY = os.environ.get("CSRKIT_TOY") == "1"
URL = os.environ.get("QDRANT_URL")
ROWS = 500 if TOY else (None if URL else 2_000)
STEPS = 5 if TOY else 300


def vectors(name: str) -> np.ndarray:
    """Load embeddings that are kept as int8 with one scale per row."""
    return np.load(DATA / f"{name}.npy") * np.load(DATA / f"{name}.scale.npy")[:, None]


# Rows are by part of speech, so a random sample of them has nouns and verbs.
every = [json.loads(line) for line in (DATA / "docs.jsonl").read_text().splitlines()]
chosen = np.random.default_rng(0).permutation(len(every))[:ROWS]
docs, payloads = vectors("docs")[chosen], [every[row] for row in chosen]

config = csrkit.FitConfig(n_latents=384, steps=STEPS)
model = csrkit.fit(docs, config=config, progress=not TOY)

client = QdrantClient(URL, api_key=os.environ.get("QDRANT_API_KEY")) if URL else None
client = client or QdrantClient(":memory:")
collection = f"csrkit-example-{uuid.uuid4().hex[:8]}"
store = QdrantStore(client, collection)  # makes the collection, or adds its vector to yours
try:
    store.upsert([payload["id"] for payload in payloads], model.encode(docs), payloads)
    print(f"{store.count()} codes in {collection}")

    # `filter` is Qdrant's own object and goes to the engine as it is.
    is_feeling = models.FieldCondition(key="lex", match=models.MatchValue(value="noun.feeling"))
    only_feelings = models.Filter(must=[is_feeling])
    question = vectors("questions")[1]  # longing for how things were in the past
    for k, chosen_filter in ((16, None), (16, only_feelings), (64, only_feelings)):
        (hits,) = store.search(model.encode(question[None], k=k), limit=3, filter=chosen_filter)
        print(f"k={k}, {'all words' if chosen_filter is None else 'feelings only'}:")
        for hit in hits:
            print(f"  {hit.score:.2f}  {hit.payload['words'][0]}: {hit.payload['text']}")
finally:
    client.delete_collection(collection)  # an example leaves nothing behind
