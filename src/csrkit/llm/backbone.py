"""`Backbone`: a causal language model that reads in both directions, and its tokenizer.

Transformers builds a bidirectional mask where ``config.is_causal`` is False (from 5.2 on). Not
every model heeds it, and a model that is silently still causal trains to something, only
worse: so a probe looks, and refuses.

    h_1 of (a, b, c) != h_1 of (a, b, d)        the first token sees the last one
    h of [pad, a, b] == h of [a, b, pad]        padding is not seen, on either side
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from torch import Tensor

from csrkit.errors import ConfigError, FormatError
from csrkit.tensors import check_device

__all__ = ["Backbone", "Tokens", "load_backbone", "probe"]

SEEN = 1e-6  # relative change of a state: 0 where the last token is masked, 0.27 where it is not
UNSEEN = 1e-3  # relative change through padding: 2e-7 in float32
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, ImportError)  # what transformers raises
COARSE = 0.05  # the same in bfloat16, whose steps are 2^-8


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
    """

    model: Any  # transformers is too dynamic to type: AutoModelForCausalLM makes hundreds
    tokenizer: Any

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
            rows: Token ids, one or more rows, not all of them empty.

        Returns:
            The batch. The id under the mask does not matter.
        """
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.int64)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.as_tensor(tokens, dtype=torch.int64)
            mask[row, : len(tokens)] = True
        return Tokens(ids, mask).to(self.device)

    def hidden(self, tokens: Tokens) -> Float[Tensor, "batch length dim"]:
        """Run the model up to its last hidden states.

        Args:
            tokens: Padded on either side.

        Returns:
            What the language-model head would see; meaningless where the mask is False.
        """
        # counted over real tokens: where padding is must not matter to absolute positions
        positions = (tokens.mask.cumsum(dim=1) - 1).clamp_min(0)
        states: Tensor = self.model.base_model(
            input_ids=tokens.ids,
            attention_mask=tokens.mask.long(),
            position_ids=positions,
            use_cache=False,
        ).last_hidden_state
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
        ConfigError: If the model has no language-model head, stays causal, sees padding, or
            comes as an object without a tokenizer; or if this machine has no such device.
        FormatError: If the path holds no model or no tokenizer.
    """  # noqa: DOC502  # raised by helpers
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
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None or not hasattr(model, "base_model"):
        raise ConfigError(
            "expected a causal language model with a head over its vocabulary, "
            f"got a {type(model).__name__}"
        )
    if len(tokenizer) > len(head.weight):
        raise ConfigError(
            f"expected a tokenizer of at most {len(head.weight)} tokens, as the model has, "
            f"got one of {len(tokenizer)}: they do not belong together"
        )
    model.config.is_causal = False
    backbone = Backbone(model.to(device), tokenizer)
    probe(backbone)
    return backbone


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
    try:
        with _quiet():
            return transformers.AutoModelForCausalLM.from_pretrained(
                source, dtype=getattr(torch, dtype), **options
            )
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


@torch.no_grad()
def probe(backbone: Backbone) -> None:
    """Look whether attention goes both ways and leaves padding out.

    Costs two short forward passes. Both are run with and without padding: some models are
    bidirectional only where there is none.

    Args:
        backbone: To be looked at.

    Raises:
        ConfigError: If a token does not see the one behind it, or padding changes a state.
    """
    was_training = backbone.model.training
    backbone.model.eval()
    try:
        _probe(backbone)
    finally:
        backbone.model.train(was_training)


def _probe(backbone: Backbone) -> None:
    width, spare = 6, 3
    ids = torch.arange(width).remainder(max(2, backbone.vocabulary - 1)).repeat(2, 1)
    ids[1, -1] = backbone.vocabulary - 1
    pad = torch.zeros(2, spare, dtype=torch.int64)
    real, none = torch.ones(2, width, dtype=torch.bool), torch.zeros(2, spare, dtype=torch.bool)
    plain = _states(backbone, Tokens(ids, real))
    right = _states(backbone, Tokens(torch.cat([ids, pad], 1), torch.cat([real, none], 1)))
    left = _states(backbone, Tokens(torch.cat([pad, ids], 1), torch.cat([none, real], 1)))
    for states in (plain, right[:, :width], left[:, spare:]):
        if _change(states[0, :1], states[1, :1]) < SEEN:
            raise ConfigError(
                f"expected bidirectional attention, but {type(backbone.model).__name__} is "
                "causal: its first token does not see the last one. csrkit sets "
                "config.is_causal=False, which transformers "
                f"{transformers.__version__} does not heed for this model; take a Llama, "
                "Qwen, Mistral or another model that does (attn_implementation sdpa or eager)"
            )
    coarse = COARSE if plain.dtype == torch.bfloat16 else UNSEEN
    for padded, side in ((right[:, :width], "right"), (left[:, spare:], "left")):
        if _change(plain, padded) > coarse:
            raise ConfigError(
                f"expected states that do not depend on padding, but {side} padding changes "
                f"those of {type(backbone.model).__name__}: this model cannot be batched"
            )


def _states(backbone: Backbone, tokens: Tokens) -> Tensor:
    return backbone.hidden(tokens.to(backbone.device))


def _change(a: Tensor, b: Tensor) -> float:
    return float((a - b).float().norm() / a.float().norm().clamp_min(1e-12))
