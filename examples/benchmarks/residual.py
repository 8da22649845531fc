"""What residual bits buy: rescoring of 100 candidates, dense vectors thrown away.

    python examples/benchmarks/residual.py --data FOLDER --data FOLDER         (see _datasets.py)

Per data set, recall@10 against the exact dense search and nDCG@10 where judgements exist:

- ``Rescoring``: what the candidates of the first stage hold at best (dense), and how much of it
  is left with codes alone, refitted codes, and codes with residual bits;
- ``Rivals``: PQ, OPQ and RaBitQ of faiss, every document scanned;
- ``Bits``: k fixed, more or fewer bits; RaBitQ's way (random rotation, one bit) beside them;
- ``Split``: the bytes of a vector fixed, shared out between code and residual bits.

A code entry has 3 bytes, a latent of 2 and a value of 1, and values are rounded to that. All of
it is measured with the same stored codes: candidates, decoding, residuals.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from _common import HERE, heading, table
from _datasets import Dataset, fit_or_load, load
from numpy.typing import NDArray

import csrkit
from csrkit import CSRModel, SparseVectors
from csrkit.errors import MissingExtra
from csrkit.metrics import exact_top, ndcg_at, posting_cost, recall_at
from csrkit.model.residual import find_directions
from csrkit.stores import EdgeStore

Floats = NDArray[np.float32]
CANDIDATES = 100
ENTRY_BYTES = 3
SAMPLE_ROWS = 4096  # whose residuals are looked at to share out bits, as in fit


class Sizes(NamedTuple):
    """What is measured, at full size or as a toy."""

    rescoring: tuple[tuple[int, int], ...]  # k of documents, k of queries
    bits: tuple[float, ...]  # per dimension
    split: dict[int, tuple[int, ...]]  # bytes of code and bits; k of documents and queries
    products: tuple[int, ...]  # bytes of PQ and OPQ
    rabitq: tuple[int, ...]  # bits per dimension


FULL = Sizes(
    ((16, 16), (20, 20), (21, 21), (28, 28), (32, 32)),
    (0.25, 0.5, 0.75, 1, 1.5, 2, 4),
    {64: (8, 12, 16), 160: (8, 12, 16, 20, 24, 32)},
    (64, 160),
    (1, 2),
)
TOY = Sizes(((4, 4),), (0.5, 1), {60: (4,)}, (8,), (1,))


def rounded(codes: SparseVectors) -> SparseVectors:
    """Keep values as whole 255ths, one byte each."""
    values = np.maximum(np.round(codes.values * 255), 1) / np.float32(255)
    return SparseVectors(codes.indptr, codes.indices, values, codes.dim)


def quality(found: NDArray[np.int64], data: Dataset) -> list[float]:
    """Return recall@10, and nDCG@10 or NaN."""
    relevance = np.nan if data.relevant is None else ndcg_at(found, data.relevant, 10).mean()
    return [float(recall_at(found, data.truth, 10).mean()), float(relevance)]


@dataclass(frozen=True)
class Stage:
    """Documents stored at one k, queries asked at another, and the candidates."""

    model: CSRModel
    data: Dataset
    stored: SparseVectors
    asked: SparseVectors

    @cached_property
    def scores(self) -> Floats:
        """Return the sparse scores, float32 (q, n)."""
        return self.asked.dot(self.stored)

    @cached_property
    def near(self) -> NDArray[np.int64]:
        """Return the candidates of each query, int64 (q, 100)."""
        best = np.argpartition(-self.scores, CANDIDATES, axis=1)
        return best[:, :CANDIDATES]

    def ranked(self, scores: Floats) -> list[float]:
        """Rank the candidates by scores (q, n) and measure."""
        own = np.take_along_axis(scores, self.near, 1)
        order = np.argsort(-own, axis=1, kind="stable")[:, :10]
        return quality(np.take_along_axis(self.near, order, 1), self.data)

    def by_codes(self, residuals: NDArray[np.uint8] | None = None) -> list[float]:
        """Rank by estimated cosines."""
        estimated = self.model.estimate_cosines(self.data.queries, self.stored, residuals)
        return self.ranked(estimated)

    def with_bits(self) -> list[float]:
        """Rank by cosines estimated with residual bits."""
        return self.by_codes(self.model.encode_residuals(self.data.docs, self.stored))

    def dense(self) -> list[float]:
        """Rank by exact cosines: the most that the candidates hold."""
        return self.ranked(self.data.queries @ self.data.docs.T)


def stage(model: CSRModel, data: Dataset, k_doc: int, k_query: int, *, refit: bool) -> Stage:
    codes = model.encode(data.docs, k=k_doc)
    stored = rounded(model.refit(data.docs, codes) if refit else codes)
    return Stage(model, data, stored, model.encode_query(data.queries, k=k_query))


def with_bits(model: CSRModel, docs: Floats, bits: int) -> CSRModel:
    """Share out another number of bits, as `csrkit.fit` does with its own."""
    rows = docs[np.random.default_rng(0).permutation(len(docs))]
    basis, counts = find_directions(model, rows, model.encode(rows[:SAMPLE_ROWS]), bits)
    config = model.config.model_copy(update={"residual_bits": counts})
    return replace(model, config=config, residual_basis=basis)


def rabitq_of_residuals(at: Stage) -> list[float]:
    """Rank by RaBitQ of the residuals: random rotation, a sign per dimension, unbiased scale.

    arXiv 2405.12497, section 3.2: <q, r> is estimated as <q, signs> |r|^2 / |r|_1, all rotated.
    """
    dim = at.model.dim
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
    decoded = at.model.decode(at.stored)
    left = (at.data.docs - decoded) @ rotation.astype(np.float32)
    scale = np.square(left).sum(axis=1) / np.abs(left).sum(axis=1)
    signs = np.where(left >= 0, scale[:, None], -scale[:, None])
    explained = at.data.queries @ decoded.T
    return at.ranked(explained + (at.data.queries @ rotation.astype(np.float32)) @ signs.T)


# -- tables -----------------------------------------------------------------------------

Rows = dict[tuple[object, ...], list[list[float]]]  # first columns: numbers, once per seed


def cell(values: Sequence[float]) -> str:
    """Format mean ± standard deviation over the seeds."""
    if np.isnan(values).any():
        return ""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def show(title: str, header: Sequence[str], rows: Rows) -> None:
    body = [
        [*first, *(cell(column) for column in zip(*numbers, strict=True))]
        for first, numbers in rows.items()
    ]
    filled = [i for i in range(len(header)) if any(str(row[i]) for row in body)]
    print(title, end="\n\n")
    print(table([header[i] for i in filled], [[row[i] for i in filled] for row in body]))
    print(flush=True)


def rescoring(models: Sequence[CSRModel], data: Dataset, sizes: Sizes) -> None:
    rows: Rows = {}
    for k_doc, k_query in sizes.rescoring:
        for model in models:
            plain = stage(model, data, k_doc, k_query, refit=False)
            refitted = stage(model, data, k_doc, k_query, refit=True)
            cost = float(posting_cost(plain.asked, plain.stored).mean())
            code = ENTRY_BYTES * k_doc
            ways = {
                ("sparse", code): plain.ranked(plain.scores),
                ("codes", code): plain.by_codes(),
                ("refitted codes", code): refitted.by_codes(),
                ("codes + bits", code + model.residual_bytes): plain.with_bits(),
                ("dense", ""): plain.dense(),
            }
            for way, numbers in ways.items():
                rows.setdefault((k_doc, k_query, *way), []).append([cost, *numbers])
    header = ["k stored", "k asked", "rescored by", "bytes", "cost", "recall@10", "nDCG@10"]
    show(f"Rescoring of {CANDIDATES} candidates", header, rows)


def rivals(data: Dataset, sizes: Sizes) -> None:
    from csrkit.baselines.quantized import Product, RaBitQ

    rows: Rows = {("float32", 4 * data.docs.shape[1]): [quality(data.truth, data)]}
    products = [(n, rotated) for n in sizes.products for rotated in (False, True)]
    methods = [Product(n, rotated) for n, rotated in products] + [RaBitQ(b) for b in sizes.rabitq]
    try:
        for method in methods:
            (way,) = method.build(data.docs, seed=0)
            code = f"{way.index.footprint.code:.0f}"
            found = way.index.search(data.queries, 10)
            rows[f"{way.name}, {way.setting}", code] = [quality(found, data)]
    except MissingExtra as error:
        print(f"skipped: {error}\n")
    show("Rivals, every document scanned", ["", "bytes", "recall@10", "nDCG@10"], rows)


def bits(models: Sequence[CSRModel], data: Dataset, sizes: Sizes) -> None:
    k = sizes.rescoring[len(sizes.rescoring) // 3][0]
    rows: Rows = {}
    for model in models:
        for per_dim in sizes.bits:
            other = with_bits(model, data.docs, max(1, round(per_dim * model.dim)))
            at = stage(other, data, k, k, refit=False)
            name = f"{per_dim} per dimension"
            rows.setdefault((name, other.residual_bytes), []).append(at.with_bits())
        at = stage(model, data, k, k, refit=False)
        axes = replace(model, config=without_bits(model), residual_basis=None)
        plain = replace(at, model=axes)
        rows.setdefault(("1, along the axes", axes.residual_bytes), []).append(plain.with_bits())
        size = -(-model.dim // 8) + 2
        rows.setdefault(("1, RaBitQ", size), []).append(rabitq_of_residuals(at))
    header = ["residual bits", "bytes of them", "recall@10", "nDCG@10"]
    show(f"Bits, at k={k}", header, rows)


def without_bits(model: CSRModel) -> csrkit.model.ModelConfig:
    return model.config.model_copy(update={"residual_bits": ()})


def split(models: Sequence[CSRModel], data: Dataset, total: int, lengths: Sequence[int]) -> None:
    rows: Rows = {}
    for k in lengths:
        for model in models:
            left = total - ENTRY_BYTES * k
            other = with_bits(model, data.docs, 8 * (left - 4))
            at = stage(other, data, k, k, refit=False)
            sparse, best = at.ranked(at.scores), at.dense()
            cost = float(posting_cost(at.asked, at.stored).mean())
            numbers = [cost, *sparse[:1], *at.with_bits(), *best[:1]]
            rows.setdefault((k, ENTRY_BYTES * k, left), []).append(numbers)
    header = ["k", "code", "bits", "cost", "sparse recall@10", "recall@10", "nDCG@10", "dense"]
    show(f"Split of {total} bytes", header, rows)


def costs(model: CSRModel, data: Dataset, k: int) -> Iterator[str]:
    """Time what writing costs, and tell how near the estimates are."""
    codes = model.encode(data.docs, k=k)
    residuals = model.encode_residuals(data.docs, codes)
    n, exact = len(data.docs), data.queries @ data.docs.T
    runs = {
        "encode": lambda: model.encode(data.docs, k=k),
        "encode_residuals": lambda: model.encode_residuals(data.docs, codes),
        "refit": lambda: model.refit(data.docs, codes),
    }
    for name, run in runs.items():
        start = time.perf_counter()
        run()
        yield f"{name}: {1e6 * (time.perf_counter() - start) / n:.0f} us per row"
    best = exact_top(data.queries, data.docs, min(CANDIDATES, n))
    for name, kept in (("codes", None), ("codes + bits", residuals)):
        error = model.estimate_cosines(data.queries, codes, kept) - exact
        near = np.take_along_axis(error, best, 1)
        yield f"error of the cosine, {name}: mean {near.mean():+.4f}, deviation {near.std():.4f}"
    yield f"on EdgeStore's disk: {on_disk(codes, residuals):.0f} bytes per vector at k={k}"
    directions = 0 if model.residual_basis is None else model.residual_basis.nbytes
    yield f"directions: {directions / model.encoder.nbytes:.0%} of the encoder's bytes"


def on_disk(codes: SparseVectors, residuals: NDArray[np.uint8]) -> float:
    """Return the bytes per vector that the engine's segments take, codes and residuals."""
    with TemporaryDirectory() as folder:
        with EdgeStore(folder) as store:
            store.upsert(range(len(codes)), codes, residuals=residuals)
            store.optimize()
        files = [path for path in Path(folder).rglob("*") if "segments" in path.parts]
        blocks = [path.stat().st_blocks for path in files if path.is_file()]
    return 512 * sum(blocks) / len(codes)  # files are longer than what is in them


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--data", action="append", type=Path, help="folder or array; examples/data if not given")
    add("--queries", type=int, default=1000, help="test queries")
    add("--steps", type=int, default=600, help="training steps")
    add("--models", type=Path, help="keep the models here, and take those that are")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    return parser.parse_args()


def main() -> None:
    options = parse()
    toy = options.toy
    sizes = TOY if toy else FULL
    for path in options.data or [HERE.parent / "data"]:
        data = load(path, 50 if toy else options.queries, 500 if toy else None)
        seeds = [0] if toy else options.seeds
        settings = f"{data.name}, {options.steps} steps, seeds {seeds}"
        heading("Residual bits", settings, toy=toy)
        small = {"n_latents": 256, "steps": 5, "ladder": (4, 8)}
        configs = [
            csrkit.FitConfig(seed=seed, **(small if toy else {"steps": options.steps}))
            for seed in seeds
        ]
        models = [fit_or_load(data, config, options.models) for config in configs]
        rescoring(models, data, sizes)
        rivals(data, sizes)
        bits(models, data, sizes)
        for total, lengths in sizes.split.items():
            split(models, data, total, lengths)
        print("\n".join(costs(models[0], data, sizes.rescoring[-1][0])), end="\n\n")


if __name__ == "__main__":
    main()
