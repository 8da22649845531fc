"""What callers hold numbers in, seen from numpy: arrays, lists, frames, tensors; devices.

Torch is not imported for it. What numpy would read in silence as something else is refused:
entries under a mask, sparse matrices, texts that spell numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ConfigError, MissingExtra, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "as_array",
    "as_numbers",
    "check_dense",
    "check_device",
    "is_tensor",
    "is_whole",
    "on_cpu",
    "tensor_to_numpy",
]

# Any in this file is a tensor, or whatever may be one: torch may not be installed.


def is_whole(number: object) -> bool:
    """Tell whole numbers, numpy's too, from the rest and from booleans.

    Args:
        number: Anything.

    Returns:
        True for a whole number.
    """
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def as_numbers(value: Any, label: str) -> NDArray[Any]:
    """Read real numbers from whatever holds them.

    Args:
        value: An array, lists, a data frame, a tensor or a list of tensors.
        label: What an error calls it, such as "embeddings".

    Returns:
        An array of floats or integers, of any shape; a view where there can be one.

    Raises:
        ShapeError: If it holds anything else, its rows differ in width, or it is
            sparse, masked or without data.
    """
    array = value if type(value) is np.ndarray else as_array(value, label)
    if array.dtype.kind not in "fiu":
        raise ShapeError(f"expected {label} to be real numbers, got {_instead(array)}")
    return array


def as_array(value: Any, label: str) -> NDArray[Any]:
    """Read an array of any dtype from whatever holds one; as `as_numbers`.

    Args:
        value: An array, lists, a data frame, a tensor or a list of tensors.
        label: What an error calls it.

    Returns:
        The array; a view where there can be one.

    Raises:
        ShapeError: If its rows differ in width, or it is sparse, masked or without data.
    """
    if is_tensor(value):
        return tensor_to_numpy(value)
    if isinstance(value, np.memmap):
        return value  # its base would not tell that it is one
    if np.ma.is_masked(value):  # numpy would read what lies under the mask
        hidden = np.count_nonzero(np.ma.getmask(value))
        raise ShapeError(
            f"expected {label} without masked entries, got {hidden} of {value.size} masked: "
            "leave their rows out, or fill them"
        )
    if hasattr(value, "indptr") or hasattr(value, "tocsr"):
        raise ShapeError(_sparse(value, label))
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError) as error:  # tensors in a list, which numpy does not read
        if not isinstance(value, list | tuple) or not any(map(is_tensor, value)):
            raise ShapeError(_unreadable(value, label, error)) from error
        return as_array([tensor_to_numpy(one) if is_tensor(one) else one for one in value], label)
    except ValueError as error:
        raise ShapeError(_unreadable(value, label, error)) from error


def _instead(array: NDArray[Any]) -> str:
    """Say what came in the place of numbers, and what to do about it."""
    got = f"{array.dtype} of shape {array.shape}"
    first = array.flat[0] if array.size else None
    if array.dtype.kind not in "OSU":
        return got
    if isinstance(first, str | bytes):
        return f"{got}: texts are to be embedded first, and files to be read"
    if array.ndim == 0:
        return f"{type(first).__name__}"
    if array.ndim == 1 and hasattr(first, "__len__"):
        return f"{got}, a list of vectors: np.stack(list(...)) makes an array of them"
    return f"{got}: convert it first, such as by .astype('float32')"


def _sparse(value: Any, label: str) -> str:
    if hasattr(value, "tocsr"):
        return f"expected dense {label}, got the sparse {type(value).__name__}: pass .toarray()"
    return (
        f"expected dense {label}, got {type(value).__name__}, which are codes: "
        "pass the embeddings that they were made of"
    )


def _unreadable(value: Any, label: str, error: Exception) -> str:
    if isinstance(value, list | tuple):
        widths = [_width(row) for row in value]
        odd = next((i for i, width in enumerate(widths) if width != widths[0]), None)
        if odd is not None:
            return (
                f"expected {label} with rows of one width, got row 0 with {widths[0]} numbers "
                f"and row {odd} with {widths[odd]}"
            )
    return f"expected {label} as an array, got {type(value).__name__}: {error}"


def _width(row: Any) -> Any:
    if getattr(row, "ndim", 0) > 1:
        return tuple(row.shape)
    try:
        return len(row)
    except TypeError:  # a number
        return 1


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
        ShapeError: As `check_dense`.
    """  # noqa: DOC502  # raised by `check_dense`
    check_dense(tensor)
    host = tensor.detach().cpu()
    try:
        return np.asarray(host.numpy(force=True))
    except TypeError:  # numpy has no bfloat16; float32 holds every one exactly
        return np.asarray(host.float().numpy(force=True))


def check_dense(tensor: Any) -> None:
    """Refuse a tensor whose numbers do not lie row by row in memory.

    Args:
        tensor: torch tensor on any device.

    Raises:
        ShapeError: If it is sparse, nested, quantised, or of the device "meta".
    """
    if tensor.is_meta or tensor.is_nested:
        kind = "device meta, which holds no numbers" if tensor.is_meta else "rows of any width"
    elif tensor.is_quantized:
        kind = "quantised numbers: pass .dequantize()"
    elif "strided" not in str(tensor.layout):
        kind = f"layout {tensor.layout}: pass .to_dense()"
    else:
        return
    raise ShapeError(f"expected a dense tensor, got one of {kind}")


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
    except (AssertionError, ImportError, RuntimeError, TypeError) as error:  # torch raises each
        why = str(error).partition("\n")[0]
        raise ConfigError(f"expected a device of this machine, got {given}: {why}") from error
