"""`FitConfig`: every setting of `csrkit.fit`, and the three named recipes.

A recipe is nothing but a set of defaults: all of them run the same code, so a
table can compare them. What is set by hand always wins over the recipe.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["FitConfig", "Recipe"]

Recipe: TypeAlias = Literal["csr", "csrkit", "csrv2"]

# What the papers do otherwise than csrkit; all share tied weights.
_PUBLISHED: dict[str, Any] = {
    "contrast_weight": 0.1,
    "auxiliary_share": 1.0,
    "distillation_weight": 0.0,
    "load_cap": None,
    "kmeans_rounds": 0,
}
_RECIPES: dict[str, dict[str, Any]] = {
    # arXiv 2503.01776: section 3.2 with the weights of table 3 and of the released code
    "csr": _PUBLISHED,
    # arXiv 2602.05735: k annealed from 64 over the first 70% of the steps, beta = 0.1,
    # supervised contrast when there are labels
    "csrv2": {**_PUBLISHED, "aux_weight": 0.1, "anneal_from": 64},
    "csrkit": {},
}


class FitConfig(BaseModel):
    """Settings of one training run; frozen, checked, JSON in and out.

    Examples:
        >>> FitConfig(recipe="csr").tied
        True
        >>> FitConfig(recipe="csr", tied=False).tied
        False
        >>> FitConfig(ladder=(32, 8))
        Traceback (most recent call last):
        ...
        pydantic_core._pydantic_core.ValidationError: ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    recipe: Recipe = "csrkit"
    """Which published or own method the remaining defaults follow."""

    n_latents: int | None = Field(default=None, ge=2, le=2**24)
    """Width of the sparse space. More latents mean shorter posting lists and finer
    codes, and a larger model; None takes 4 times the width of the embeddings, or
    fewer when there are fewer rows than that."""

    ladder: tuple[int, ...] = (8, 16, 32, 64)
    """The values of k that the one model serves, rising."""

    batch_size: int = Field(default=1024, ge=2)
    """Rows per training step; capped at the number of rows."""

    steps: int | None = Field(default=None, ge=1)
    """Training steps. None trains until the held-out recall stops rising, at most
    ``max_steps``."""

    max_steps: int = Field(default=6000, ge=1)
    """Bound on the steps when ``steps`` is None."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate of Adam. None takes 8e-4 / sqrt(n_latents / 16384), the scaling of
    sparse-autoencoder practice at batches of about a thousand."""

    warmup: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps over which the rate rises from zero."""

    decay: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps, at the end, over which the rate falls to near zero."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of initialisation and shuffling; on CPU one seed gives one model."""

    device: str = "cpu"
    """Torch device that trains, such as "cpu" or "cuda"."""

    tied: bool = True
    """Whether the decoder is the encoder's transpose, one parameter, as published. Untied
    decoder rows are kept at norm 1; they ranked worse."""

    kmeans_rounds: int = Field(default=2, ge=0, le=100)
    """Rounds of spherical k-means that move the starting decoder rows from single rows of
    the data to the middle of those nearest to them; helps the shortest codes."""

    long_prefix_weight: float = Field(default=0.125, ge=0)
    """Weight of the reconstruction at 4 times the longest rung (paper: 1/8)."""

    auxiliary_share: float = Field(default=0.125, gt=0, le=1)
    """Share of a batch's rows that take part in the two terms beside the ladder, the 4k
    prefix and the dead latents: an unbiased estimate of terms of small weight that, on
    all rows, would cost most of the decoding."""

    aux_weight: float = Field(default=1 / 32, ge=0)
    """Weight of the reconstruction of the residual by dead latents (paper's beta)."""

    aux_latents: int | None = Field(default=None, ge=1)
    """Dead latents that may explain the residual of a row; None takes dim / 2."""

    dead_after: int = Field(default=30_000, ge=1, lt=2**63)
    """Rows seen since a latent last fired, after which it counts as dead."""

    contrast_weight: float = Field(default=0.3, ge=0)
    """Weight of the non-negative contrastive loss (paper's gamma): against given positives
    or labels, else it pushes rows apart, which spreads the load and keeps latents alive."""

    contrast_temperature: float = Field(default=0.2, gt=0)
    """Temperature of the contrastive loss; lower looks at the hardest negatives."""

    distillation_weight: float | None = Field(default=None, ge=0)
    """Weight of the similarity distillation. None takes 0.15, less where rows have no few
    nearest neighbours, and zero when positives or labels are given; more lifts recall at
    long codes, at the cost of relevance and of short codes."""

    distillation_temperature: float = Field(default=0.05, gt=0)
    """Temperature of teacher and student; lower looks at the nearest neighbours only."""

    similarity_rows: int = Field(default=1024, ge=2)
    """Rows of a batch whose pairwise similarities enter contrast and distillation."""

    load_cap: float | None = Field(default=20.0, ge=1)
    """Most documents a latent may fire in, as a multiple of the mean latent at the same
    k. Lower means shorter posting lists and slightly lower recall; None is uncapped."""

    residual_bits: float = Field(default=1.0, gt=0, le=8)
    """Bits per dimension, on average, in which ``encode_residuals`` keeps what codes leave
    out. More give more of the dense vector back, and cost dim / 8 bytes per vector each."""

    anneal_from: int | None = Field(default=None, ge=1)
    """Start with prefixes this long and shorten them to the ladder over 70% of the steps."""

    holdout: int = Field(default=1000, ge=0)
    """Rows (or queries, if given) kept from training to measure recall, at most a tenth."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_recipe(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {**_RECIPES.get(str(data.get("recipe", "csrkit")), {}), **data}

    @model_validator(mode="after")
    def _check_ladder(self) -> Self:
        rungs = self.ladder
        if not rungs or rungs[0] < 1 or any(a >= b for a, b in pairwise(rungs)):
            raise ValueError(f"expected a rising ladder of k, such as (8, 16, 32), got {rungs!r}")
        if self.n_latents is not None and rungs[-1] > self.n_latents:
            raise ValueError(
                f"expected n_latents of at least the longest rung {rungs[-1]}, got {self.n_latents}"
            )
        if self.anneal_from is not None and self.anneal_from < rungs[0]:
            raise ValueError(
                f"expected anneal_from of at least the shortest rung {rungs[0]}, "
                f"got {self.anneal_from}"
            )
        return self
