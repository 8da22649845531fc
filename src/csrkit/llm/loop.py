"""The loop that both stages of a training share: schedule, clipping, steps, checkpoints.

    rate(s) = peak * min(1, (s + 1) / warm-up) * (steps - s) / (steps - warm-up)    AdamW

What a step does is given to it and must be a function of the step alone; torch's random numbers,
for dropout, are seeded anew for each. So a resumed run ends where an uninterrupted one does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from csrkit.errors import ConfigError
from csrkit.llm.checkpoint import Checkpoint
from csrkit.llm.twopass import world

__all__ = ["Stage", "train", "trainable"]

MAX_NORM = 1.0  # of the gradient, as in the Trainer of transformers
SHOWN = 20  # steps over which the loss that is shown is averaged


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes:
        name: "mntp" or "train"; a checkpoint says which one it is of.
        parameters: What is trained, by name.
        steps: Optimiser steps.
        rate: Peak learning rate.
        warmup: Share of the steps over which it rises.
        weight_decay: Of AdamW.
        seed: Of dropout.
    """

    name: str
    parameters: Mapping[str, torch.nn.Parameter]
    steps: int
    rate: float
    warmup: float
    weight_decay: float = 0.0
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rising = round(self.warmup * self.steps)
        if step < rising:
            return self.rate * (step + 1) / rising
        return self.rate * (self.steps - step) / max(1, self.steps - rising)


def train(
    stage: Stage,
    backward: Callable[[int], float],
    *,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> float:
    """Take the steps of a stage.

    Args:
        stage: What to train, and for how long.
        backward: Adds the gradient of a step to the parameters' ``grad`` and returns the loss.
        checkpoint: Where the run is kept; goes on from there if it was in this stage.
        progress: Whether to show a progress bar.

    Returns:
        Mean loss of the last steps of this call; NaN if there were none to take.

    Raises:
        ConfigError: If the loss is not finite any more.
    """
    optimizer = torch.optim.AdamW(
        list(stage.parameters.values()), lr=stage.rate, weight_decay=stage.weight_decay
    )
    first = (
        0 if checkpoint is None else checkpoint.restore_(stage.name, stage.parameters, optimizer)
    )
    recent: list[float] = []
    bar = tqdm(
        total=stage.steps,
        initial=first,
        unit="step",
        desc=stage.name,
        disable=not progress or world().rank > 0,
    )
    with bar:
        for step in range(first, stage.steps):
            for group in optimizer.param_groups:
                group["lr"] = stage.rate_at(step)
            optimizer.zero_grad()
            torch.manual_seed(_seed(stage.seed, step))
            loss = backward(step)
            if not math.isfinite(loss):
                raise ConfigError(
                    f"training diverged: the loss of step {step} is {loss}, "
                    f"lower the learning rate of {stage.rate:.4g}"
                )
            torch.nn.utils.clip_grad_norm_(stage.parameters.values(), MAX_NORM)
            optimizer.step()
            recent = [*recent[1 - SHOWN :], loss]
            bar.update()
            bar.set_postfix_str(f"loss {sum(recent) / len(recent):.3f}", refresh=False)
            if checkpoint is not None and checkpoint.is_due(step + 1, stage.steps):
                checkpoint.save(stage.name, step + 1, stage.parameters, optimizer)
    return sum(recent) / len(recent) if recent else math.nan


def _seed(seed: int, step: int) -> int:
    """Return the seed of a step in this process."""
    return int(np.random.SeedSequence((seed, 3, step, world().rank)).generate_state(1)[0])


def trainable(*modules: tuple[str, torch.nn.Module]) -> dict[str, torch.nn.Parameter]:
    """Collect the parameters that take a gradient.

    Args:
        *modules: Prefix and module.

    Returns:
        By name, in the order of the modules; shared ones once.
    """
    found: dict[str, torch.nn.Parameter] = {}
    seen: set[Tensor] = set()
    for prefix, module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                found[f"{prefix}{name}"] = parameter
    return found
