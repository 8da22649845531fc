"""From checked inputs to a model: start the weights, train, and freeze them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from csrkit import __version__
from csrkit.errors import ConfigError
from csrkit.joint.config import JointConfig
from csrkit.joint.inputs import Inputs, Words
from csrkit.joint.loop import JointModule, Precomputed, Trained, train
from csrkit.joint.model import JointModel
from csrkit.joint.modules import Adapter, LexicalHead, Projection, Residual, Standard
from csrkit.joint.spec import JointProvenance, JointSpec
from csrkit.joint.start import Affine, cca, pca, towards_words, whitened

__all__ = ["adapters", "build", "freeze", "run", "split"]

SAMPLE = 1024  # texts that the scale of random word embeddings is fitted on
MOST_PAIRS = 65_536  # that the start of the head is fitted on


def run(
    inputs: Inputs,
    config: JointConfig,
    *,
    progress: bool,
    towers: tuple[torch.nn.Module, torch.nn.Module] | None = None,
) -> JointModel:
    """Train one model.

    Args:
        inputs: Checked inputs.
        config: Settings with adapter and dim resolved.
        progress: Whether to show a progress bar.
        towers: Modules from row numbers to vectors, trained along where their parameters say
            so; None takes the vectors of the inputs as they are.

    Returns:
        The model.
    """
    generator = torch.Generator().manual_seed(config.seed)
    kept, held_out = split(inputs.pairs, config)
    if towers is None:
        towers = Precomputed(_tensor(inputs.text)), Precomputed(_tensor(inputs.image))
    module = build(inputs, kept, config, towers, generator)
    trained = train(
        module,
        torch.from_numpy(kept),
        config,
        generator,
        held_out=None if held_out is None else torch.from_numpy(held_out),
        captions=inputs.captions,
        progress=progress,
    )
    return freeze(module, inputs, len(kept), config, trained)


def split(
    pairs: NDArray[np.int64], config: JointConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Keep the pairs of some images out of training.

    Args:
        pairs: int64 (m, 2).
        config: Its ``holdout`` and ``seed``.

    Returns:
        The pairs to train on, and those of the held-out images. A text of both kinds of
        images is dropped from training; None if nothing is held out.

    Raises:
        ConfigError: If fewer than two pairs are left.
    """
    images = np.unique(pairs[:, 1])
    count = min(config.holdout, len(images) // 10)
    if not count:
        return pairs, None
    drawn = np.random.default_rng(config.seed).choice(images, count, replace=False)
    out = np.isin(pairs[:, 1], drawn)
    kept = pairs[~out & ~np.isin(pairs[:, 0], pairs[out, 0])]
    if len(kept) < 2:
        raise ConfigError(
            f"expected two or more pairs to train on, got {len(kept)} of {len(pairs)} beside the "
            f"held-out images: lower JointConfig(holdout={config.holdout})"
        )
    return kept, pairs[out]


def build(
    inputs: Inputs,
    pairs: NDArray[np.int64],
    config: JointConfig,
    towers: tuple[torch.nn.Module, torch.nn.Module],
    generator: torch.Generator,
) -> JointModule:
    """Stand at the start of a training.

    Args:
        inputs: Vectors, words and projections.
        pairs: int64 (m, 2), the training pairs, which projections start from.
        config: Settings with adapter and dim resolved.
        towers: Modules from row numbers to vectors.
        generator: Source of randomness, on the CPU.

    Returns:
        The module, on the config's device, with ``requires_grad`` off for what stays.
    """
    assert config.dim is not None  # resolved by the caller
    text, image = adapters(inputs, pairs, config, generator)
    words = inputs.words.embeddings
    std = config.logit_std
    if words is None:
        shape = (len(inputs.words.tokens), config.width)
        start = torch.randn(*shape, generator=generator)
        std = 1.0 if std is None else std
    else:
        start = _tensor(whitened(words) if config.whiten else words)
    head = LexicalHead(config.dim, start, biased=config.latent_bias, generator=generator)
    if config.head_start == "captions":
        head.start_at_(_by_captions(inputs, pairs, (text, image), start))
    module = JointModule(*towers, text, image, head, config.temperature)
    if std is not None:
        some = torch.from_numpy(pairs[:SAMPLE, 0])
        with torch.no_grad():
            head.fit_scale_(module.encode_text(some).dense, std)
    if not config.trains_adapters:
        for part in (text, image, *towers):
            part.requires_grad_(False)
    if config.adapter == "identity":
        text.requires_grad_(False)
        image.requires_grad_(False)
    return module.to(config.device)


def adapters(
    inputs: Inputs, pairs: NDArray[np.int64], config: JointConfig, generator: torch.Generator
) -> tuple[Adapter, Adapter]:
    """Make the two adapters at their starts.

    Args:
        inputs: Vectors and given projections.
        pairs: int64 (m, 2), the training pairs.
        config: Settings with adapter and dim resolved.
        generator: Source of randomness, on the CPU.

    Returns:
        Those of text and image.
    """
    dim = config.dim
    assert dim is not None  # resolved by the caller
    if config.adapter == "residual":
        return Residual(dim, config.rank, generator), Residual(dim, config.rank, generator)
    if config.adapter == "identity":
        one = Affine(np.eye(dim, dtype=np.float32), np.zeros(dim, np.float32))
        return Projection(one), Projection(one)
    if inputs.text_projection is not None and inputs.image_projection is not None:
        return Projection(inputs.text_projection), Projection(inputs.image_projection)
    text, image = inputs.text[pairs[:, 0]], inputs.image[pairs[:, 1]]
    starts = (cca if config.start == "cca" else pca)(text, image, dim)
    return (
        Projection(starts[0], _standard(inputs.text, centred=config.start == "cca")),
        Projection(starts[1], _standard(inputs.image, centred=config.start == "cca")),
    )


def _by_captions(
    inputs: Inputs, pairs: NDArray[np.int64], into: tuple[Adapter, Adapter], embeddings: Tensor
) -> Affine:
    """Find the way to the words of the captions from the middle of each pair."""
    assert inputs.captions is not None  # checked with the config
    some = pairs[:: -(-len(pairs) // MOST_PAIRS)]
    with torch.no_grad():
        text, image = (
            functional.normalize(adapter(torch.from_numpy(rows[which])), dim=1)
            for adapter, rows, which in zip(into, (inputs.text, inputs.image), some.T, strict=True)
        )
    middle = ((text + image) / 2).numpy()
    return towards_words(middle, inputs.captions[some[:, 0]], embeddings.numpy())


def _standard(rows: NDArray[np.float32], *, centred: bool) -> Standard:
    wide = rows.astype(np.float64)  # squares stay in range
    mean = wide.mean(axis=0) if centred else np.zeros(rows.shape[1])
    scale = float(np.sqrt(np.square(wide - mean).mean()))
    return Standard(torch.from_numpy(mean.astype(np.float32)), max(scale, 1e-30))


def freeze(
    module: JointModule, inputs: Inputs, pairs: int, config: JointConfig, trained: Trained
) -> JointModel:
    """Take a model out of its trained weights.

    Args:
        module: The weights.
        inputs: What they were trained on.
        pairs: Pairs trained on.
        config: Resolved settings.
        trained: Which weights they are.

    Returns:
        The model.
    """
    words: Words = inputs.words
    text, image, head = module.text_adapter.affine(), module.image_adapter.affine(), module.head
    spec = JointSpec(
        text_dim=text.weight.shape[1],
        image_dim=image.weight.shape[1],
        dim=len(text.bias),
        width=head.embeddings.shape[1],
        n_latents=len(head.embeddings),
        temperature=round(module.temperature.item(), 9),
        dense_weight=config.dense_weight,
        sparse_weight=config.sparse_weight,
        provenance=JointProvenance(
            csrkit=__version__,
            texts=len(inputs.text),
            images=len(inputs.image),
            pairs=pairs,
            steps=trained.steps,
            hit_rate=trained.hit_rate,
            fit=config.model_dump(mode="json"),
        ),
    )
    return JointModel(
        spec=spec,
        tokens=words.tokens,
        token_ids=words.token_ids,
        text_weight=text.weight,
        text_bias=text.bias,
        image_weight=image.weight,
        image_bias=image.bias,
        head_weight=_numpy(head.weight),
        head_bias=_numpy(head.bias),
        norm_weight=_numpy(head.norm.weight),
        norm_bias=_numpy(head.norm.bias),
        embeddings=_numpy(head.embeddings),
        latent_bias=_numpy(head.latent_bias),
    )


def _tensor(array: NDArray[np.float32]) -> Tensor:
    """Share the memory of an array; torch warns of what may not be written to."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _numpy(parameter: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = parameter.detach().cpu().numpy()
    return array
