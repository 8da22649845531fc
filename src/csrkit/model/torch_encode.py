"""The torch path of `CSRModel.encode`: same latents, on whatever device the tensor is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import MissingExtra, ShapeError
from csrkit.model.codec import as_rows, join_codes
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
        MissingExtra: If torch is not installed.
        ShapeError: As `CSRModel.encode`.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "train", f"encode(device={device!r})") from error
    if not isinstance(embeddings, torch.Tensor):
        embeddings = torch.from_numpy(np.ascontiguousarray(as_rows(embeddings, model.dim)))
    if embeddings.ndim != 2 or embeddings.shape[1] != model.dim or embeddings.is_complex():
        raise ShapeError(
            f"expected embeddings of shape (n, {model.dim}), got {embeddings.dtype} of shape "
            f"{tuple(embeddings.shape)}: this model was fitted on {model.dim} dimensions"
        )
    place = torch.device(device) if device is not None else embeddings.device
    weight, bias = (torch.tensor(a, device=place) for a in (model.encoder, model._bias))
    rows = max(1, BLOCK_ENTRIES // model.n_latents)
    with torch.inference_mode():
        blocks = [
            _encode_block(part, start, weight, bias, k)
            for start, part in zip(
                range(0, len(embeddings), rows), embeddings.detach().split(rows), strict=False
            )
        ]
    return join_codes(iter(blocks), model.n_latents)


def _encode_block(part: Any, start: int, weight: Any, bias: Any, k: int) -> tuple[Any, Any, Any]:
    import torch

    wide = part.to(weight.device, torch.float64)
    norms = torch.linalg.vector_norm(wide, dim=1)
    bad = (~torch.isfinite(norms) | (norms == 0)).nonzero()
    if len(bad):
        row = int(bad[0])
        what = "all zeros" if norms[row] == 0 else "NaN or Inf in it"
        raise ShapeError(f"expected finite, non-zero embeddings, got row {start + row} with {what}")
    unit = (wide / norms[:, None]).to(torch.float32)
    pre = torch.addmm(bias, unit, weight.T)
    values, indices = torch.topk(pre, k, dim=1)
    # torch breaks ties as it likes: count the entries above the k-th value, and
    # fill up with the lowest indices among those equal to it, as numpy does
    last = values[:, -1:]
    if bool(((pre >= last).sum(dim=1) > k).any()):
        order = torch.sort(pre, dim=1, descending=True, stable=True)
        values, indices = order.values[:, :k], order.indices[:, :k]
    indices, position = indices.sort(dim=1)
    values = values.gather(1, position)
    fires = values >= torch.finfo(torch.float32).tiny
    counts = fires.sum(dim=1).cpu().numpy()
    return counts, indices[fires].to(torch.int32).cpu().numpy(), values[fires].cpu().numpy()
