"""What each part of joint sparse-dense training gives, and at what cost.

    python examples/benchmarks/joint.py                              (synthetic captions)
    python examples/benchmarks/joint.py --studies frontier expansion --images 2000
    python examples/benchmarks/joint.py --data FOLDER --encoder BERT   (real pairs, see _pairs.py)

Every row is the mean over the seeds; each seed of the synthetic set is another world. Hit rates are
in percent. Cost is the posting cost of texts that ask for images, ``sum_j p_text(j) p_image(j)``.
A difference has a 95% interval of a paired bootstrap over the queries of all seeds.

    arms        the four methods, and the dense start that none of them has changed
    frontier    hit rate at equal posting cost, over the weight of the regulariser
    expansion   expansion control: never, per batch, per sample; what codes of k words keep
    weights     w1 and w2 of the integrated score
    start       word embeddings against random ones, and whether codes can be read
    losses      options of the losses: detached or untransposed teacher, several positives, FLOPS
    compress    csrkit.fit on the dense side, before and after
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import _captions
import _pairs
import numpy as np
from _common import heading, table
from numpy.typing import NDArray

import csrkit
from csrkit import joint
from csrkit.joint import JointConfig, JointModel, Quality
from csrkit.metrics import bootstrap_interval, exact_top, hit_rate_at, posting_cost

ARMS = ("dense_to_sparse", "frozen", "no_distillation", "full")
STUDIES = ("arms", "frontier", "expansion", "weights", "start", "losses", "compress")
HEADER = ["", "t2i @1", "@5", "@10", "MRR", "i2t @1", "dense t2i @1", "hybrid @1"]
HEADER += ["cost", "active", "words", "CPU s"]


class Task(NamedTuple):
    """One set: what `joint.fit` is given, and the pairs to measure on."""

    name: str
    given: dict[str, Any]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    settings: dict[str, Any]

    def with_settings(self, **settings: Any) -> Task:
        """Return the task with other settings under those of a study."""
        return self._replace(settings=self.settings | settings)

    def fit(self, **settings: Any) -> JointModel:
        """Fit with the task's settings and these."""
        given = dict(self.given)
        if settings.pop("random_words", False):
            given["embeddings"] = _shuffled(given["embeddings"])
        config = JointConfig(**{**self.settings, **settings})
        text, image = given.pop("text"), given.pop("image")
        return joint.fit(text, image, self.train, **given, config=config, progress=False)

    def measure(self, model: JointModel, **ks: int) -> Quality:
        """Measure on the test pairs."""
        given = self.given
        readable = {name: given[name] for name in ("captions", "special") if name in given}
        return joint.measure(model, given["text"], given["image"], self.test, **readable, **ks)


def _shuffled(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return random rows of the same lengths, in the place of word embeddings."""
    rows = np.random.default_rng(0).normal(size=embeddings.shape)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (rows * lengths / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Run(NamedTuple):
    """One trained model, measured.

    Attributes:
        quality: What `joint.measure` found.
        seconds: Processor time of the training, over all threads.
    """

    quality: Quality
    seconds: float


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "random_words"}


_KNOWN: dict[tuple[Any, ...], Run] = {}  # several studies begin with the same run


def run(task: Task, **settings: Any) -> Run:
    key = (id(task), JointConfig(**_own(settings)), settings.get("random_words", False))
    if key not in _KNOWN:
        _KNOWN[key] = _run(task, **settings)
        print(*row(str(settings), [_KNOWN[key]]), file=sys.stderr, flush=True)
    return _KNOWN[key]


def _run(task: Task, **settings: Any) -> Run:
    started = time.process_time()
    model = task.fit(**settings)
    seconds = time.process_time() - started
    return Run(task.measure(model), seconds)


def row(name: str, runs: Iterable[Run]) -> list[str]:
    """Format the means over seeds."""
    columns = []
    for quality, seconds in runs:
        share = np.nan if quality.caption_share is None else quality.caption_share
        columns.append(
            [
                *(100 * value for value in quality.sparse.text_to_image.means()),
                100 * quality.sparse.image_to_text.hit_1.mean(),
                100 * quality.dense.text_to_image.hit_1.mean(),
                100 * quality.hybrid.text_to_image.hit_1.mean(),
                quality.text_cost,
                quality.text_active,
                100 * share,
                seconds,
            ]
        )
    means = np.mean(columns, axis=0)
    cells = [f"{value:.1f}" for value in means[:8]]
    cells += [f"{value:.0f}" for value in means[8:9]]
    return [name, *cells, "" if np.isnan(means[9]) else f"{means[9]:.0f}", f"{means[10]:.0f}"]


def hits(runs: Iterable[Run]) -> NDArray[np.float64]:
    return np.concatenate([one.quality.sparse.text_to_image.hit_1 for one in runs])


def difference(name: str, better: list[Run], worse: list[Run], gate: float | None) -> list[str]:
    """Format a paired difference of sparse hit rate@1 and its interval, in points."""
    low, mean, high = (100 * end for end in bootstrap_interval(hits(better) - hits(worse)))
    each = [100 * (hits([a]) - hits([b])).mean() for a, b in zip(better, worse, strict=True)]
    wanted = "" if gate is None else f"{gate:+.1f}"
    seeds = ", ".join(f"{one:+.1f}" for one in each)
    return [name, f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}", seeds, wanted]


def dense_start(task: Task, seed: int) -> Run:
    """Measure the dense side that training starts from: a model after no step to speak of."""
    tiny = {"epochs": 1, "head_rate": 1e-12, "embeddings_rate": 0.0}
    some = task._replace(
        train=task.train if task.given.get("text_projection") is None else task.train[:64]
    )
    return run(some, method="frozen", seed=seed, **tiny)


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
    """Compare starts of E, with and without expansion control."""
    settings: dict[str, dict[str, Any]] = {
        "words": {},
        "words, E at a tenth of the rate": {"embeddings_rate": 1e-4},
        "words, expansion control": {"expansion": "batch"},
        "random": {"random_words": True},
        "random, expansion control": {"random_words": True, "expansion": "batch"},
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
    return parser.parse_args()


FULL_PENALTIES, PLAIN_PENALTIES = (1e-3, 3e-3), (3e-4, 1e-3)  # so that costs overlap
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
        _KNOWN.clear()
        heading(f"Joint training: {name}", f"seeds {seeds}", toy=options.toy)
        tasks = {seed: make(seed) for seed in seeds}
        if options.epochs != 6:
            tasks = {s: task.with_settings(epochs=options.epochs) for s, task in tasks.items()}
        if options.toy:
            tasks = {s: one.with_settings(epochs=1, batch_size=64) for s, one in tasks.items()}
        for study in STUDIES if options.toy else options.studies:
            print(f"## {study}\n", flush=True)
            globals()[study](tasks)


if __name__ == "__main__":
    main()
