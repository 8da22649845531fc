"""`fit`: vectors of two towers and their pairs in, a `JointModel` out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from csrkit.errors import ConfigError, ShapeError
from csrkit.joint.config import JointConfig
from csrkit.joint.inputs import Inputs, as_affine, as_captions, as_matrix, as_pairs, as_words
from csrkit.tensors import check_device

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from csrkit.joint.model import JointModel

__all__ = ["checked_inputs", "fit", "resolved"]


def fit(
    text: ArrayLike,
    image: ArrayLike,
    pairs: ArrayLike | None = None,
    *,
    embeddings: ArrayLike | None = None,
    tokens: Sequence[str] | None = None,
    vocabulary: ArrayLike | None = None,
    captions: Sequence[Sequence[int]] | None = None,
    special: Iterable[int] = (),
    text_projection: Any = None,
    image_projection: Any = None,
    config: JointConfig | None = None,
    progress: bool = True,
) -> JointModel:
    """Fit a joint sparse-dense model to vectors of two frozen towers (arXiv 2508.16707).

    The towers are run once, beforehand: what they give is all that training reads. For a
    vision-language model give the vectors **before** its projections into the shared space,
    and these projections as starts; `csrkit.joint.encoders.TwoTower` takes both out of a
    checkpoint.

    Args:
        text: Numbers (n_texts, text_dim), vectors of the text tower, of any length.
        image: Numbers (n_images, image_dim), of the image tower.
        pairs: Whole numbers (m, 2), the rows of text and image that belong together; a text or
            an image may be in many. None: row i belongs to row i.
        embeddings: (v, width), word embeddings whose clone E starts from, such as those of the
            text encoder. None starts from random ones: as accurate, and harder to read.
        tokens: v strings, the words of these rows.
        vocabulary: Rows of embeddings to keep as latents, see `frequent_tokens`. None keeps all.
        captions: For each text the ids of its tokens, as rows of embeddings. They tie latents
            to words, by the start of the head and by expansion control: with them codes can
            be read. No model needs them afterwards.
        special: Ids among them that are no words, such as those of [CLS] and [SEP].
        text_projection: ``(weight (dim, text_dim), bias (dim,) or None)``, the text tower's own
            way into the shared space, as ``torch.nn.Linear`` keeps it. Give both or none.
        image_projection: Likewise of the image tower.
        config: Settings; by default ``JointConfig()``.
        progress: Whether to show a progress bar.

    Returns:
        The fitted model, needing numpy only from here on.

    Raises:
        ShapeError: If an input has the wrong shape or contents, or they do not fit each other.
        ConfigError: If settings contradict each other or the data, or training diverges.
        MissingExtra: If torch is not installed.
        KeyboardInterrupt: If interrupted before an epoch is through.

    Examples:
        >>> import numpy as np
        >>> from csrkit import joint
        >>> x = np.random.default_rng(0).normal(size=(64, 8))
        >>> config = joint.JointConfig(n_latents=32, width=8, epochs=1)
        >>> model = joint.fit(x, x + 0.1, config=config, progress=False)
        >>> bool(model.encode_text(x[:2], k=4).counts.max() <= 4)
        True
    """  # noqa: DOC502  # raised by helpers
    inputs, config = checked_inputs(
        text,
        image,
        pairs,
        embeddings=embeddings,
        tokens=tokens,
        vocabulary=vocabulary,
        captions=captions,
        special=special,
        text_projection=text_projection,
        image_projection=image_projection,
        config=config,
    )
    from csrkit.joint.run import run

    return run(inputs, resolved(config, inputs), progress=progress)


def checked_inputs(
    text: ArrayLike,
    image: ArrayLike,
    pairs: ArrayLike | None,
    *,
    embeddings: ArrayLike | None,
    tokens: Sequence[str] | None,
    vocabulary: ArrayLike | None,
    captions: Sequence[Sequence[int]] | None,
    special: Iterable[int],
    text_projection: Any,
    image_projection: Any,
    config: JointConfig | None,
) -> tuple[Inputs, JointConfig]:
    """Check everything that `fit` is given, before any work.

    Args:
        text: As for `fit`.
        image: As for `fit`.
        pairs: As for `fit`.
        embeddings: As for `fit`.
        tokens: As for `fit`.
        vocabulary: As for `fit`.
        captions: As for `fit`.
        special: As for `fit`.
        text_projection: As for `fit`.
        image_projection: As for `fit`.
        config: As for `fit`.

    Returns:
        The inputs in one form, and the config, not yet resolved.

    Raises:
        ShapeError: As for `fit`.
        ConfigError: As for `fit`.
        MissingExtra: If torch is not installed.
    """  # noqa: DOC502  # raised by helpers
    config = JointConfig() if config is None else config
    _check_config(config)
    texts, images = as_matrix("text", text), as_matrix("image", image)
    words = as_words(embeddings, tokens, vocabulary, config)
    inputs = Inputs(
        text=texts,
        image=images,
        pairs=as_pairs(pairs, len(texts), len(images)),
        words=words,
        captions=as_captions(captions, special, words, len(texts), config),
        text_projection=as_affine("text_projection", text_projection, texts.shape[1]),
        image_projection=as_affine("image_projection", image_projection, images.shape[1]),
    )
    return inputs, config


def _check_config(config: JointConfig) -> None:
    """Refuse other types, a missing torch, and devices that this machine has not."""
    if not isinstance(config, JointConfig):
        raise ConfigError(f"expected config=JointConfig(...), got {type(config).__name__}")
    check_device(config.device, f"JointConfig(device={config.device!r})", "csrkit.joint.fit")


def resolved(config: JointConfig, inputs: Inputs) -> JointConfig:
    """Decide the adapter, the width of the shared space, and where the head starts.

    Args:
        config: Settings.
        inputs: Checked inputs.

    Returns:
        Settings whose adapter, dim and head_start are decided.

    Raises:
        ConfigError: If they contradict each other or the inputs.
        ShapeError: If a row is zero and the adapter leaves it so.
    """  # noqa: DOC502  # raised by helpers
    if config.head_start == "auto":
        start = "random" if inputs.captions is None else "captions"
        config = config.resolved(head_start=start)
    kind = _adapter(config, inputs)
    if kind == "projection":
        return config.resolved(adapter=kind, dim=_projected_dim(config, inputs))
    _check_shared_space(kind, config, inputs)
    return config.resolved(adapter=kind, dim=inputs.text.shape[1])


def _adapter(config: JointConfig, inputs: Inputs) -> str:
    """Decide the adapter, and refuse projections that nothing would start from."""
    text, image = inputs.text_projection, inputs.image_projection
    if (text is None) != (image is None):
        one = "text_projection" if image is None else "image_projection"
        raise ConfigError(f"expected both projections or none, got {one} alone")
    if config.adapter == "auto":
        width = inputs.text.shape[1]
        same = inputs.image.shape[1] == width and config.dim in (None, width)
        return "residual" if text is None and same else "projection"
    if config.adapter != "projection" and text is not None:
        raise ConfigError(
            f"expected adapter='projection' to start from text_projection, got {config.adapter!r}"
        )
    return config.adapter


def _check_shared_space(kind: str, config: JointConfig, inputs: Inputs) -> None:
    """Refuse sides that share no space, and rows that have no place in it."""
    widths = inputs.text.shape[1], inputs.image.shape[1]
    if widths[0] != widths[1] or config.dim not in (None, widths[0]):
        raise ConfigError(
            f"expected sides of one width, and dim None or that width, for adapter={kind!r}, "
            f"got texts of {widths[0]}, images of {widths[1]}, dim={config.dim}"
        )
    for name, rows in (("text", inputs.text), ("image", inputs.image)):
        empty = ~rows.any(axis=1)
        if empty.any():
            raise ShapeError(
                f"expected rows with a direction for adapter={kind!r}, which has no bias, "
                f"got {name} row {int(empty.argmax())} all zeros"
            )


def _projected_dim(config: JointConfig, inputs: Inputs) -> int:
    """Decide the width of the space that projections lead to."""
    text, image = inputs.text_projection, inputs.image_projection
    if text is None or image is None:
        return config.dim or min(256, inputs.text.shape[1], inputs.image.shape[1])
    dims = {len(text.bias), len(image.bias), config.dim or len(text.bias)}
    if len(dims) > 1:
        raise ConfigError(
            f"expected projections into one space, got a text_projection of dim "
            f"{len(text.bias)}, an image_projection of dim {len(image.bias)} and "
            f"JointConfig(dim={config.dim})"
        )
    return len(text.bias)
