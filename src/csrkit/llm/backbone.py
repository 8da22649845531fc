"""`Backbone`: a causal language model that reads in both directions, and its tokenizer.

Transformers builds a bidirectional mask where ``config.is_causal`` is False (from 5.2 on). Not
every model heeds it: `csrkit.llm.probing` looks whether this one does.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from torch import Tensor

from csrkit.errors import ConfigError, FormatError
from csrkit.tensors import check_device

__all__ = ["Backbone", "Tokens", "load_backbone"]

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, ImportError)  # what transformers raises


class Tokens(NamedTuple):
    """A padded batch of token ids.

    Attributes:
        ids: int64 (batch, length).
        mask: bool (batch, length), True where there is a token.
    """

    ids: Int[Tensor, "batch length"]
    mask: Bool[Tensor, "batch length"]

    def to(self, device: torch.device) -> Tokens:
        """Return the batch on a device."""
        return Tokens(self.ids.to(device), self.mask.to(device))


@dataclass(frozen=True, eq=False)
class Backbone:
    """A language model with bidirectional attention, as `load_backbone` makes it.

    Attributes:
        model: A ``PreTrainedModel`` with a language-model head.
        tokenizer: Its ``PreTrainedTokenizerFast``.
        factor: What the model multiplies its logits by, 1 for most.
    """

    model: Any  # transformers is too dynamic to type: AutoModelForCausalLM makes hundreds
    tokenizer: Any
    factor: float = 1.0

    @property
    def dim(self) -> int:
        """Width of the hidden states."""
        return int(self.weight.shape[1])

    @property
    def vocabulary(self) -> int:
        """Width of the language-model head; a few more than the tokenizer's tokens at times."""
        return int(self.weight.shape[0])

    @property
    def weight(self) -> Float[Tensor, "vocabulary dim"]:
        """Rows of the language-model head."""
        weight: Tensor = self.model.get_output_embeddings().weight
        return weight

    @property
    def bias(self) -> Float[Tensor, " vocabulary"] | None:
        """Bias of the language-model head; Llamas have none."""
        bias: Tensor | None = getattr(self.model.get_output_embeddings(), "bias", None)
        return bias

    @property
    def context(self) -> int | None:
        """Most tokens that the model was made for; None if it does not say."""
        found = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(found) if found else None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weight.device

    def tokenize(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """Split texts into token ids, with the special tokens that the tokenizer adds.

        Args:
            texts: Any number of texts.
            length: Most tokens per text; what is beyond is cut off.

        Returns:
            One list of ids per text; it may be empty.
        """
        if not texts:
            return []
        found = self.tokenizer(list(texts), truncation=True, max_length=length)
        ids: list[list[int]] = found["input_ids"]
        return ids

    def pad(self, rows: Sequence[Sequence[int]]) -> Tokens:
        """Make a rectangle of token ids, padded on the right, where the weights are.

        Args:
            rows: Token ids, one or more rows; a row may be empty.

        Returns:
            The batch. The id under the mask does not matter.
        """
        width = max(1, *map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.int64)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.as_tensor(tokens, dtype=torch.int64)
            mask[row, : len(tokens)] = True
        return Tokens(ids, mask).to(self.device)

    def finish(
        self, logits: Float[Tensor, "rows vocabulary"], factor: float | None = None
    ) -> Float[Tensor, "rows vocabulary"]:
        """Do what the model does to products of states and rows of its head: scale and soft cap.

        A rising function, so it may come before a maximum over positions or after it.

        Args:
            logits: Products, with the bias.
            factor: In the place of the model's own.

        Returns:
            The logits that the model gives; what is -inf stays so.
        """
        scaled = (self.factor if factor is None else factor) * logits
        config = self.model.config.get_text_config()
        cap: float | None = getattr(config, "final_logit_softcapping", None)
        if cap is None:
            return scaled
        return (cap * torch.tanh(scaled / cap)).masked_fill(scaled == -torch.inf, -torch.inf)

    def inputs(self, tokens: Tokens) -> dict[str, Any]:
        """Return what the model is called with.

        Args:
            tokens: Padded on either side.

        Returns:
            By the names of transformers.
        """
        # counted over real tokens: where padding is must not matter to absolute positions
        positions = (tokens.mask.cumsum(dim=1) - 1).clamp_min(0)
        return {
            "input_ids": tokens.ids,
            "attention_mask": tokens.mask.long(),
            "position_ids": positions,
            "use_cache": False,
        }

    def hidden(self, tokens: Tokens) -> Float[Tensor, "batch length dim"]:
        """Run the model up to its last hidden states.

        Args:
            tokens: Padded on either side.

        Returns:
            What the language-model head would see; meaningless where the mask is False.
        """
        states: Tensor = self.model.base_model(**self.inputs(tokens)).last_hidden_state
        return states

    def save(self, folder: str | Path) -> None:
        """Write model and tokenizer to one folder that transformers loads, safetensors only.

        Args:
            folder: Where to; made if needed.
        """
        with _quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def load_backbone(
    model: Any, tokenizer: Any = None, *, device: str = "cpu", dtype: str = "float32"
) -> Backbone:
    """Take a causal language model and make it bidirectional.

    Args:
        model: A local folder, a ``.gguf`` file, a name on the Hugging Face hub, an
            ``AutoModelForCausalLM`` (whose config is changed in place), or a `Backbone`.
        tokenizer: Folder, name or object; by default what lies beside the model.
        device: Torch device to put it on.
        dtype: "float32" or "bfloat16", of the weights that are read from files.

    Returns:
        The model with attention in both directions, probed.

    Raises:
        ConfigError: If the model has no language-model head or none that is one linear map,
            cannot run, stays causal, sees padding, or comes as an object without a tokenizer;
            or if this machine has no such device.
        FormatError: If the path holds no model or no tokenizer.
    """  # noqa: DOC502  # raised by helpers
    from csrkit.llm.probing import probe  # which is about what this module makes

    check_device(device, f"device={device!r}", "csrkit.llm")
    if isinstance(model, Backbone):
        model, tokenizer = model.model, model.tokenizer
    if isinstance(model, str | os.PathLike):
        _refuse_missing(model)
        tokenizer = _read_tokenizer(model if tokenizer is None else tokenizer)
        model = _read_model(model, dtype)
    elif tokenizer is None:
        raise ConfigError(
            f"expected a tokenizer with a model object, got a {type(model).__name__} alone: "
            "pass tokenizer="
        )
    elif isinstance(tokenizer, str | os.PathLike):
        tokenizer = _read_tokenizer(tokenizer)
    if hasattr(model, "merge_and_unload"):
        raise ConfigError(
            f"expected a plain language model, got a {type(model).__name__} with adapters: pass "
            "model.merge_and_unload()"
        )
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None or not hasattr(model, "base_model"):
        raise ConfigError(
            "expected a causal language model with a head over its vocabulary, "
            f"got a {type(model).__name__}"
        )
    rows = 1 + max(tokenizer.get_vocab().values())
    if rows > len(head.weight):
        raise ConfigError(
            f"expected a tokenizer of at most {len(head.weight)} tokens, as the model has, "
            f"got one of {rows}: they do not belong together, or the model needs a row for each "
            "token that was added (model.resize_token_embeddings)"
        )
    model.config.is_causal = False
    backbone = Backbone(model.to(device), tokenizer)
    return replace(backbone, factor=probe(backbone))


def _split_gguf(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Tell a GGUF file from a folder or a name, in transformers' way."""
    one = Path(path)
    if one.suffix == ".gguf":
        return str(one.parent), {"gguf_file": one.name}
    return str(path), {}


def _refuse_missing(path: str | os.PathLike[str]) -> None:
    """Refuse what can only be a path and is none: the hub would be asked for it, for a minute."""
    text = os.fspath(path)
    as_path = isinstance(path, os.PathLike) or text.startswith((".", "/", "~")) or "\\" in text
    if (as_path or text.count("/") > 1 or text.endswith(".gguf")) and not Path(path).exists():
        raise FormatError(f"expected a folder (or hub name) of a language model, found no {text}")
    if Path(path, "head.safetensors").is_file() and Path(path, "backbone").is_dir():
        raise FormatError(
            f"expected a language model, got the retriever {text}: csrkit.llm.load reads it, and "
            f"{Path(path, 'backbone')} is the language model in it"
        )


def _read_model(path: str | os.PathLike[str], dtype: str) -> Any:
    source, options = _split_gguf(path)
    if not options:
        options["use_safetensors"] = True  # pickled weights can run code
    elif hasattr(transformers, "GgufConfig"):  # from 5.23 on blocks may stay as they are
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        with _quiet():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                source, dtype=getattr(torch, dtype), **options
            )
        if "gguf_file" in options and getattr(model, "hf_quantizer", None) is not None:
            # its weights are plain now: what still calls them quantized lets nobody save them
            model.hf_quantizer.remove_quantization_config(model)
        return model
    except (*_UNREADABLE, RuntimeError, SafetensorError) as error:
        raise FormatError(
            f"expected a folder (or hub name) of a causal language model, got {str(path)!r}: "
            f"{_first_line(error)}"
        ) from error


def _read_tokenizer(path: str | os.PathLike[str]) -> Any:
    source, options = _split_gguf(path)
    try:
        with _quiet():
            return transformers.AutoTokenizer.from_pretrained(source, **options)
    except _UNREADABLE as error:
        raise FormatError(
            f"expected a folder or hub name with a tokenizer, got {str(path)!r}: "
            f"{_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    """Return what an error says first; a list of several lines whole."""
    text = str(error).strip() or type(error).__name__
    first, _, rest = text.partition("\n")
    return f"{first} {' '.join(rest.split())}" if first.endswith((":", ": ")) else first


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide bars of a second, and what libraries warn their own developers of."""
    log = transformers.utils.logging
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            for kind in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        if shown:
            log.enable_progress_bar()
