"""`ModelConfig`: what of a model is not arrays, and the arrays that follow from it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

__all__ = ["ModelConfig", "Provenance", "array_shapes", "scale_count"]

FORMAT = 2  # of a folder without the decoder, which is the encoder; 1 holds both
MAX_LATENTS = 2**24
MAX_DIM = 2**20
MAX_BITS = 8  # per direction of a residual


class Provenance(BaseModel):
    """Where a model came from: what was run, on what, for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    csrkit: str = Field(description="version that fitted the model")
    rows: int = Field(ge=0, description="embeddings trained on")
    steps: int = Field(ge=0, description="training steps of the kept weights")
    recall: float | None = Field(
        default=None, ge=0, le=1, description="held-out recall@10 of the kept weights"
    )
    fit: dict[str, JsonValue] = Field(
        default_factory=dict, description="the FitConfig, every default resolved"
    )


class ModelConfig(BaseModel):
    """The part of a model that is not arrays; written to ``config.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1, description="2 if the decoder is the encoder, else 1")
    dim: int = Field(ge=1, le=MAX_DIM, description="width of the dense embeddings")
    n_latents: int = Field(ge=1, le=MAX_LATENTS, description="width of the codes")
    ladder: tuple[int, ...] = Field(description="the k it was trained at, rising")
    residual_bits: tuple[NonNegativeInt, ...] = Field(
        default=(), max_length=MAX_BITS, description="directions with 1, 2, ... residual bits"
    )
    provenance: Provenance

    @model_validator(mode="after")
    def _check_ladder(self) -> Self:
        rungs = self.ladder
        rising = all(a < b for a, b in pairwise(rungs))
        if not rungs or rungs[0] < 1 or rungs[-1] > self.n_latents or not rising:
            raise ValueError(f"expected rungs rising from 1 to {self.n_latents}, got {rungs!r}")
        return self

    @model_validator(mode="after")
    def _check_residual_bits(self) -> Self:
        directions = sum(self.residual_bits)
        if directions > self.dim or (self.residual_bits and not self.residual_bits[-1]):
            raise ValueError(
                f"expected residual bits for at most {self.dim} directions, the last number "
                f"above 0, got {self.residual_bits!r}"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_no_bits(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a model without directions as before there were any."""
        written: dict[str, Any] = handler(self)
        if not self.residual_bits:
            del written["residual_bits"]
        return written


def array_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of a model, by name."""
    shapes: dict[str, tuple[int, ...]] = {
        "encoder": (config.n_latents, config.dim),
        "latent_bias": (config.n_latents,),
        "pre_bias": (config.dim,),
        "decoder": (config.n_latents, config.dim),
        "scales": (scale_count(config),),
        "loads": (len(config.ladder), config.n_latents),
    }
    if config.residual_bits:
        shapes["residual_basis"] = (sum(config.residual_bits), config.dim)
    return shapes


def scale_count(config: ModelConfig) -> int:
    """Codes of up to 4 times the longest rung have a decoding scale of their own."""
    return min(4 * config.ladder[-1], config.n_latents) + 1
