"""`JointSpec`: what of a joint model is not arrays, and the arrays that follow from it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from csrkit.model.config import MAX_DIM, MAX_LATENTS

__all__ = ["FORMAT", "JointProvenance", "JointSpec", "Vocabulary", "array_shapes"]

FORMAT = 1


class JointProvenance(BaseModel):
    """Where a joint model came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    csrkit: str = Field(description="version that fitted the model")
    texts: int = Field(ge=0, description="texts given")
    images: int = Field(ge=0, description="images given")
    pairs: int = Field(ge=0, description="pairs trained on")
    steps: int = Field(ge=0, description="training steps of the kept weights")
    hit_rate: float | None = Field(
        default=None, ge=0, le=1, description="sparse hit rate@1 of held-out images, if measured"
    )
    fit: dict[str, JsonValue] = Field(
        default_factory=dict, description="the JointConfig, every default resolved"
    )


class JointSpec(BaseModel):
    """The part of a joint model that is not arrays; written to ``joint.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=FORMAT, ge=1, description="of the folder")
    text_dim: int = Field(ge=1, le=MAX_DIM, description="width of the text tower's vectors")
    image_dim: int = Field(ge=1, le=MAX_DIM, description="width of the image tower's vectors")
    dim: int = Field(ge=1, le=MAX_DIM, description="width of the shared dense space")
    width: int = Field(ge=1, le=MAX_DIM, description="width of the word embeddings")
    n_latents: int = Field(ge=1, le=MAX_LATENTS, description="words, and width of the codes")
    temperature: float = Field(gt=0, le=1, description="learned, of dense scores")
    dense_weight: float = Field(ge=0, description="w1 of hybrid scores")
    sparse_weight: float = Field(ge=0, description="w2 of hybrid scores")
    provenance: JointProvenance


class Vocabulary(BaseModel):
    """The words of the latents; written to ``tokens.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=FORMAT, ge=1)
    tokens: tuple[str, ...] = Field(description="one string per latent")
    token_ids: tuple[int, ...] = Field(description="their ids in the encoder's vocabulary")


def array_shapes(spec: JointSpec) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of a model, by name."""
    return {
        "text_weight": (spec.dim, spec.text_dim),
        "text_bias": (spec.dim,),
        "image_weight": (spec.dim, spec.image_dim),
        "image_bias": (spec.dim,),
        "head_weight": (spec.width, spec.dim),
        "head_bias": (spec.width,),
        "norm_weight": (spec.width,),
        "norm_bias": (spec.width,),
        "embeddings": (spec.n_latents, spec.width),
        "latent_bias": (spec.n_latents,),
    }
