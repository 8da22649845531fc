"""`fit` and `adapt`: from a causal language model and triples to a retriever.

    load -> bidirectional -> [LoRA] -> [MNTP on the corpus] -> calibrate -> train -> [merge]

What is passed as an object is copied first, never changed.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from csrkit import __version__
from csrkit.errors import ConfigError
from csrkit.llm.backbone import Backbone, load_backbone
from csrkit.llm.batches import Batches
from csrkit.llm.checkpoint import Checkpoint, run_digest
from csrkit.llm.config import LLMConfig
from csrkit.llm.data import Triple, checked_texts
from csrkit.llm.encoding import TextEncoder
from csrkit.llm.heads import CALIBRATION_ENTRIES, SparseHead, max_logits
from csrkit.llm.loop import Stage, train, trainable
from csrkit.llm.lora import merge_, wrap_
from csrkit.llm.mntp import MaskedTexts
from csrkit.llm.objective import Objective
from csrkit.llm.retriever import LLMRetriever, Provenance
from csrkit.llm.teacher import Teacher, scored, wants_scores, warn_if_flat
from csrkit.llm.twopass import backward, world
from csrkit.tensors import check_device

__all__ = ["adapt", "fit"]

CALIBRATION_TEXTS = 1000


def fit(
    model: Any,
    triples: Sequence[Triple],
    config: LLMConfig | None = None,
    *,
    tokenizer: Any = None,
    teacher: Teacher | None = None,
    corpus: Sequence[str] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> LLMRetriever:
    """Train a retriever from a decoder-only language model.

    Under ``torchrun`` (``torch.distributed`` initialised) every process calls this alike and
    returns the same retriever; a batch is divided between them.

    Args:
        model: A local folder, ``.gguf`` file or hub name, an ``AutoModelForCausalLM``, or a
            `Backbone` such as `adapt` returns.
        triples: Queries with their documents.
        config: Settings; by default ``LLMConfig()``.
        tokenizer: As for `load_backbone`.
        teacher: Scores triples that come without scores. It is asked once, before training.
        corpus: Texts for ``config.mntp_steps``; by default the documents of the triples.
        checkpoint: Folder in which the run is kept. The same call goes on from what is there.
        checkpoint_every: Steps from one checkpoint to the next.
        progress: Whether to show a progress bar.

    Returns:
        The retriever, in evaluation mode.

    Raises:
        ConfigError: If the triples lack what the loss needs, settings contradict each other
            or the model, or training diverges.
        FormatError: If the model or a checkpoint cannot be read.
        ShapeError: If the teacher does not return a finite score per pair.
        MissingExtra: If ``lora_rank`` is set and peft is not installed.
    """  # noqa: DOC502  # raised by helpers
    with torch.random.fork_rng():
        return _fit(
            model,
            triples,
            LLMConfig() if config is None else config,
            tokenizer=tokenizer,
            teacher=teacher,
            corpus=corpus,
            kept=None if checkpoint is None else (Path(checkpoint), checkpoint_every),
            progress=progress,
        )


def _fit(
    model: Any,
    triples: Sequence[Triple],
    given: LLMConfig,
    *,
    tokenizer: Any,
    teacher: Teacher | None,
    corpus: Sequence[str] | None,
    kept: tuple[Path, int] | None,
    progress: bool,
) -> LLMRetriever:
    _check_config(given)
    triples = _checked(triples)
    if teacher is not None and wants_scores(given, triples):
        triples = scored(triples, teacher)
    config = _resolved(given, triples)
    batches = Batches(triples, config.batch_size, config.negatives, config.seed)
    _check_batch(batches, config)
    warn_if_flat(config, triples)
    texts = _documents(triples) if corpus is None else checked_texts(corpus, "corpus")
    backbone = _own(model, tokenizer, config)
    place = None
    if kept is not None:
        run = run_digest(config, triples, texts if config.mntp_steps else [], backbone)
        place = Checkpoint(*kept, run)
    torch.manual_seed(config.seed)  # the same adapters in every process
    adapters = wrap_(backbone, config) if config.lora_rank else None
    encoder = _encoder(backbone, config)
    if config.mntp_steps and (place is None or place.stage != "train"):
        _adapt(encoder, texts, config, place, progress)
    loss = _train(encoder, batches, config, place, progress)
    backbone.model.requires_grad_(False).eval()
    if adapters is not None:
        backbone = merge_(backbone, adapters)
    provenance = Provenance(
        csrkit=__version__,
        triples=len(triples),
        loss=loss if np.isfinite(loss) else None,
    )
    return LLMRetriever(backbone, encoder.head.requires_grad_(False), config, provenance)


def adapt(
    model: Any,
    texts: Sequence[str],
    config: LLMConfig,
    *,
    tokenizer: Any = None,
    progress: bool = True,
) -> Backbone:
    """Adapt a causal language model to both directions, by masked next-token prediction.

    `fit` does it too, with ``mntp_steps``; this is for one adapted model and several fits.

    Args:
        model: As for `fit`.
        texts: Any passages.
        config: Its ``mntp_steps`` and the settings beside them count.
        tokenizer: As for `load_backbone`.
        progress: Whether to show a progress bar.

    Returns:
        The adapted model. `Backbone.save` writes it to a folder.

    Raises:
        ConfigError: If there are no texts, steps or mask token, or training diverges.
        FormatError: If the model cannot be read.
        MissingExtra: If ``lora_rank`` is set and peft is not installed.
    """  # noqa: DOC502  # raised by helpers
    _check_config(config)
    texts = checked_texts(texts, "texts")
    if not config.mntp_steps:
        raise ConfigError("expected LLMConfig(mntp_steps=...) of at least 1 to adapt, got 0")
    with torch.random.fork_rng():
        backbone = _own(model, tokenizer, config)
        torch.manual_seed(config.seed)
        adapters = wrap_(backbone, config) if config.lora_rank else None
        _adapt(_encoder(backbone, config), texts, config, None, progress)
    backbone.model.requires_grad_(False).eval()
    return backbone if adapters is None else merge_(backbone, adapters)


def _check_config(config: LLMConfig) -> None:
    """Refuse other types, and devices that this machine has not."""
    if not isinstance(config, LLMConfig):
        raise ConfigError(f"expected config=LLMConfig(...), got {type(config).__name__}")
    check_device(config.device, f"LLMConfig(device={config.device!r})", "csrkit.llm.fit")


def _checked(triples: Any) -> list[Triple]:
    """Refuse what only looks like triples."""
    if isinstance(triples, str | os.PathLike):
        raise ConfigError(
            f"expected triples, got {str(triples)!r}: csrkit.llm.read_triples reads those of a file"
        )
    if not isinstance(triples, Iterable):
        raise ConfigError(f"expected a list of triples, got a {type(triples).__name__}")
    found = list(triples)
    for row, one in enumerate(found):
        if not isinstance(one, Triple):
            raise ConfigError(
                "expected triples such as csrkit.llm.Triple(query, positive, negatives), "
                f"got {type(one).__name__} at {row}"
            )
    return found


def _own(model: Any, tokenizer: Any, config: LLMConfig) -> Backbone:
    """Load a model, or copy one that was given as an object."""
    # adapters alone are trained: the weights below them may be as coarse as the arithmetic
    dtype = config.dtype if config.lora_rank else "float32"
    if isinstance(model, LLMRetriever):
        model = model.backbone
    if isinstance(model, Backbone):
        model = replace(model, model=_copied(model.model, getattr(torch, dtype)))
    elif hasattr(model, "parameters"):
        model = _copied(model, getattr(torch, dtype))
    backbone = load_backbone(model, tokenizer, device=config.device, dtype=dtype)
    backbone.model.requires_grad_(True)
    if config.activation_checkpointing:
        _checkpoint_activations(backbone)
    return backbone


def _copied(model: Any, dtype: torch.dtype) -> Any:
    """Copy a model object, with weights of the type that those of files are read in.

    transformers 5 reads most checkpoints as bfloat16, in which a step of AdamW is lost. To cast
    the object would leave rotary frequencies as coarse as they are: they are made anew.
    """
    types = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    if types <= {dtype} or not isinstance(model, PreTrainedModel):
        return copy.deepcopy(model)
    made = type(model)(copy.deepcopy(model.config))
    made.load_state_dict(model.state_dict())
    for parameter in made.parameters():
        parameter.data = parameter.data.to(dtype)  # the same object: tied ones stay tied
    return made


def _checkpoint_activations(backbone: Backbone) -> None:
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    enable = next(name for name in names if hasattr(backbone.model, name))
    getattr(backbone.model, enable)()
    backbone.model.enable_input_require_grads()  # or frozen embeddings would end the graph


def _encoder(backbone: Backbone, config: LLMConfig) -> TextEncoder:
    head = SparseHead(backbone.vocabulary, backbone.dim).to(backbone.device)
    head.shift.requires_grad_(config.is_sparse and config.train_shift)
    encoder = TextEncoder(backbone, head, config)
    encoder.check_lengths()
    return encoder


def _adapt(
    encoder: TextEncoder,
    texts: Sequence[str],
    config: LLMConfig,
    kept: Checkpoint | None,
    progress: bool,
) -> None:
    masked = MaskedTexts(encoder, texts, config)
    parameters = trainable(("model.", encoder.backbone.model))
    stage = Stage(
        "mntp",
        parameters,
        config.mntp_steps,
        config.mntp_rate,
        config.warmup,
        seed=config.seed,
    )
    encoder.backbone.model.train()
    train(stage, masked.backward, checkpoint=kept, progress=progress)


def _train(
    encoder: TextEncoder,
    batches: Batches,
    config: LLMConfig,
    kept: Checkpoint | None,
    progress: bool,
) -> float:
    """Calibrate, then train; return the last losses' mean."""
    resumed = kept is not None and kept.stage == "train"
    if config.is_sparse and config.target_active and not resumed:
        calibrate_(encoder, batches, config.target_active)
    objective = Objective(config)
    # the shift even where it is not trained: a checkpoint has to hold it
    parameters = trainable(("model.", encoder.backbone.model)) | {"head.shift": encoder.head.shift}
    stage = Stage(
        "train",
        parameters,
        config.steps,
        config.learning_rate,
        config.warmup,
        config.weight_decay,
        config.seed,
    )
    encoder.backbone.model.train()

    def take(step: int) -> float:
        parts = backward(encoder, objective, batches(step), step, config.micro_batch)
        if config.is_sparse and not (parts.query_flops and parts.document_flops):
            raise ConfigError(
                f"training collapsed: all codes of step {step} are empty, and get no gradient "
                "any more; lower learning_rate or the FLOPS weights, raise sparse_temperature or "
                "target_active, or adapt the model longer (mntp_steps)"
            )
        return float(parts.total)

    return train(stage, take, checkpoint=kept, progress=progress)


@torch.no_grad()
def calibrate_(encoder: TextEncoder, batches: Batches, target: int) -> None:
    """Shift the logits so that documents of the triples have so many active latents.

    Args:
        encoder: Whose head is shifted.
        batches: Where documents come from.
        target: Active latents of the mean document.

    Raises:
        ConfigError: If no document has a token.
    """
    encoder.backbone.model.eval()
    most = max(1, min(CALIBRATION_TEXTS, CALIBRATION_ENTRIES // encoder.backbone.vocabulary))
    texts, logits, rows = batches.documents(most), [], 32
    for start in range(0, len(texts), rows):
        ids = [one for one in encoder.tokenize(texts[start : start + rows], "document") if one]
        if not ids:
            continue
        tokens = encoder.backbone.pad(ids)
        with encoder.arithmetic():
            hidden = encoder.backbone.hidden(tokens)
            head = encoder.backbone.weight, encoder.backbone.bias
            logits.append(encoder.backbone.finish(max_logits(hidden, tokens.mask, *head)))
    if not logits:
        raise ConfigError(
            f"expected documents with tokens, but the tokenizer makes none of {texts[0][:40]!r} "
            "and the others"
        )
    encoder.head.calibrate_(torch.cat(logits), min(target, encoder.backbone.vocabulary - 1))


def _resolved(config: LLMConfig, triples: Sequence[Triple]) -> LLMConfig:
    """Choose the loss that the triples allow, or check the one that was chosen."""
    unscored = next((row for row, one in enumerate(triples) if one.scores is None), None)
    if config.loss is None:
        unranked = config.negatives == 0 or not all(one.negatives for one in triples)
        plain = unscored is not None or unranked or not triples
        config = config.model_copy(update={"loss": "cl" if plain else "cl_kd"})
    if config.distills and unscored is not None:
        raise ConfigError(
            f"expected teacher scores for loss={config.loss!r}, got none in triple {unscored} "
            f"({triples[unscored].query[:40]!r}): give teacher=, or set loss='cl'"
        )
    return config


def _check_batch(batches: Batches, config: LLMConfig) -> None:
    if config.distills and not batches.negatives:
        raise ConfigError(
            f"expected negatives for loss={config.loss!r} to rank, got a triple without any"
        )
    if batches.size * (1 + batches.negatives) < 2:
        raise ConfigError(
            "expected two or more documents in a batch, got one query without negatives: there "
            "is nothing to tell the positive from"
        )
    if batches.size % world().size:
        raise ConfigError(
            f"expected a batch that {world().size} processes can share, got {batches.size} queries"
        )


def _documents(triples: Sequence[Triple]) -> list[str]:
    return list(dict.fromkeys(text for triple in triples for text in triple.documents))
