"""What each part of joint sparse-dense training gives, and at what cost.

    python examples/benchmarks/joint.py                              (synthetic captions)
    python examples/benchmarks/joint.py --studies frontier expansion --images 2000
    python examples/benchmarks/joint.py --data FOLDER --encoder BERT   (real pairs, see _pairs.py)
    python examples/benchmarks/joint.py --head random                  (as published)

Every row is the mean over the seeds; each seed of the synthetic set is another world. Hit rates are
in percent. Cost is the posting cost of texts that ask for images, ``sum_j p_text(j) p_image(j)``.
A difference has a 95% interval of a paired bootstrap over the queries of all seeds.

    arms        the four methods, and the dense start that none of them has changed
    frontier    hit rate at equal posting cost, over the weight of the regulariser
    expansion   expansion control: never, per batch, per sample; what codes of k words keep
    weights     w1 and w2 of the integrated score
    start       of E and of the head, and whether codes can be read
    losses      options of the losses: detached or untransposed teacher, several positives, FLOPS
    compress    csrkit.fit on the dense side, before and after
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _captions
import _pairs
import numpy as np
from _common import heading, table
from _joint import HEADER, Run, Task, dense_start, difference, forget, hits, row, run

import csrkit
from csrkit.metrics import bootstrap_interval, exact_top, hit_rate_at, posting_cost

ARMS = ("dense_to_sparse", "frozen", "no_distillation", "full")
STUDIES = ("arms", "frontier", "expansion", "weights", "start", "losses", "compress")


def arms(tasks: dict[int, Task]) -> None:
    """Compare the four methods, and test the gates."""
    found = {
        method: [run(task, method=method, seed=s) for s, task in tasks.items()] for method in ARMS
    }
    start = [dense_start(task, s) for s, task in tasks.items()]
    dense = np.concatenate([one.quality.dense.text_to_image.hit_1 for one in start])
    print(f"dense start, frozen: text to image hit rate@1 {100 * dense.mean():.1f}")
    print(table(HEADER, [row(method, runs) for method, runs in found.items()]), "\n")
    full = found["full"]
    over = 100 * (hits(full) - dense)
    low, mean, high = bootstrap_interval(over)
    rows = [
        difference("full - no_distillation", full, found["no_distillation"], 1.0),
        difference("full - frozen", full, found["frozen"], 3.0),
        difference("no_distillation - frozen", found["no_distillation"], found["frozen"], None),
        difference("full - dense_to_sparse", full, found["dense_to_sparse"], 4.0),
        ["full - its frozen dense start", f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}", "", "+0.0"],
    ]
    print(table(["sparse t2i @1, points", "mean", "95%", "each seed", "at least"], rows), "\n")


def frontier(tasks: dict[int, Task]) -> None:
    """Sweep the regulariser of both arms and compare them at equal posting cost."""
    penalties = {"full": FULL_PENALTIES, "no_distillation": PLAIN_PENALTIES}
    rows, curves = [], {}
    for method, etas in penalties.items():
        runs = {
            eta: [
                run(task, method=method, seed=seed, text_penalty=eta, image_penalty=eta)
                for seed, task in tasks.items()
            ]
            for eta in etas
        }
        rows += [row(f"{method}, eta={eta:g}", found) for eta, found in runs.items()]
        curves[method] = [list(of_seed) for of_seed in zip(*runs.values(), strict=True)]
    print(table(HEADER, rows), "\n")
    lines = []
    for share in (0.25, 0.5, 0.75):
        gaps, costs = [], []
        for full, plain in zip(curves["full"], curves["no_distillation"], strict=True):
            spans = [np.log([one.quality.text_cost for one in curve]) for curve in (full, plain)]
            low, high = max(map(np.min, spans)), min(map(np.max, spans))
            at = low + share * (high - low)
            if low < high:
                gaps.append(_at(full, at) - _at(plain, at))
                costs.append(np.exp(at))
        if not gaps:
            print("the costs of the two arms do not overlap\n")
            return
        seeds = ", ".join(f"{gap:+.1f}" for gap in gaps)
        lines.append([f"{np.mean(costs):.0f}", f"{np.mean(gaps):+.1f}", seeds])
    print(table(["posting cost", "full - no_distillation, points", "each seed"], lines), "\n")


def _at(curve: list[Run], log_cost: float) -> float:
    """Interpolate the sparse hit rate@1, in percent, at a cost."""
    ordered = sorted(curve, key=lambda one: one.quality.text_cost)
    costs = np.log([one.quality.text_cost for one in ordered])
    return float(np.interp(log_cost, costs, [100 * hits([one]).mean() for one in ordered]))


def variants(tasks: dict[int, Task], settings: dict[str, dict[str, Any]]) -> None:
    """Compare settings of the full method."""
    rows = []
    for name, values in settings.items():
        rows.append(row(name, [run(task, seed=seed, **values) for seed, task in tasks.items()]))
    print(table(HEADER, rows), "\n")


def expansion(tasks: dict[int, Task]) -> None:
    """Compare kinds of expansion control, and what k words of a query keep of each."""
    rows, cuts = [], []
    for kind in ("free", "batch", "sample"):
        runs = []
        for seed, task in tasks.items():
            started = time.process_time()
            model = task.fit(seed=seed, expansion=kind)
            seconds = time.process_time() - started
            runs.append(Run(task.measure(model), seconds))
            cuts += [[kind, k, task.measure(model, k_text=k, k_image=4 * k)] for k in (8, 16, 32)]
        rows.append(row(kind, runs))
    print(table(HEADER, rows), "\n")
    lines = []
    for kind in ("free", "batch", "sample"):
        for k in (8, 16, 32):
            of = [quality for name, at, quality in cuts if (name, at) == (kind, k)]
            rate = np.mean([100 * one.sparse.text_to_image.hit_1.mean() for one in of])
            cost = np.mean([one.text_cost for one in of])
            lines.append(
                [f"{kind}, k={k} of texts, {4 * k} of images", f"{rate:.1f}", f"{cost:.1f}"]
            )
    print(table(["TopK after training", "t2i @1", "cost"], lines), "\n")


def weights(tasks: dict[int, Task]) -> None:
    """Vary the weights of the integrated score."""
    grid = [(0.1, 0.1), (0.1, 0.2), (0.1, 0.5), (0.5, 0.2)]
    variants(tasks, {f"w1={a}, w2={b}": {"dense_weight": a, "sparse_weight": b} for a, b in grid})


def start(tasks: dict[int, Task]) -> None:
    """Compare starts of E and of the head, with and without expansion control."""
    random = {"head_start": "random"}
    settings: dict[str, dict[str, Any]] = {
        "words, head by captions": {},
        "words, head by captions, expansion control": {"expansion": "batch"},
        "random rows, head by captions": {"random_words": True},
        "words, head random": random,
        "words, head random, expansion control": random | {"expansion": "batch"},
        "random rows, head random": random | {"random_words": True},
    }
    variants(tasks, settings)


def losses(tasks: dict[int, Task]) -> None:
    """Switch the options of the losses, one at a time."""
    detached = {"teacher_grad": False, "dense_weight": 0.5, "sparse_weight": 0.5}
    settings: dict[str, dict[str, Any]] = {
        "full": {},
        "teacher not transposed, as released": {"transpose_teacher": False},
        "teacher detached, w1=w2=0.5": detached,
        "several positives": {"multi_positive": True},
        "FLOPS instead of L1": {"regularizer": "flops"},
    }
    variants(tasks, settings)


def compress(tasks: dict[int, Task]) -> None:
    """Compress the dense side by csrkit.fit, as it starts and as it was trained."""
    rows = []
    for method in ("frozen", "full"):
        cells = []
        for seed, task in tasks.items():
            model = task.fit(method=method, seed=seed)
            images = model.dense_image(task.given["image"])
            texts = model.dense_text(task.given["text"])
            config = csrkit.FitConfig(seed=seed, ladder=(8, 16, 32), steps=CODEC_STEPS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # fewer rows than 4 times dim, at toy size
                codec = csrkit.fit(
                    images[np.unique(task.train[:, 1])],
                    queries=texts[np.unique(task.train[:, 0])],
                    config=config,
                    progress=False,
                )
            cells.append(list(_codes(task, codec, texts, images)))
        for at in range(len(cells[0])):
            name, means = cells[0][at][0], np.mean([one[at][1:] for one in cells], axis=0)
            rows.append([f"{method}: {name}", f"{means[0]:.1f}", f"{means[1]:.1f}"])
    print(table(["dense side", "t2i @1", "cost"], rows), "\n")


def _codes(
    task: Task, codec: csrkit.CSRModel, texts: Any, images: Any
) -> Iterator[tuple[str, float, float]]:
    columns = np.unique(task.test[:, 1])
    rows = np.unique(task.test[:, 0])
    relevant = [
        set(np.flatnonzero(np.isin(columns, task.test[task.test[:, 0] == r, 1]))) for r in rows
    ]
    found = exact_top(texts[rows], images[columns], 1)
    yield "float32", 100 * float(hit_rate_at(found, relevant, 1).mean()), np.nan
    for k in codec.ladder:
        asked, stored = codec.encode_query(texts[rows], k=k), codec.encode(images[columns], k=k)
        best = asked.dot(stored).argmax(axis=1)[:, None]
        cost = float(posting_cost(asked, stored).mean())
        yield f"codes, k={k}", 100 * float(hit_rate_at(best, relevant, 1).mean()), cost


def synthetic(seed: int, images: int) -> Task:
    data = _captions.make(seed, train=images, test=max(50, images // 6))
    captions = data.words[:, : _captions.WORDS_PER_CAPTION].tolist()
    given: dict[str, Any] = {
        "text": data.text,
        "image": data.image,
        "embeddings": data.embeddings,
        "tokens": [f"word {i}" for i in range(len(data.embeddings))],
        "captions": captions,
        "text_projection": tuple(data.text_projection),
        "image_projection": tuple(data.image_projection),
    }
    return Task("synthetic", given, data.pairs(test=False), data.pairs(test=True), {})


def real(options: argparse.Namespace, text: str, image: str) -> Task:
    limit = 400 if options.toy else None
    data = _pairs.load(options.data, text, image, limit)
    words = _pairs.words(options.data, options.encoder, options.latents, limit)
    given: dict[str, Any] = {"text": data.text, "image": data.image, **words._asdict()}
    same = data.text.shape[1] == data.image.shape[1]
    settings = {"multi_positive": True, "adapter_rate": 3e-4}
    settings |= {"adapter": "residual"} if same else {"adapter": "projection", "dim": 256}
    return Task(f"{image} and {text}", given, data.train, data.test, settings)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--images", type=int, default=6000, help="synthetic images to train on")
    add("--studies", nargs="+", choices=STUDIES, default=["arms"])
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--data", type=Path, help="folder of real pairs instead of synthetic ones")
    add("--towers", nargs="+", default=["aligned/aligned", "minilm/effnet"], help="text/image")
    add("--encoder", type=Path, help="local folder of the BERT whose words become latents")
    add("--latents", type=int, default=2000, help="words to keep of it")
    add("--epochs", type=int, default=6)
    add("--whiten", action="store_true", help="start E at whitened word embeddings")
    add("--head", choices=["captions", "random"], default="captions", help="random: as published")
    return parser.parse_args()


FULL_PENALTIES, PLAIN_PENALTIES = (1e-3, 3e-3, 1e-2), (1e-4, 3e-4, 1e-3)  # so that costs overlap
CODEC_STEPS = 300


def main() -> None:
    options = parse()
    seeds = [0] if options.toy else options.seeds
    if options.data is None:
        images = 120 if options.toy else options.images
        names = {f"synthetic captions, {images} images": lambda seed: synthetic(seed, images)}
    else:
        names = {
            towers: lambda seed, towers=towers: real(options, *towers.split("/"))
            for towers in options.towers
        }
    for name, make in names.items():
        forget()
        about = f"head started by {options.head}, whiten={options.whiten}; seeds {seeds}"
        heading(f"Joint training: {name}", about, toy=options.toy)
        tasks = {seed: make(seed) for seed in seeds}
        given = {"epochs": options.epochs, "head_start": options.head, "whiten": options.whiten}
        tasks = {s: task.with_settings(**given) for s, task in tasks.items()}
        if options.toy:
            tasks = {s: one.with_settings(epochs=1, batch_size=64) for s, one in tasks.items()}
        for study in STUDIES if options.toy else options.studies:
            print(f"## {study}\n", flush=True)
            globals()[study](tasks)


if __name__ == "__main__":
    main()
