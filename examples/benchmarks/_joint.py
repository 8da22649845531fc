"""What the studies of `joint.py` share: a task to fit, a run that is measured, rows of tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csrkit import joint
from csrkit.joint import JointConfig, JointModel, Quality
from csrkit.metrics import bootstrap_interval

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


def forget() -> None:
    """Forget what was run, for another set."""
    _KNOWN.clear()


def run(task: Task, **settings: Any) -> Run:
    """Train and measure once; several studies share a run."""
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
