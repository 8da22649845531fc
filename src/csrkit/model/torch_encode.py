"""The torch path of `CSRModel.encode`: same latents, on a GPU.

It runs on a CPU, too, where the numpy path is twice as fast: there only tests call it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ShapeError
from csrkit.model.rows import as_rows, join_codes, refuse_rows
from csrkit.tensors import check_dense, check_device
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from csrkit.model.codec import CSRModel

BLOCK_ENTRIES = 1 << 25  # pre-activations held at a time: 128 MB of float32


def encode(model: CSRModel, embeddings: Any, k: int, device: str | None) -> SparseVectors:
    """Encode a tensor, or an array on a device; see `CSRModel.encode`.

    Args:
        model: The model.
        embeddings: Tensor or array of numbers, (n, dim).
        k: Latents per code.
        device: Torch device; by default the tensor's own.

    Returns:
        n codes, in numpy.

    Raises:
        ConfigError: If this machine has no such device.
        MissingExtra: If torch is not installed.
        ShapeError: As `CSRModel.encode`.
    """  # noqa: DOC502  # raised by helpers
    if device is not None:  # else the tensor is on one that there is
        call = f"encode(device={device!r})"
        check_device(device, call, call)
    import torch

    if not isinstance(embeddings, torch.Tensor):
        embeddings = as_rows(embeddings, model.dim)
        place = torch.device(device or "cpu")
    else:
        _check_tensor(embeddings, model.dim)
        embeddings = embeddings.detach()
        place = torch.device(device) if device is not None else embeddings.device
    weight, bias = (torch.tensor(a, device=place) for a in (model.encoder, model._bias))
    rows = max(1, BLOCK_ENTRIES // model.n_latents)
    with torch.inference_mode():
        blocks = [
            _encode_block(_tensor(embeddings[start : start + rows]), start, weight, bias, k)
            for start in range(0, len(embeddings), rows)
        ]
    return join_codes(iter(blocks), model.n_latents)


def _check_tensor(embeddings: Any, dim: int) -> None:
    import torch

    check_dense(embeddings)
    if embeddings.is_complex() or embeddings.dtype == torch.bool:
        raise ShapeError(f"expected embeddings of numbers, got dtype {embeddings.dtype}")
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        raise ShapeError(
            f"expected embeddings of shape (n, {dim}), got {tuple(embeddings.shape)}: "
            f"this model was fitted on {dim} dimensions"
        )


def _tensor(rows: Any) -> Any:
    """Return a block as a tensor; arrays are copied: torch wants them writable and native."""
    import torch

    if isinstance(rows, torch.Tensor):
        return rows
    keep = rows.dtype in (np.float16, np.float32, np.float64)
    return torch.from_numpy(np.array(rows, dtype=rows.dtype if keep else np.float64))


def _encode_block(part: Any, start: int, weight: Any, bias: Any, k: int) -> tuple[Any, Any, Any]:
    import torch

    wide = part.to(weight.device, torch.float64)
    peak = wide.abs().amax(dim=1, keepdim=True)  # squares of float64 can overflow, too
    refuse_rows(~peak.isfinite().cpu().numpy()[:, 0], (peak == 0).cpu().numpy()[:, 0], start)
    wide = wide / peak
    unit = torch.nn.functional.normalize(wide, dim=1).to(torch.float32)
    pre = torch.addmm(bias, unit, weight.T)
    top = torch.topk(pre, min(k + 1, pre.shape[1]), dim=1)
    values, indices = top.values[:, :k], top.indices[:, :k]
    # torch breaks ties as it likes: where the next value equals the last one kept, take
    # the lowest indices among those equal to it, as numpy does
    if bool((top.values[:, k:] == top.values[:, k - 1 : k]).any()):
        order = torch.sort(pre, dim=1, descending=True, stable=True)
        values, indices = order.values[:, :k], order.indices[:, :k]
    indices, position = indices.sort(dim=1)
    values = values.gather(1, position)
    fires = values >= torch.finfo(torch.float32).tiny
    counts = fires.sum(dim=1).cpu().numpy()
    return counts, indices[fires].to(torch.int32).cpu().numpy(), values[fires].cpu().numpy()
