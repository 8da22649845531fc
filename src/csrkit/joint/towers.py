"""Towers of a checkpoint: run whole up to their vectors, or from their last layer on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["Module", "Tail", "Tower", "as_numpy", "hidden_before_last", "vectors_of"]

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
    """
    device = next(tower.model.parameters()).device
    n = len(next(iter(inputs.values())))
    blocks = []
    for start in range(0, n, batch_size):
        part = {name: x[start : start + batch_size].to(device) for name, x in inputs.items()}
        blocks.append(as_numpy(tower.vectors(part)))
    return np.concatenate(blocks)


def as_numpy(tensor: Tensor) -> Floats:
    """Return a tensor as float32 on the host."""
    array: Floats = tensor.detach().float().cpu().numpy()
    return array
