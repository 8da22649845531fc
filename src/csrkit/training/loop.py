"""The training loop: batches in, the best weights so far out.

The learning rate warms up, stays, and decays to near zero at the end. Without a
number of steps, the end is called when the held-out recall stops rising: the
measurement that users care about, not the loss. Weights that have diverged end it
at the last measurement before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from csrkit.errors import ConfigError
from csrkit.training.autoencoder import Autoencoder
from csrkit.training.balance import LoadBalance
from csrkit.training.config import FitConfig
from csrkit.training.data import TrainingData
from csrkit.training.objective import Batch, Objective, StepResult

__all__ = ["Ending", "Run", "Snapshot", "Trained", "Weights", "start", "train"]

EVERY = 250  # steps between two measurements of recall
PATIENCE = 3  # measurements without a rise of MARGIN before the decay begins
MARGIN = 0.004  # recall: a smaller rise is not worth another EVERY steps
FLOOR = 0.02  # share of the peak rate at the very end


class Weights(NamedTuple):
    """The arrays of a model, on the CPU; ``latent_bias`` holds the balance too."""

    encoder: Tensor
    decoder: Tensor
    latent_bias: Tensor
    pre_bias: Tensor

    def can_encode(self) -> bool:
        """Return True if every pre-activation of a row of norm 1 is finite."""
        norms = torch.linalg.vector_norm(self.encoder, dim=1)
        bound = norms * (1 + torch.linalg.vector_norm(self.pre_bias)) + self.latent_bias.abs()
        return bool(bound.isfinite().all() and self.decoder.isfinite().all())


class Snapshot(NamedTuple):
    """Weights worth keeping.

    Attributes:
        weights: Copies of the arrays.
        recall: Held-out recall@10 in [0, 1], or None if it was not measured.
        step: Steps trained when it was taken.
    """

    weights: Weights
    recall: float | None
    step: int


class Ending(Enum):
    """What ended a training run."""

    DONE = "done"  # its steps, or a plateau
    INTERRUPTED = "interrupted"  # Ctrl-C
    DIVERGED = "diverged"  # weights that make no finite codes


class Trained(NamedTuple):
    """What a training run leaves.

    Attributes:
        best: The snapshot of the highest recall, or the last where none was measured.
        ending: Why it ended.
        steps: Steps taken, those after the best snapshot included.
        rate: Peak learning rate.
    """

    best: Snapshot
    ending: Ending
    steps: int
    rate: float


@dataclass
class _Schedule:
    """Warm-up, plateau, decay; the length may be fixed late.

    Attributes:
        warmup: Steps of the warm-up.
        decay: Share of all steps that the decay takes.
        total: All steps, or None while the plateau lasts.
    """

    warmup: int
    decay: float
    total: int | None

    def factor(self, step: int) -> float:
        """Return the share of the peak rate at a step, counted from 0."""
        rising = min(1.0, (step + 1) / max(1, self.warmup))
        if self.total is None or not self.decay:
            return rising
        left = (self.total - step) / max(1.0, self.decay * self.total)
        return rising * max(FLOOR, min(1.0, left))

    def end_after(self, step: int) -> None:
        """Begin the decay now, so that it takes its share of the whole."""
        self.total = round(step / (1 - self.decay)) if self.decay < 1 else step


@dataclass
class _Plateau:
    """Says when a recall has stopped rising."""

    best: float = -1.0
    waited: int = 0

    def reached(self, run: Run, found: Snapshot) -> bool:
        """Take one measurement; True once PATIENCE of them brought no rise.

        Without a measurement there is no plateau, and none counts while k is annealed.
        """
        if found.recall is None or not run.is_annealed():
            return False
        if found.recall > self.best + MARGIN:
            self.best, self.waited = found.recall, 0
        else:
            self.waited += 1
        return self.waited >= PATIENCE


@dataclass
class Run:
    """Everything that changes from step to step; made by `start`."""

    model: Autoencoder
    config: FitConfig
    objective: Objective
    balance: LoadBalance
    optimizer: torch.optim.Adam
    schedule: _Schedule
    since_fired: Tensor = field(init=False)
    step: int = 0

    def __post_init__(self) -> None:
        self.since_fired = torch.zeros_like(self.balance.bias, dtype=torch.int64)

    def ladder(self) -> tuple[int, ...]:
        """Return this step's prefix lengths: annealed ones first (arXiv 2602.05735)."""
        rungs, start = self.config.ladder, self.config.anneal_from
        total = self.config.steps or self.config.max_steps
        progress = self.step / (0.7 * total)
        if start is None or progress >= 1:
            return rungs
        first = min(start, len(self.balance.bias) // 4)  # leaves room for the 4k term
        annealed = {round((1 - progress) * max(k, first) + progress * k) for k in rungs}
        return tuple(sorted(annealed))

    def is_annealed(self) -> bool:
        """Return True once the prefixes are the ladder's; a plateau before is not the end."""
        return self.ladder() == self.config.ladder

    def advance_(self, batch: Batch) -> StepResult:
        """Take one training step on a batch: the losses, their gradients, what fired."""
        result = self.objective(self.model, batch, self.ladder(), self.balance.bias, self.dead())
        self._take_(result)
        return result

    def _take_(self, result: StepResult) -> None:
        factor = self.schedule.factor(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]  # torch's own stubs
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.model.normalize_()
        self._count_(result, factor)
        self.step += 1

    @torch.no_grad()
    def _count_(self, result: StepResult, factor: float) -> None:
        k = self.config.ladder[-1]
        indices = result.selection.indices[:, :k]
        fired = result.selection.values[:, :k] > 0
        self.balance.update_(indices, fired, factor)
        self.since_fired += len(indices)
        self.since_fired[indices[fired]] = 0

    def is_late(self) -> bool:
        """Return True once only the decay still fits into ``max_steps``."""
        return self.step + EVERY > (1 - self.config.decay) * self.config.max_steps

    def dead(self) -> Tensor:
        """Return the latents that have not fired for ``dead_after`` rows, int64 (n_dead,)."""
        return (self.since_fired > self.config.dead_after).nonzero()[:, 0]

    def snapshot(self, measure: Callable[[Weights], float] | None) -> Snapshot | None:
        """Copy the weights and measure them; None if they make no finite codes any more."""
        with torch.no_grad():
            bias = self.model.latent_bias + self.balance.bias
            weights = Weights(
                self.model.encoder.detach().cpu().clone(),
                self.model.decoder.detach().cpu().clone(),
                bias.detach().cpu().clone(),
                self.model.pre_bias.detach().cpu().clone(),
            )
        if not weights.can_encode():
            return None
        return Snapshot(weights, None if measure is None else measure(weights), self.step)

    def peak_rate(self) -> float:
        """Return the highest learning rate of the schedule."""
        return float(self.optimizer.param_groups[0]["peak"])


def train(
    model: Autoencoder,
    data: TrainingData,
    objective: Objective,
    config: FitConfig,
    measure: Callable[[Weights], float] | None,
    progress: bool,
) -> Trained:
    """Train until the steps are done, recall stops rising, weights diverge, or Ctrl-C.

    Args:
        model: Starting weights; changed in place.
        data: Where batches come from.
        objective: The loss.
        config: Settings with no default left open but ``steps``.
        measure: Held-out recall@10 of given weights, or None to keep the last.
        progress: Whether to show a progress bar.

    Returns:
        The best snapshot, and what ended the run.

    Raises:
        ConfigError: If the weights diverged before anything was measured.
        KeyboardInterrupt: If interrupted before anything was measured.
    """
    run = start(model, config, objective)
    batches = data.batches(
        config.batch_size, config.similarity_rows, objective.generator, config.device
    )
    plateau, best = _Plateau(), None
    bar = tqdm(
        total=_planned(run) * config.batch_size,
        unit="vec",
        unit_scale=True,
        desc="fit",
        disable=not progress,
    )
    try:
        with bar:
            while run.step < _planned(run):
                result = run.advance_(next(batches))
                bar.update(config.batch_size)
                if run.step % 10 == 0:
                    _show(bar, run, result, best)
                if run.step % EVERY and run.step < _planned(run):
                    continue
                found = run.snapshot(measure)
                if found is None:
                    return _diverged(run, best)
                best = _better(best, found)
                if run.schedule.total is None and (run.is_late() or plateau.reached(run, best)):
                    run.schedule.end_after(run.step)
                    bar.total = _planned(run) * config.batch_size
    except KeyboardInterrupt:
        if best is None:
            raise
        return Trained(best, Ending.INTERRUPTED, run.step, run.peak_rate())
    assert best is not None  # at least one step was taken, and the last is measured
    return Trained(best, Ending.DONE, run.step, run.peak_rate())


def _diverged(run: Run, best: Snapshot | None) -> Trained:
    """Keep what was measured before; refuse the settings if that is nothing."""
    if best is None:
        raise ConfigError(
            f"training diverged: the weights of step {run.step} hold NaN or are too large to "
            f"encode with, lower FitConfig(learning_rate={run.peak_rate():.4g})"
        )
    return Trained(best, Ending.DIVERGED, run.step, run.peak_rate())


def start(model: Autoencoder, config: FitConfig, objective: Objective) -> Run:
    """Stand at step 0 of a training run: optimiser, schedule and load balance.

    Args:
        model: Starting weights; changed in place by the run.
        config: Settings with no default left open but ``steps``.
        objective: The loss.

    Returns:
        The run; `Run.advance_` takes one step of it.
    """
    latents = len(model.latent_bias)
    rate = config.learning_rate or 8e-4 / (latents / 2**14) ** 0.5
    groups = [{"params": list(model.parameters()), "lr": rate, "peak": rate}]
    length = config.steps or config.max_steps
    return Run(
        model,
        config,
        objective,
        LoadBalance(config.ladder, latents, config.load_cap, config.device),
        torch.optim.Adam(groups, eps=6.25e-10, fused=True),
        _Schedule(round(config.warmup * min(length, 2000)), config.decay, config.steps),
    )


def _planned(run: Run) -> int:
    """Return the steps to take as far as is known."""
    return min(run.schedule.total or run.config.max_steps, run.config.steps or run.config.max_steps)


def _better(best: Snapshot | None, new: Snapshot) -> Snapshot:
    if best is None or new.recall is None or best.recall is None or new.recall >= best.recall:
        return new
    return best


def _show(bar: tqdm, run: Run, result: StepResult, best: Snapshot | None) -> None:
    latents = len(run.balance.bias)
    bar.set_postfix_str(
        f"fvu {result.fvu.item():.3f}, dead {len(run.dead()) / latents:.1%}, "
        f"busiest {run.balance.loads[-1].max().item():.1%}"
        + (f", recall {best.recall:.3f}" if best and best.recall is not None else ""),
        refresh=False,
    )
