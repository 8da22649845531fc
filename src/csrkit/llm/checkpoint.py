"""`Checkpoint`: a training run on disk, in one file that is replaced whole.

Holds what a stage trains and both moments of AdamW, as safetensors; nothing is unpickled.
Everything else of a step follows from its number.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from csrkit.errors import ConfigError, FormatError
from csrkit.llm.backbone import Backbone
from csrkit.llm.config import LLMConfig
from csrkit.llm.data import Triple
from csrkit.llm.twopass import world

__all__ = ["Checkpoint", "run_digest"]

FILE = "checkpoint.safetensors"
_DRAFT = ".saving-"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_SAMPLE = 64  # numbers of each weight that tell one model from another


class _Place(NamedTuple):
    """Where a run is: its stage, and the optimiser steps taken in it."""

    stage: str
    step: int


def run_digest(
    config: LLMConfig, triples: Sequence[Triple], texts: Sequence[str], backbone: Backbone
) -> str:
    """Return a SHA-256 that tells one run from another.

    Args:
        config: Its settings.
        triples: What it trains on.
        texts: What it adapts on.
        backbone: What it starts from; a few numbers of each of its weights are looked at.

    Returns:
        64 hexadecimal digits.
    """
    found = hashlib.sha256(config.model_dump_json().encode())
    for triple in triples:
        found.update(repr((triple.query, triple.documents, triple.scores)).encode())
    for text in texts:
        found.update(text.encode())
    for name, weight in backbone.model.state_dict().items():
        some = weight.flatten()[:: max(1, weight.numel() // _SAMPLE)]
        found.update(repr((name, tuple(weight.shape), some.tolist())).encode())
    found.update(repr(sorted(backbone.tokenizer.get_vocab().items())).encode())
    return found.hexdigest()


class Checkpoint:
    """Where a run is kept."""

    def __init__(self, folder: str | Path, every: int, run: str) -> None:
        """Look at a folder.

        Args:
            folder: Made if needed.
            every: Steps from one checkpoint to the next.
            run: Of `run_digest`.

        Raises:
            ConfigError: If it holds the checkpoint of another run, or every is below 1.
            FormatError: If the path is a file or cannot be made, or what it holds is not a
                checkpoint.
        """
        if every < 1:
            raise ConfigError(f"expected a checkpoint every 1 or more steps, got {every}")
        self._path = Path(folder) / FILE
        self._every = every
        self._run = run
        if Path(folder).exists() and not Path(folder).is_dir():
            raise FormatError(f"expected a folder for checkpoints, got the file {folder}")
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"cannot make the folder {folder}: {error.strerror}") from error
        if world().rank == 0:
            for draft in Path(folder).glob(f"{_DRAFT}*"):  # of a run that was killed while it saved
                shutil.rmtree(draft, ignore_errors=True)
        self._place = self._read() if self._path.exists() else None

    @property
    def stage(self) -> str | None:
        """The stage that the run was in; None if there is nothing to go on from."""
        return None if self._place is None else self._place.stage

    def is_due(self, step: int, steps: int) -> bool:
        """Tell whether to save after so many steps of a stage."""
        return world().rank == 0 and (step % self._every == 0 or step == steps)

    def save(
        self,
        stage: str,
        step: int,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Replace the checkpoint.

        Args:
            stage: Name of the stage.
            step: Optimiser steps taken in it.
            parameters: What it trains.
            optimizer: Of these parameters.

        Raises:
            FormatError: If it cannot be written; the one before stays.
        """
        tensors: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            tensors[f"value/{name}"] = parameter.detach()
            for moment in _MOMENTS:
                if moment in optimizer.state[parameter]:
                    tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
        about = json.dumps({"run": self._run, "stage": stage, "step": step})
        kept = {name: value.contiguous().cpu() for name, value in tensors.items()}
        try:
            with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=_DRAFT) as aside:
                draft = Path(aside, FILE)
                save_file(kept, draft, {"csrkit": about})
                with open(draft, "rb") as file:
                    os.fsync(file.fileno())
                os.replace(draft, self._path)
        except (OSError, SafetensorError) as error:
            raise FormatError(f"cannot write the checkpoint {self._path}: {error}") from error
        self._place = _Place(stage, step)

    @torch.no_grad()
    def restore_(
        self,
        stage: str,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer | None = None,
    ) -> int:
        """Bring back what a stage had reached.

        Args:
            stage: The stage that begins.
            parameters: What it trains; changed in place.
            optimizer: Of these parameters; None brings back the parameters alone.

        Returns:
            Steps taken; 0 if the checkpoint is of another stage, or there is none.

        Raises:
            FormatError: If the checkpoint does not fit the parameters.
        """
        if self._place is None or self._place.stage != stage:
            return 0
        with safe_open(str(self._path), framework="pt") as file:
            names = set(file.keys())
            for name, parameter in parameters.items():
                if f"value/{name}" not in names:
                    raise FormatError(f"{self._path} holds no {name}: start the run anew")
                value = file.get_tensor(f"value/{name}")
                if value.shape != parameter.shape:
                    raise FormatError(
                        f"{self._path}: expected {name} of shape {tuple(parameter.shape)}, got "
                        f"{tuple(value.shape)}: it is of another model"
                    )
                parameter.copy_(value)
                moments = [one for one in _MOMENTS if f"{one}/{name}" in names]
                if optimizer is not None and moments:
                    optimizer.state[parameter] = {
                        one: file.get_tensor(f"{one}/{name}").to(
                            "cpu" if one == "step" else parameter.device
                        )
                        for one in moments
                    }
        return self._place.step

    def _read(self) -> _Place:
        try:
            with safe_open(str(self._path), framework="pt") as file:
                about = json.loads((file.metadata() or {})["csrkit"])
            run, place = about["run"], _Place(str(about["stage"]), int(about["step"]))
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise FormatError(f"{self._path} is not a checkpoint of csrkit.llm: {error}") from error
        if run != self._run:
            raise ConfigError(
                f"{self._path} is a checkpoint of another run: settings, triples, corpus or "
                "model differ; repeat that call, or name another folder"
            )
        return place
