"""Codes for a collection that somebody already runs, in place, and all the way back.

    python examples/06_compress_collection.py

Here the collection is a shard of Qdrant's embedded engine; with a server it is
`csrkit.compress(client, "docs")`, and the rest is the same. A few minutes on two cores.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import qdrant_edge as qe

import csrkit
from csrkit.collection import DualWriter, MonitorConfig, VerifyConfig, monitor
from csrkit.collection.homes.edge import EdgeHome

DATA = Path(__file__).parent / "data"
TOY = os.environ.get("CSRKIT_TOY") == "1"  # little data, few steps: only shows that it runs
EVERY, STEPS, LATENTS, BATCH = (30, 15, 256, 256) if TOY else (3, 300, 1536, 1024)


def vectors(name: str) -> np.ndarray:
    """Load embeddings that are kept as int8 with one scale per row."""
    return np.load(DATA / f"{name}.npy") * np.load(DATA / f"{name}.scale.npy")[:, None]


rows = vectors("docs")[::EVERY]
texts = [json.loads(line) for line in (DATA / "docs.jsonl").read_text().splitlines()][::EVERY]
points = [
    qe.Point(i, {"dense": row.tolist()}, text)
    for i, (row, text) in enumerate(zip(rows, texts, strict=True))
]
late = points[-20:]

with tempfile.TemporaryDirectory() as place:
    folder = Path(place, "shard")
    folder.mkdir()
    # Somebody's collection, as it is before csrkit comes.
    dense = qe.EdgeVectorParams(size=rows.shape[1], distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": dense}))
    shard.update(qe.UpdateOperation.upsert_points(points[:-20]))

    # Fit a model to a sample of it, add a sparse vector, and fill it in. Call it again after
    # whatever ended it, and it goes on; the job folder says how far it is.
    config = csrkit.FitConfig(steps=STEPS, n_latents=LATENTS, batch_size=BATCH)
    home = EdgeHome(folder, shard=shard)
    job = csrkit.compress(home, config=config, job=Path(place, "job"), progress=not TOY)
    print(f"{job.status().written} of {home.describe().count} points have a code")

    # Recompute codes, compare with what was there before, and search: is it good enough?
    gates = VerifyConfig(min_recall=0.5 if TOY else 0.8, n_queries=50)
    print(f"verified: {job.verify(gates).passed}")
    done = job.cutover(verify=gates)

    # New points get their code with the upsert that writes them.
    DualWriter.of(job).upsert(late)

    # One call of the engine: candidates by their code, ranked by the dense vector.
    question = vectors("questions")[2]  # a tall tower whose light warns ships
    code = job.model.encode_query(question[None], k=16)
    sparse = qe.SparseVector(code.indices.tolist(), code.values.tolist())
    prefetch = qe.Prefetch(limit=50, query=qe.Query.Nearest(sparse, done.using))
    nearest = qe.Query.Nearest(question.tolist(), "dense")
    request = qe.QueryRequest(limit=2, query=nearest, prefetches=[prefetch], with_payload=True)
    for hit in shard.query(request):
        print(f"  {hit.score:.2f}  {hit.payload['text']}")

    # For a clock to run: does everything have a code, and do codes still fit what is written?
    health = monitor(job, MonitorConfig(sample=200, queries=20))
    print(f"{health.missing} points without a code, {health.stale} stale; ok: {health.ok}")

    # Back to where it began: what was added is dropped, and nothing else.
    job.rollback()
    print(f"vectors left: {[one.name for one in home.describe().dense]}")
    shard.close()
