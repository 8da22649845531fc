"""The training loop of a joint model: pairs in, the best weights so far in place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from csrkit.errors import ConfigError
from csrkit.joint import losses
from csrkit.joint.expansion import ExpansionControl
from csrkit.joint.modules import Adapter, Encoded, LexicalHead
from csrkit.training import sparsity
from csrkit.training.sparsity import QuadraticRamp

if TYPE_CHECKING:
    from csrkit.joint.config import JointConfig
    from csrkit.vectors import SparseVectors

__all__ = ["JointModule", "Precomputed", "Trained", "train"]

BLOCK = 256  # texts and images scored at a time while the hit rate is measured


class Precomputed(torch.nn.Module):
    """A tower that was run before: gives its vectors by row number.

    Args:
        rows: float (n, width).
    """

    def __init__(self, rows: Float[Tensor, "n width"]) -> None:
        super().__init__()
        self.rows: Tensor
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, numbers: Int[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """Return rows."""
        return self.rows[numbers]


class JointModule(torch.nn.Module):
    """Two towers, their adapters, the shared head and the temperature.

    Args:
        text_tower: From row numbers of texts, int64 (batch,), to vectors (batch, text_dim).
        image_tower: Likewise for images.
        text_adapter: Into the shared space.
        image_adapter: Likewise.
        head: From there to codes.
        temperature: Start of the learned one.
    """

    def __init__(
        self,
        text_tower: torch.nn.Module,
        image_tower: torch.nn.Module,
        text_adapter: Adapter,
        image_adapter: Adapter,
        head: LexicalHead,
        temperature: float,
    ) -> None:
        super().__init__()
        self.text_tower, self.image_tower = text_tower, image_tower
        self.text_adapter, self.image_adapter = text_adapter, image_adapter
        self.head = head
        self.temperature = torch.nn.Parameter(torch.tensor(temperature))

    def encode_text(self, rows: Int[Tensor, " batch"]) -> Encoded:
        """Encode texts by row number."""
        return self._encode(self.text_adapter(self.text_tower(rows)))

    def encode_image(self, rows: Int[Tensor, " batch"]) -> Encoded:
        """Encode images by row number."""
        return self._encode(self.image_adapter(self.image_tower(rows)))

    def _encode(self, adapted: Tensor) -> Encoded:
        dense = functional.normalize(adapted, dim=1)
        return Encoded(dense, self.head(dense))


class Trained(NamedTuple):
    """What a training leaves, beside the weights in place.

    Attributes:
        steps: Steps of the kept weights.
        hit_rate: Their sparse hit rate@1 on the held-out images, or None.
    """

    steps: int
    hit_rate: float | None


def train(
    model: JointModule,
    pairs: Int[Tensor, "pairs 2"],
    config: JointConfig,
    generator: torch.Generator,
    *,
    held_out: Int[Tensor, "held 2"] | None = None,
    captions: SparseVectors | None = None,
    progress: bool = False,
) -> Trained:
    """Train in place, and leave the weights of the best epoch.

    Args:
        model: The starting weights.
        pairs: Rows of text and image that belong together.
        config: Settings.
        generator: Source of randomness, on the CPU.
        held_out: Pairs of images that no training pair holds; None keeps the last weights.
        captions: The words of every text, for expansion control.
        progress: Whether to show a progress bar.

    Returns:
        Which weights were kept.

    Raises:
        ConfigError: If training diverges before an epoch is through.
        KeyboardInterrupt: If interrupted before an epoch is through.
    """
    size = min(config.batch_size, len(pairs))
    per_epoch = max(1, len(pairs) // size)
    total = config.epochs * per_epoch
    steps = _steps(model, _batches(pairs, size, generator), config, total, captions, generator)
    best, kept = Trained(0, None), None
    bar = tqdm(total=total, unit="step", desc="joint.fit", disable=not progress)
    try:
        with bar:
            for step, loss in enumerate(steps, start=1):
                bar.update()
                if step % per_epoch:
                    continue
                if not _is_finite(model):
                    return _diverged(model, kept, best, config, step)
                rate = None if held_out is None else hit_rate(model, held_out)
                if rate is None or best.hit_rate is None or rate >= best.hit_rate:
                    best, kept = Trained(step, rate), _copy(model)
                found = "" if rate is None else f", hit {rate:.3f}"
                bar.set_postfix_str(f"loss {loss.item():.3f}{found}")
    except KeyboardInterrupt:
        if kept is None:
            raise
        warnings.warn(
            f"joint.fit was interrupted: returning the weights of step {best.steps}", stacklevel=3
        )
    assert kept is not None  # there is at least one epoch
    model.load_state_dict(kept)
    return best


def _steps(
    model: JointModule,
    batches: Iterator[Tensor],
    config: JointConfig,
    total: int,
    captions: SparseVectors | None,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    """Train step by step, and yield the loss of each."""
    optimizer = _optimizer(model, config)
    control = ExpansionControl(config, captions, total, generator)
    ramp = max(1, round(config.ramp * total))
    text_ramp, image_ramp = (
        QuadraticRamp(weight, ramp) for weight in (config.text_penalty, config.image_penalty)
    )
    for step, batch in zip(range(total), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _rate(step, total, config.warmup)
        weights = text_ramp(step), image_ramp(step)
        loss = _loss(model, batch, config, control.mask(batch[:, 0], step), weights)
        _step(model, optimizer, loss)
        yield loss


def _loss(
    model: JointModule,
    batch: Tensor,
    config: JointConfig,
    mask: Tensor | None,
    penalties: tuple[float, float],
) -> Tensor:
    """Return half of the ranking losses and half of the regulariser, as released."""
    device = model.temperature.device
    text, image = model.encode_text(batch[:, 0]), model.encode_image(batch[:, 1])
    if mask is not None:
        text = text._replace(sparse=text.sparse * mask.to(device))
    positives = losses.shared_pairs(batch).to(device) if config.multi_positive else None
    ranking = losses.ranking_loss(text, image, model.temperature, config, positives)
    penalty = sparsity.l1 if config.regularizer == "l1" else sparsity.flops
    return (
        ranking + (penalties[0] * penalty(text.sparse) + penalties[1] * penalty(image.sparse)) / 2
    )


def _step(model: JointModule, optimizer: torch.optim.AdamW, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own stubs
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    losses.clamp_temperature_(model.temperature)


def _optimizer(model: JointModule, config: JointConfig) -> torch.optim.AdamW:
    """Group what is to be trained by its rate; only matrices decay."""
    words, head = [model.head.embeddings], [model.temperature]
    head += [p for p in model.head.parameters() if p is not model.head.embeddings]
    mine = {id(p) for p in (*words, *head)}
    towers = [p for p in model.parameters() if id(p) not in mine]
    rates = [config.embeddings_rate, config.head_rate, config.adapter_rate]
    groups = []
    for rate, parameters in zip(rates, (words, head, towers), strict=True):
        for decays in (True, False):
            chosen = [p for p in parameters if p.requires_grad and (p.ndim > 1) == decays]
            if chosen:
                decay = config.weight_decay if decays else 0.0
                groups.append({"params": chosen, "peak": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def _rate(step: int, total: int, warmup: float) -> float:
    """Return the share of the peak rate at a step from 0: up, then down to zero, linearly."""
    rise = max(1.0, warmup * total)
    return min((step + 1) / rise, (total - step) / max(1.0, total - rise), 1.0)


def _batches(pairs: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield full batches for ever, in a new order on each pass."""
    while True:
        order = torch.randperm(len(pairs), generator=generator)
        for start in range(0, len(pairs) - size + 1, size):
            yield pairs[order[start : start + size]]


@torch.no_grad()
def hit_rate(model: JointModule, pairs: Int[Tensor, "pairs 2"]) -> float:
    """Measure how often the image of highest sparse score is one of a text's own.

    Args:
        model: The weights.
        pairs: Texts and images; every image of them is a candidate.

    Returns:
        Mean over the texts, in [0, 1].
    """
    images = torch.unique(pairs[:, 1])
    stored = torch.cat([model.encode_image(part).sparse for part in images.split(BLOCK)])
    own = {(int(text), int(image)) for text, image in pairs}
    hits = texts = 0
    for part in torch.unique(pairs[:, 0]).split(BLOCK):
        scores = model.encode_text(part).sparse @ stored.T
        best = images[scores.argmax(dim=1).cpu()]
        hits += sum(pair in own for pair in zip(part.tolist(), best.tolist(), strict=True))
        texts += len(part)
    return hits / texts


def _is_finite(model: JointModule) -> bool:
    # the two factors of a residual adapter may be finite, and their product not
    maps = (part for one in (model.text_adapter, model.image_adapter) for part in one.affine())
    weights = (bool(p.isfinite().all()) for p in model.parameters())
    return all(weights) and all(bool(np.isfinite(part).all()) for part in maps)


def _copy(model: JointModule) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _diverged(
    model: JointModule,
    kept: dict[str, Tensor] | None,
    best: Trained,
    config: JointConfig,
    step: int,
) -> Trained:
    """Go back to the last epoch that was fine; refuse the settings if there is none."""
    rates = (
        f"JointConfig(head_rate={config.head_rate:g}, embeddings_rate="
        f"{config.embeddings_rate:g}, adapter_rate={config.adapter_rate:g})"
    )
    if kept is None:
        raise ConfigError(f"training diverged by step {step}: lower {rates}")
    model.load_state_dict(kept)
    warnings.warn(
        f"training diverged by step {step}: returning the weights of step {best.steps}; "
        f"lower {rates}",
        stacklevel=4,
    )
    return best
