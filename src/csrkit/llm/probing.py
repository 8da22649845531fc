"""What a retriever takes for granted of a language model, looked at and not believed.

A model that is silently still causal trains to something, only worse. So is refused::

    h_1 of (a, b, c) == h_1 of (a, b, d)     the first token does not see the last one
    d out_1 / d in_l == 0 for all l > 1      some layer reads forwards alone
    h of [pad, a, b] != h of [a, b, pad]     padding is seen, on one side
    finish(W h) != the model's logits        there is more to its head than its rows
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from csrkit.errors import ConfigError
from csrkit.llm.backbone import Backbone, Tokens

__all__ = ["probe"]

SEEN = 1e-6  # relative change of a state: 0 where the last token is masked, 0.27 where it is not
UNSEEN = 1e-3  # relative change through padding: 2e-7 in float32
COARSE = 0.05  # the same in bfloat16 and float16, whose steps are 2^-8 and 2^-11
WIDTH, SPARE = 6, 3  # tokens, and padding beside them
FACTORS = ("logit_scale", "logits_scaling", "lm_head_multiplier")  # some multiply, some divide


@torch.no_grad()
def probe(backbone: Backbone) -> float:
    """Look whether attention goes both ways, padding is left out and the head is a linear map.

    Costs a few short forward passes. States are looked at with and without padding: some
    models are bidirectional only where there is none.

    Args:
        backbone: To be looked at.

    Returns:
        What the model multiplies its logits by.

    Raises:
        ConfigError: If it cannot run, a token does not see those behind it, padding changes a
            state, or its logits are something else.
    """
    was_training = backbone.model.training
    backbone.model.eval()
    try:
        return _probe(backbone)
    except ConfigError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"expected a decoder-only language model, but {_name(backbone)} fails on a batch of "
            f"two texts: {error}"
        ) from error
    finally:
        backbone.model.train(was_training)


def _probe(backbone: Backbone) -> float:
    ids = torch.arange(WIDTH).remainder(max(2, backbone.vocabulary - 1)).repeat(2, 1)
    ids[1, -1] = backbone.vocabulary - 1
    pad = torch.zeros(2, SPARE, dtype=torch.int64)
    real, none = torch.ones(2, WIDTH, dtype=torch.bool), torch.zeros(2, SPARE, dtype=torch.bool)
    tokens = Tokens(ids, real).to(backbone.device)
    plain = backbone.hidden(tokens)
    right = _states(backbone, Tokens(torch.cat([ids, pad], 1), torch.cat([real, none], 1)))
    left = _states(backbone, Tokens(torch.cat([pad, ids], 1), torch.cat([none, real], 1)))
    if not plain.isfinite().all():
        raise ConfigError(
            f"expected finite states, got NaN or Inf from {_name(backbone)} in {plain.dtype}: its "
            "weights are broken, or too large for this type"
        )
    for states in (plain, right[:, :WIDTH], left[:, SPARE:]):
        if _change(states[0, :1], states[1, :1]) < SEEN:
            raise ConfigError(
                f"expected bidirectional attention, but {_name(backbone)} is "
                "causal: its first token does not see the last one. csrkit sets "
                "config.is_causal=False, which transformers "
                f"{transformers.__version__} does not heed for this model; load it with "
                "attn_implementation='eager', or take a Llama, Qwen, Mistral or another model "
                "that does"
            )
    coarse = COARSE if plain.dtype in (torch.bfloat16, torch.float16) else UNSEEN
    for padded, side in ((right[:, :WIDTH], "right"), (left[:, SPARE:], "left")):
        if not _change(plain, padded) <= coarse:
            raise ConfigError(
                f"expected states that do not depend on padding, but {side} padding changes "
                f"those of {_name(backbone)}: this model cannot be batched"
            )
    _check_layers(backbone, tokens)
    return _factor(backbone, tokens, plain, coarse)


def _check_layers(backbone: Backbone, tokens: Tokens) -> None:
    """Refuse layers in which the first token sees none behind it, by the gradient."""
    base = backbone.model.base_model
    lists = (part for part in base.modules() if isinstance(part, torch.nn.ModuleList))
    layers = next(lists, ())  # the outermost: experts and the like are inside
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(_: Any, given: tuple[Any, ...], named: dict[str, Any], found: Any) -> None:
        below = given[0] if given else named.get("hidden_states")
        above = found[0] if isinstance(found, tuple) else found
        if isinstance(below, Tensor) and isinstance(above, Tensor) and below.shape == above.shape:
            seen.append((below, above))

    hooks = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    embeddings = backbone.model.get_input_embeddings()
    hooks.append(embeddings.register_forward_hook(lambda *found: found[-1].requires_grad_()))
    try:
        with torch.enable_grad():
            backbone.hidden(tokens)
            causal = [number for number, layer in enumerate(seen, 1) if _is_causal(*layer)]
    finally:
        for hook in hooks:
            hook.remove()
    if causal:
        raise ConfigError(
            f"expected attention in both directions, but {len(causal)} of {len(seen)} layers of "
            f"{_name(backbone)} read forwards alone, layer {causal[0]} for one, as linear "
            "attention, convolutions and state spaces do: take a model whose layers all attend"
        )


def _is_causal(below: Tensor, above: Tensor) -> bool:
    told = torch.linspace(-1, 1, above.shape[-1], dtype=above.dtype, device=above.device)
    (grad,) = torch.autograd.grad((above[:, 0] * told).sum(), below, retain_graph=True)
    return not bool(grad[:, 1:].any())


def _factor(backbone: Backbone, tokens: Tokens, states: Tensor, coarse: float) -> float:
    """Find what the model multiplies its logits by."""
    given = backbone.model(**backbone.inputs(tokens)).logits.float()
    own = functional.linear(states, backbone.weight, backbone.bias).float()
    config = backbone.model.config.get_text_config()
    named = [getattr(config, name, None) for name in FACTORS]
    numbers = [float(value) for value in named if isinstance(value, int | float) and value > 0]
    for factor in (1.0, *numbers, *(1 / number for number in numbers)):
        if own.shape == given.shape and _change(given, backbone.finish(own, factor)) <= coarse:
            return factor
    raise ConfigError(
        "expected logits that are the last states times the rows of the head, scaled or "
        f"soft-capped at most, but those of {_name(backbone)} are something else: csrkit.llm is "
        "for decoder-only language models"
    )


def _name(backbone: Backbone) -> str:
    return type(backbone.model).__name__


def _states(backbone: Backbone, tokens: Tokens) -> Tensor:
    return backbone.hidden(tokens.to(backbone.device))


def _change(a: Tensor, b: Tensor) -> float:
    return float((a - b).float().norm() / a.float().norm().clamp_min(1e-12))
