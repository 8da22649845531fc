"""LoRA through peft: adapters put into a backbone, and merged into its weights at the end."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from csrkit.errors import MissingExtra
from csrkit.llm.backbone import Backbone
from csrkit.llm.config import LLMConfig

__all__ = ["merge_", "wrap_"]


def wrap_(backbone: Backbone, config: LLMConfig) -> Any:
    """Put adapters beside every projection and freeze everything else.

    The language-model head gets none: it is frozen, as published.

    Args:
        backbone: Changed in place; goes on working as before.
        config: With its ``lora_rank``.

    Returns:
        What `merge_` takes.

    Raises:
        MissingExtra: If peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingExtra("peft", "llm", f"LLMConfig(lora_rank={config.lora_rank})") from error
    settings = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # peft 0.21 asks transformers 5 by an old name
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(backbone.model, settings)


def merge_(backbone: Backbone, wrapped: Any) -> Backbone:
    """Add the adapters to the weights and take them out.

    Args:
        backbone: Of `wrap_`; not to be used any more.
        wrapped: What `wrap_` returned.

    Returns:
        A plain backbone.
    """
    return replace(backbone, model=wrapped.merge_and_unload())
