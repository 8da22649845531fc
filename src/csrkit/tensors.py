"""Torch seen from numpy: what can be told and taken of tensors without importing it; devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ConfigError, MissingExtra, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_device", "is_tensor", "on_cpu", "tensor_to_numpy"]

# Any in this file is a tensor, or whatever may be one: torch may not be installed.


def is_tensor(value: Any) -> bool:
    """Recognise a torch tensor (or a subclass) without importing torch.

    Args:
        value: Anything.

    Returns:
        True for tensors.
    """
    return any(
        base.__name__ == "Tensor" and base.__module__.partition(".")[0] == "torch"
        for base in type(value).__mro__
    )


def on_cpu(value: Any) -> bool:
    """Return True if numpy can read a value where it lies: all but tensors of other devices.

    Args:
        value: Anything.

    Returns:
        False for a tensor on a GPU or another accelerator.
    """
    return not is_tensor(value) or value.device.type == "cpu"


def tensor_to_numpy(tensor: Any) -> NDArray[Any]:
    """Take a tensor out of autograd, to the host if it is not there.

    Args:
        tensor: torch tensor on any device, of any dtype.

    Returns:
        The same numbers, sharing the memory of a CPU tensor; bfloat16 and narrower
        floats as float32.

    Raises:
        ShapeError: If the tensor is not dense, such as a sparse one.
    """
    host = tensor.detach().cpu()
    try:
        return np.asarray(host.numpy(force=True))
    except TypeError:  # numpy has no bfloat16; float32 holds every one exactly
        if "strided" not in str(host.layout):
            raise ShapeError(f"expected a dense tensor, got one of layout {host.layout}") from None
        return np.asarray(host.float().numpy(force=True))


def check_device(device: str, given: str, purpose: str) -> None:
    """Refuse a missing torch, and devices that this machine has not.

    Args:
        device: Name of a torch device, such as "cpu" or "cuda:1".
        given: How it was asked for, such as "FitConfig(device='cuda:1')".
        purpose: What needs torch, a few words.

    Raises:
        MissingExtra: If torch is not installed.
        ConfigError: If torch cannot put a tensor there.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "train", purpose) from error
    try:
        torch.zeros(1, device=device).cpu()  # "meta" takes numbers, and keeps none
    except (AssertionError, ImportError, RuntimeError) as error:  # torch raises each of them
        why = str(error).partition("\n")[0]
        raise ConfigError(f"expected a device of this machine, got {given}: {why}") from error
