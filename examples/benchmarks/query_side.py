"""What should a query's code be, once the documents' codes are fixed? Recall per posting visited.

    python examples/benchmarks/query_side.py --data FOLDER --seeds 0 1 2       (see _datasets.py)

Documents keep the codes of `CSRModel.encode` at ``--k-doc``. For each k of the query:

    topk           the same encoding as a document's
    power p        its values to the power p (`CSRModel.encode_query` takes 0.8)
    projection     TopK of the dictionary's products with the centred query, no latent bias
    learned        encoder weights of the query's own, started at the model's and trained by the
                   similarity distillation against the fixed codes, documents playing the queries

Columns: recall@10 and nDCG@10 by sparse score, the share of the true top 10 among the first 100
(what rescoring can reach), and the posting cost; mean over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _common import HERE, heading, table
from _datasets import Dataset, fit_or_load, load
from numpy.typing import NDArray
from torch.nn import functional

import csrkit
from csrkit.metrics import ndcg_at, posting_cost, recall_at
from csrkit.training import losses
from csrkit.training.sparse_ops import Selection, encode_top, gather_scores

Encode = Callable[[NDArray[np.float32], int], csrkit.SparseVectors]
POWERS = (0.6, 0.7, 0.8, 0.9)
DEPTH = 100  # candidates that rescoring would get
TEMPERATURE, QUERIES, DOCUMENTS = 0.05, 512, 2048  # of the distillation, per step


class Found(NamedTuple):
    """Means over the queries."""

    recall: float
    ndcg: float
    ceiling: float
    cost: float


def measure(codes: csrkit.SparseVectors, stored: csrkit.SparseVectors, data: Dataset) -> Found:
    scores = codes.dot(stored)
    near = np.argpartition(-scores, DEPTH, axis=1)[:, :DEPTH]
    order = np.argsort(-np.take_along_axis(scores, near, 1), axis=1)
    best = np.take_along_axis(near, order, 1)
    relevance = np.nan if data.relevant is None else ndcg_at(best, data.relevant, 10).mean()
    ceiling = [np.isin(truth, row).mean() for truth, row in zip(data.truth, best, strict=True)]
    recall, cost = recall_at(best, data.truth, 10).mean(), posting_cost(codes, stored).mean()
    return Found(float(recall), float(relevance), float(np.mean(ceiling)), float(cost))


def of_products(products: NDArray[np.float32], k: int) -> csrkit.SparseVectors:
    """Keep the k largest positive entries of each row."""
    dense = np.zeros_like(products)
    top = np.argpartition(-products, k - 1, axis=1)[:, :k]
    np.put_along_axis(dense, top, np.take_along_axis(products, top, 1).clip(0), axis=1)
    return csrkit.SparseVectors.from_dense(dense).normalized()


def powered(model: csrkit.CSRModel, power: float) -> Encode:
    def encode(queries: NDArray[np.float32], k: int) -> csrkit.SparseVectors:
        dense = model.encode(queries, k=k).to_dense() ** power
        return csrkit.SparseVectors.from_dense(dense).normalized()

    return encode


def learned(model: csrkit.CSRModel, data: Dataset, options: argparse.Namespace) -> Encode:
    """Train query weights against the codes of the documents, which stay as they are."""
    docs = torch.from_numpy(data.docs / np.linalg.norm(data.docs, axis=1, keepdims=True))
    values, indices = torch.from_numpy(model.encode(data.docs, k=options.k_doc).to_dense()).topk(
        options.k_doc
    )
    weight = torch.tensor(model.encoder, requires_grad=True)
    bias = torch.tensor(model.latent_bias - model.encoder @ model.pre_bias, requires_grad=True)
    adam = torch.optim.Adam([weight, bias], lr=options.rate)
    generator = torch.Generator().manual_seed(0)
    for step in range(options.head_steps):
        adam.param_groups[0]["lr"] = options.rate * (1 - step / options.head_steps)
        q = torch.randint(len(docs), (QUERIES,), generator=generator)
        d = torch.randint(len(docs), (DOCUMENTS,), generator=generator)
        k = options.k[int(torch.randint(len(options.k), (1,), generator=generator))]
        chosen, _ = encode_top(docs[q], weight, bias, k)
        code = functional.normalize(functional.relu(chosen.values), dim=1)
        loss = losses.similarity_distillation(
            gather_scores(
                Selection(code, chosen.indices), Selection(values[d], indices[d]), model.n_latents
            ),
            docs[q] @ docs[d].T,
            TEMPERATURE,
            q[:, None] == d,
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
    head = weight.detach().numpy(), bias.detach().numpy()
    return lambda queries, k: of_products(queries @ head[0].T + head[1], k)


def contestants(
    model: csrkit.CSRModel, data: Dataset, options: argparse.Namespace
) -> Iterator[tuple[str, Encode]]:
    yield "topk", lambda queries, k: model.encode(queries, k=k)
    for power in POWERS:
        yield f"power {power}", powered(model, power)
    yield (
        "projection",
        lambda queries, k: of_products((queries - model.pre_bias) @ model.decoder.T, k),
    )
    yield "learned", learned(model, data, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--data", action="append", type=Path, help="folder or array; examples/data if not given")
    add("--queries", type=int, default=1000, help="test queries")
    add("--steps", type=int, default=600, help="training steps of the model")
    add("--models", type=Path, help="keep the models here, and take those that are")
    add("--head-steps", type=int, default=200, help="training steps of the learned head")
    add("--rate", type=float, default=5e-5, help="learning rate of the learned head")
    add("--k-doc", type=int, default=32)
    add("--k", nargs="+", type=int, default=[8, 16, 32], help="of the query")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    if options.toy:
        vars(options).update(queries=20, steps=2, head_steps=2, seeds=[0], k=[4, 8], k_doc=8)
    return options


def main() -> None:
    options = parse()
    heading("The query side", vars(options) | {"data": None}, toy=options.toy)
    for path in options.data or [HERE.parent / "data"]:
        data = load(path, options.queries, 1000 if options.toy else None)
        found: dict[tuple[int, str], list[Found]] = {}
        for seed in options.seeds:
            config = csrkit.FitConfig(steps=options.steps, seed=seed)
            if options.toy:
                config = config.model_copy(update={"n_latents": 128, "ladder": (4, 8)})
            model = fit_or_load(data, config, options.models)
            stored = model.encode(data.docs, k=options.k_doc)
            for name, encode in contestants(model, data, options):
                for k in options.k:
                    codes = encode(data.queries, k)
                    found.setdefault((k, name), []).append(measure(codes, stored, data))
        rows = [
            [f"{k} {name}", *(f"{value:.3f}" for value in np.mean(seeds, axis=0))]
            for (k, name), seeds in sorted(found.items(), key=lambda item: item[0][0])
        ]
        print(f"{data.name}, documents at k={options.k_doc}")
        print(table(["k, query", "recall@10", "nDCG@10", "in 100", "cost"], rows), flush=True)


if __name__ == "__main__":
    main()
