"""`TwoTower`: a vision-language checkpoint of Hugging Face as the two towers of a joint model.

::

    BlipForImageTextRetrieval   [CLS] of both towers, text_proj and vision_proj
    CLIPModel                   pooled outputs, text_projection and visual_projection
    SiglipModel                 last token of the text and its head; pooled image, no projection

It takes tensors that a processor made, and reads no pictures. ALBEF is not in transformers: bring
its vectors before the projections as arrays, and the projections, to `csrkit.joint.fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from csrkit.errors import ConfigError, FormatError, MissingExtra, ShapeError
from csrkit.joint.fitting import checked_inputs, resolved
from csrkit.joint.start import Affine

try:
    import torch
    from torch import Tensor
except ImportError as missing:
    raise MissingExtra("torch", "joint", "csrkit.joint.encoders") from missing

from csrkit.joint.towers import (
    Module,
    Tail,
    Tower,
    as_numpy,
    image_inputs,
    text_inputs,
    vectors_of,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.joint.config import JointConfig
    from csrkit.joint.model import JointModel

    Floats = NDArray[np.float32]

__all__ = ["Freeze", "TwoTower"]

Freeze: TypeAlias = Literal["proj", "last_layer"]


def _first(output: Any) -> Tensor:
    return output.last_hidden_state[:, 0]  # type: ignore[no-any-return]


def _last(output: Any) -> Tensor:
    return output.last_hidden_state[:, -1]  # type: ignore[no-any-return]


def _pooled(output: Any) -> Tensor:
    return output.pooler_output  # type: ignore[no-any-return]


def _blip(model: Module) -> tuple[Tower, Tower]:
    return (
        Tower(model.text_encoder, _first, model.text_proj),
        Tower(model.vision_model, _first, model.vision_proj, ("post_layernorm",)),
    )


def _clip(model: Module) -> tuple[Tower, Tower]:
    return (
        Tower(model.text_model, _pooled, model.text_projection, ("final_layer_norm",)),
        Tower(model.vision_model, _pooled, model.visual_projection, ("post_layernorm",)),
    )


def _siglip(model: Module) -> tuple[Tower, Tower]:
    text, image = model.text_model, model.vision_model
    return (
        Tower(text, _last, text.head, ("final_layer_norm",)),
        Tower(image, _pooled, None, ("post_layernorm", "head")),
    )


_KINDS: dict[str, Callable[[Module], tuple[Tower, Tower]]] = {
    "BlipForImageTextRetrieval": _blip,
    "CLIPModel": _clip,
    "SiglipModel": _siglip,
}
_OF_TYPE = {"blip": "BlipForImageTextRetrieval", "clip": "CLIPModel", "siglip": "SiglipModel"}


class TwoTower:
    """A checkpoint split into its towers, their projections and its word embeddings.

    Args:
        model: A ``BlipForImageTextRetrieval``, ``CLIPModel`` or ``SiglipModel``. It is put into
            evaluation mode; `fit` with ``freeze="last_layer"`` changes its last layers.

    Raises:
        ConfigError: If the model is of another class.

    Examples:
        >>> towers = TwoTower.from_pretrained("blip-itm-base-coco/")         # doctest: +SKIP
        >>> model = towers.fit(tokens, pixel_values, pairs, freeze="proj")    # doctest: +SKIP
    """

    def __init__(self, model: Module) -> None:
        kind = type(model).__name__
        if kind not in _KINDS:
            raise ConfigError(
                f"expected one of {', '.join(_KINDS)}, got a {kind}: bring its vectors as arrays "
                "to csrkit.joint.fit"
            )
        self.model = model.eval()
        self._text, self._image = _KINDS[kind](model)

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> TwoTower:
        """Load a checkpoint from a local folder or the Hugging Face hub.

        Args:
            name: The folder, or "organisation/name".
            **options: Passed to ``from_pretrained`` of transformers, such as ``revision`` or
                ``local_files_only``.

        Returns:
            The towers.

        Raises:
            ConfigError: If it is a checkpoint of another architecture.
            FormatError: If there is no checkpoint, or none that can be read.
            MissingExtra: If transformers is not installed.
        """  # noqa: DOC502  # raised by helpers
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("transformers", "joint", "TwoTower.from_pretrained") from error
        config = _read(transformers.AutoConfig, name, options)
        if config.model_type not in _OF_TYPE:
            raise ConfigError(
                f"expected a checkpoint of {', '.join(_OF_TYPE)}, got {name} of "
                f"type {config.model_type!r}: bring its vectors as arrays to csrkit.joint.fit"
            )
        return cls(_read(getattr(transformers, _OF_TYPE[config.model_type]), name, options))

    # -- what csrkit.joint.fit takes ----------------------------------------------

    @property
    def text_projection(self) -> Affine:
        """The text tower's way into the shared space, as the checkpoint has it."""
        return _affine(self._text, self.model.config.text_config.hidden_size)

    @property
    def image_projection(self) -> Affine:
        """The image tower's way into the shared space; the identity for SigLIP."""
        return _affine(self._image, self.model.config.vision_config.hidden_size)

    @property
    def word_embeddings(self) -> Floats:
        """The text tower's word embeddings, float32 (vocabulary, width)."""
        return as_numpy(self._text.model.get_input_embeddings().weight)

    def text_vectors(self, inputs: Mapping[str, Tensor], *, batch_size: int = 64) -> Floats:
        """Run the text tower up to the vectors before its projection.

        Args:
            inputs: Tensors (n, length) of a tokenizer: ``input_ids`` and, where texts are padded,
                ``attention_mask``.
            batch_size: Texts at a time.

        Returns:
            float32 (n, width).

        Raises:
            ConfigError: If batch_size is no whole number from 1.
            ShapeError: If there are no ``input_ids`` of two dimensions, or none that the
                checkpoint has places and embeddings for.
        """  # noqa: DOC502  # raised by helpers
        ready = text_inputs(inputs, self.model.config.text_config)
        return vectors_of(self._text, ready, batch_size)

    def image_vectors(self, pixel_values: Tensor, *, batch_size: int = 64) -> Floats:
        """Run the image tower up to the vectors before its projection.

        Args:
            pixel_values: Tensor (n, channels, height, width) of an image processor.
            batch_size: Images at a time.

        Returns:
            float32 (n, width).

        Raises:
            ConfigError: If batch_size is no whole number from 1.
            ShapeError: If the tensor has not the checkpoint's channels, height and width.
        """  # noqa: DOC502  # raised by helpers
        ready = image_inputs(pixel_values, self.model.config.vision_config)
        return vectors_of(self._image, ready, batch_size)

    # -- training -------------------------------------------------------------------

    def fit(
        self,
        text: Mapping[str, Tensor],
        pixel_values: Tensor,
        pairs: ArrayLike | None = None,
        *,
        freeze: Freeze = "proj",
        tokens: Sequence[str] | None = None,
        vocabulary: ArrayLike | None = None,
        special: Sequence[int] = (),
        config: JointConfig | None = None,
        progress: bool = True,
    ) -> JointModel:
        """Train a joint model on a checkpoint's towers.

        Args:
            text: Tensors (n_texts, length) of a tokenizer; their ids serve expansion control.
            pixel_values: Tensor (n_images, channels, height, width).
            pairs: As for `csrkit.joint.fit`.
            freeze: "proj" trains the projections alone, on vectors made once: the same as
                `csrkit.joint.fit` of `text_vectors` and `image_vectors`. "last_layer" also
                trains the last layer of both towers, on its inputs made once, **in this
                checkpoint**: vectors of new texts and images are to be made by it afterwards.
            tokens: The words of the vocabulary, in order of their ids.
            vocabulary: Ids to keep as latents; None keeps all.
            special: Ids of special tokens, which are no words.
            config: Settings of the training.
            progress: Whether to show a progress bar.

        Returns:
            The model of the vectors that `text_vectors` and `image_vectors` give.

        Raises:
            ConfigError: If ``freeze`` is another, or settings contradict each other or the
                data.
            ShapeError: If the inputs do not fit each other.
        """
        from csrkit.joint.run import run

        if freeze not in ("proj", "last_layer"):
            raise ConfigError(f"expected freeze to be 'proj' or 'last_layer', got {freeze!r}")
        ids = text_inputs(text, self.model.config.text_config)
        pixels = image_inputs(pixel_values, self.model.config.vision_config)
        inputs, config = checked_inputs(
            self.text_vectors(ids),
            self.image_vectors(pixel_values),
            pairs,
            embeddings=self.word_embeddings,
            tokens=tokens,
            vocabulary=vocabulary,
            captions=_captions(ids),
            special=special,
            text_projection=self.text_projection,
            image_projection=self.image_projection,
            config=config,
        )
        config = resolved(config, inputs)
        if freeze == "proj":
            return run(inputs, config, progress=progress)
        with self._device_kept():
            tails = Tail(self._text, ids), Tail(self._image, pixels)
            model = run(inputs, config, progress=progress, towers=tails)
        return model

    def adopt_(self, model: JointModel) -> None:
        """Write a joint model's adapters into the checkpoint's projections.

        The checkpoint's own dense scores are then those of the model; save it with
        ``towers.model.save_pretrained``.

        Args:
            model: Fitted on this checkpoint's vectors.

        Raises:
            ConfigError: If the checkpoint has no place for an adapter or its bias.
            ShapeError: If an adapter is of another shape.
        """
        for name, tower, into in (
            ("text", self._text, Affine(model.text_weight, model.text_bias)),
            ("image", self._image, Affine(model.image_weight, model.image_bias)),
        ):
            _write_(tower, into, f"the {name} tower of this {type(self.model).__name__}")

    @contextmanager
    def _device_kept(self) -> Iterator[None]:
        """Bring the checkpoint back to where it was, whatever trained a part of it elsewhere."""
        before = next(self.model.parameters()).device
        wanted = [(p, p.requires_grad) for p in self.model.parameters()]
        try:
            yield
        finally:
            self.model.to(before)
            for parameter, flag in wanted:
                parameter.requires_grad_(flag)


def _read(kind: Any, name: str, options: Mapping[str, Any]) -> Any:
    """Read one class of transformers from a folder or the hub."""
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError) as error:  # transformers' own for whatever is not there
        raise FormatError(
            f"expected a local folder or hub name of a checkpoint, got {str(name)!r}: "
            + str(error).partition("\n")[0]
        ) from error


def _captions(inputs: Mapping[str, Tensor]) -> list[list[int]]:
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    real = torch.ones_like(ids) if mask is None else mask
    return [row[keep > 0].tolist() for row, keep in zip(ids, real, strict=True)]


def _affine(tower: Tower, width: int) -> Affine:
    if tower.projection is None:
        return Affine(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
    weight, bias = tower.projection.weight, tower.projection.bias
    none = torch.zeros(len(weight)) if bias is None else bias
    return Affine(as_numpy(weight), as_numpy(none))


@torch.no_grad()
def _write_(tower: Tower, into: Affine, where: str) -> None:
    linear = tower.projection
    if linear is None:
        raise ConfigError(f"expected a projection to write an adapter into, {where} has none")
    if linear.weight.shape != into.weight.shape:
        raise ShapeError(
            f"expected an adapter of shape {tuple(linear.weight.shape)} for {where}, "
            f"got {into.weight.shape}"
        )
    if linear.bias is None and np.abs(into.bias).max() > 0:
        raise ConfigError(
            f"expected an adapter without a bias, as {where} has no place for one: encode with "
            "the joint model"
        )
    linear.weight.copy_(torch.tensor(into.weight))
    if linear.bias is not None:
        linear.bias.copy_(torch.tensor(into.bias))
