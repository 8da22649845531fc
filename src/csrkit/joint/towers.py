"""Towers of a checkpoint: run whole up to their vectors, or from their last layer on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from csrkit.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = [
    "Module",
    "Tail",
    "Tower",
    "as_numpy",
    "hidden_before_last",
    "image_inputs",
    "text_inputs",
    "vectors_of",
]

Module: TypeAlias = Any  # transformers' models and outputs are loosely typed


@dataclass(frozen=True)
class Tower:
    """One tower of a checkpoint.

    Attributes:
        model: The submodel up to the vectors before the projection.
        pool: From its output to these vectors, (batch, width).
        projection: The linear map behind it, or None.
        norms: Names of its modules after the last layer.
    """

    model: Module
    pool: Callable[[Any], Tensor]
    projection: torch.nn.Linear | None
    norms: tuple[str, ...] = ()

    def vectors(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the vectors of one batch before the projection, (batch, width)."""
        pooled: Tensor = self.pool(self.model(**inputs))
        return pooled

    def layers(self) -> Module:
        """Return the list of layers."""
        encoder = self.model.encoder
        return encoder.layer if hasattr(encoder, "layer") else encoder.layers


class _Given(torch.nn.Module):
    """Stands in for the embeddings of a submodel: gives what the last layer is to read."""

    hidden: Tensor

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self.hidden


class Tail(torch.nn.Module):
    """The last layer of a tower, and what follows it, over its inputs made once.

    The submodel itself is run, with its embeddings and lower layers taken out, so that masks and
    pooling stay its own; the layer is the checkpoint's, not a copy.

    Args:
        tower: The tower; its last layer, and norms after it, are set to be trained.
        inputs: Tensors of all rows.
    """

    def __init__(self, tower: Tower, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._tower = [tower]  # in a list: no submodule, its other parameters are not trained
        self._inputs = dict(inputs)
        self._hidden = hidden_before_last(tower, inputs)
        self._given = _Given()
        self._short = [_shortened(tower.model, self._given)]
        self.last = tower.layers()[-1].requires_grad_(True)
        for name in tower.norms:
            self.add_module(name, getattr(tower.model, name).requires_grad_(True))

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the vectors of some rows, by number."""
        device = next(self.last.parameters()).device
        self._given.hidden = self._hidden[numbers].to(device)
        batch = {name: value[numbers].to(device) for name, value in self._inputs.items()}
        return self._tower[0].pool(self._short[0](**batch))


def _shortened(model: Module, given: torch.nn.Module) -> Module:
    """Return a view of a submodel that begins before its last layer; modules are shared."""
    encoder = _shallow(model.encoder)
    name = "layer" if hasattr(encoder, "layer") else "layers"
    encoder._modules[name] = torch.nn.ModuleList([getattr(model.encoder, name)[-1]])
    view = _shallow(model)
    view._modules |= {"encoder": encoder, "embeddings": given}
    if hasattr(model, "pre_layrnorm"):  # CLIP's, between embeddings and layers
        view._modules["pre_layrnorm"] = torch.nn.Identity()
    return view


def _shallow(module: Module) -> Module:
    view = copy.copy(module)
    view._modules = dict(module._modules)
    return view


@torch.no_grad()
def hidden_before_last(tower: Tower, inputs: Mapping[str, Tensor]) -> Tensor:
    """Run a tower and note what its last layer reads.

    Args:
        tower: The tower.
        inputs: Tensors of all rows.

    Returns:
        float (n, length, width).
    """
    seen: list[Tensor] = []

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    hook = tower.layers()[-1].register_forward_pre_hook(note, with_kwargs=True)
    try:
        vectors_of(tower, inputs, 64)
    finally:
        hook.remove()
    return torch.cat(seen)


@torch.no_grad()
def vectors_of(tower: Tower, inputs: Mapping[str, Tensor], batch_size: int) -> Floats:
    """Run a tower over all rows, batch by batch.

    Args:
        tower: The tower.
        inputs: Tensors of all rows.
        batch_size: Rows at a time.

    Returns:
        float32 (n, width), vectors before the projection.

    Raises:
        ConfigError: If batch_size is no whole number from 1.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"expected a batch_size from 1, got {batch_size!r}")
    device = next(tower.model.parameters()).device
    n = len(next(iter(inputs.values())))
    blocks = []
    for start in range(0, n, batch_size):
        part = {name: x[start : start + batch_size].to(device) for name, x in inputs.items()}
        blocks.append(as_numpy(tower.vectors(part)))
    return np.concatenate(blocks)


def text_inputs(inputs: Mapping[str, Tensor], config: Module) -> dict[str, Tensor]:
    """Check the tensors of a tokenizer against a checkpoint.

    Args:
        inputs: Its ``input_ids`` and, where texts are padded, ``attention_mask``; more is
            left out.
        config: Of the text tower.

    Returns:
        Ids, and the mask if there is one.

    Raises:
        ShapeError: If they are not of shape (n, length), or the tower has no places or
            embeddings for them.
    """
    ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
    if not isinstance(ids, Tensor) or ids.ndim != 2 or not len(ids) or ids.is_floating_point():
        got = type(inputs if ids is None else ids).__name__
        if isinstance(ids, Tensor):
            got = f"{ids.dtype} of {tuple(ids.shape)}"
        raise ShapeError(
            "expected the tensors of a tokenizer, input_ids of shape (n, length) and whole "
            f"numbers, got {got}"
        )
    if ids.shape[1] > config.max_position_embeddings:
        raise ShapeError(
            f"expected texts of at most {config.max_position_embeddings} tokens, got "
            f"{ids.shape[1]}: let the tokenizer truncate them"
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= config.vocab_size:
        raise ShapeError(
            f"expected token ids below {config.vocab_size}, got {low} to {high}: "
            "is the tokenizer this checkpoint's?"
        )
    mask = inputs.get("attention_mask")
    if mask is None:
        return {"input_ids": ids}
    if not isinstance(mask, Tensor) or mask.shape != ids.shape:
        given = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ShapeError(f"expected an attention_mask of shape {tuple(ids.shape)}, got {given}")
    return {"input_ids": ids, "attention_mask": mask}


def image_inputs(pixel_values: Tensor, config: Module) -> dict[str, Tensor]:
    """Check the tensor of an image processor against a checkpoint.

    Args:
        pixel_values: (n, channels, height, width).
        config: Of the image tower.

    Returns:
        The tensor, by the name that the tower calls it.

    Raises:
        ShapeError: If it is anything else, or of another size.
    """
    channels = getattr(config, "num_channels", 3)  # BLIP's does not say
    size = (channels, config.image_size, config.image_size)
    told = f"expected pixel_values as a tensor of shape (n, {', '.join(map(str, size))})"
    if not isinstance(pixel_values, Tensor):
        raise ShapeError(f"{told}, got {type(pixel_values).__name__}")
    if tuple(pixel_values.shape[1:]) != size or not len(pixel_values):
        raise ShapeError(f"{told}, got {tuple(pixel_values.shape)}")
    return {"pixel_values": pixel_values}


def as_numpy(tensor: Tensor) -> Floats:
    """Return a tensor as float32 on the host."""
    array: Floats = tensor.detach().float().cpu().numpy()
    return array
