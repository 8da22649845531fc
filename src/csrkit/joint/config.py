"""`JointConfig`: every setting of `csrkit.joint.fit`, and the ablations by name."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["JointConfig", "Method"]

Method: TypeAlias = Literal["full", "no_distillation", "frozen", "dense_to_sparse"]


class JointConfig(BaseModel):
    """Settings of one joint training; frozen, checked, JSON in and out.

    The weights of the losses are those of the paper's BLIP on Flickr30k. Learning rates are
    higher than the paper's 1e-5, which presumes a hundred thousand steps.

    Examples:
        >>> JointConfig(method="frozen").trains_adapters
        False
        >>> JointConfig(dense_weight=0.1, teacher_grad=False)
        Traceback (most recent call last):
        ...
        pydantic_core._pydantic_core.ValidationError: ...
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    method: Method = "full"
    """What is trained by which loss. "full": adapters and head, by contrast and
    self-distillation (arXiv 2508.16707). "no_distillation": the same without the
    distillation. "frozen": all losses, but adapters stay as they start, so the dense side
    does. "dense_to_sparse": adapters stay, and the head learns from the frozen dense scores
    alone (the earlier D2S, arXiv 2402.17535)."""

    dim: int | None = Field(default=None, ge=1)
    """Width of the shared dense space. None takes that of the given projections, that of both
    sides if they share a space, or else 256, at most the narrower side."""

    adapter: Literal["auto", "projection", "residual", "identity"] = "auto"
    """What each tower's vectors pass on their way into the shared space. "projection": an affine
    map per side, started from given weights or as ``start`` says. "residual": ``x + B A x``
    of ``rank``, started at zero change, for sides that share a space already.
    "identity": nothing, not trained. "auto": projection if weights are given or the widths
    differ, else residual."""

    start: Literal["cca", "pca"] = "cca"
    """Where projections start that are not given. "cca": the directions in which the training
    pairs agree (regularised canonical correlation). "pca": the main directions of both
    sides together, for sides that share a space."""

    rank: int = Field(default=64, ge=1)
    """Rank of residual adapters; more can change the dense side more."""

    n_latents: int = Field(default=4096, ge=2, le=2**24)
    """Latents where no word embeddings are given, with random ones of ``width``."""

    width: int = Field(default=256, ge=1)
    """Width of random word embeddings."""

    whiten: bool = False
    """Whether given word embeddings start whitened, at the same mean length. Those of a language
    model share main directions, so that latents fire together; whitened they told more real
    images apart, at a higher posting cost. Random ones are left as they are."""

    logit_std: float | None = Field(default=None, gt=0)
    """Scale the start of the word embeddings such that logits have this standard deviation.
    Sparse scores have no temperature, so it decides how peaked they start. None keeps given
    embeddings as they are, and takes 1 for random ones."""

    head_start: Literal["auto", "random", "captions"] = "auto"
    """Where the head's way from the shared space to the word embeddings starts. "random": as
    published; latents then drift from the words that they are named after, unless
    ``expansion`` holds them. "captions": at the rotation that brings texts and images nearest
    to the words of their captions, so that codes can be read from the first step on. "auto":
    captions if they are given, else random."""

    latent_bias: bool = False
    """Whether each latent has a trained bias, started at zero: the paper's head has none,
    that of D2S has."""

    dense_weight: float = Field(default=0.1, ge=0)
    """w1, the weight of dense scores (cosine over temperature) in the integrated score that
    teaches both sides, and in `JointModel.hybrid_scores`. Large values hurt the sparse side."""

    sparse_weight: float = Field(default=0.2, ge=0)
    """w2, the weight of sparse scores in the integrated score."""

    dense_loss: float = Field(default=0.7, ge=0)
    """lambda1, the weight of contrast and distillation of the dense side."""

    sparse_loss: float = Field(default=0.7, ge=0)
    """lambda2, the weight of contrast and distillation of the sparse side."""

    teacher_grad: bool = True
    """Whether the distillation also trains the teacher, the integrated score, as the released
    code does. Without, the students are pulled to a teacher that is flatter than they are
    while w1 + w2 < 1, which shrinks sparse scores; so False wants w1 + w2 near 1."""

    transpose_teacher: bool = True
    """Whether images are taught by the teacher's columns. The released code forgets the
    transposition and teaches text j by the row of image j; False repeats that."""

    multi_positive: bool = False
    """Whether pairs of a batch that share an image (or a text) are positives of each other.
    Off, as published, other captions of an image count as negatives."""

    temperature: float = Field(default=0.07, ge=0.001, le=0.5)
    """Where the learned temperature of dense scores starts; it stays in [0.001, 0.5]."""

    d2s_temperature: float = Field(default=0.07, gt=0)
    """Temperature of the teacher of "dense_to_sparse". The D2S code has 0.001, which leaves of
    the teacher little but its first choice."""

    regularizer: Literal["l1", "flops"] = "l1"
    """What keeps codes sparse: `csrkit.training.sparsity.l1` as published, or ``flops``, which
    evens out the load of the latents."""

    text_penalty: float = Field(default=1e-3, ge=0)
    """Weight of the regulariser of texts. More gives fewer active latents, a lower posting
    cost and in the end a lower hit rate. (Paper: 1e-5 to 5e-4, over 100 times the steps.)"""

    image_penalty: float = Field(default=1e-3, ge=0)
    """Weight of the regulariser of images."""

    ramp: float = Field(default=0.2, gt=0, le=1)
    """Share of the steps over which the two penalties rise, quadratically, to their weight."""

    expansion: Literal["free", "batch", "sample"] = "free"
    """Probabilistic Expansion Control: whether in training a text's code may fire latents that
    are no tokens of its caption. "free": always. "batch": drawn once per batch, as published;
    "sample": once per text, which leaves far shorter codes. Both start at never and end at
    always; both need ``captions``."""

    expansion_ramp: float = Field(default=0.95, gt=0, le=1)
    """Share of the steps over which the probability of expansion rises from 0 to 1."""

    epochs: int = Field(default=6, ge=1)
    """Passes over the training pairs."""

    batch_size: int = Field(default=256, ge=2)
    """Pairs per step, all of them each other's negatives; capped at the number of pairs."""

    head_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of the head and the temperature."""

    embeddings_rate: float = Field(default=1e-3, ge=0)
    """Peak learning rate of the word embeddings; less keeps latents nearer to their words."""

    adapter_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of adapters. More adapts the dense side more; on few pairs, or pairs of
    one caption each, 1e-4 keeps the sparse side from losing by it."""

    weight_decay: float = Field(default=0.05, ge=0)
    """Decay of AdamW on matrices."""

    warmup: float = Field(default=0.2, ge=0, le=1)
    """Share of the steps over which rates rise from zero; then they fall linearly to zero."""

    holdout: int = Field(default=0, ge=0)
    """Images kept from training, with their texts, to measure the sparse hit rate@1 after each
    epoch; the weights of the best epoch are returned. At most a tenth; 0 keeps the last."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of initialisation and shuffling; on CPU one seed gives one model."""

    device: str = "cpu"
    """Torch device that trains, such as "cpu" or "cuda"."""

    @model_validator(mode="after")
    def _check_teacher(self) -> Self:
        total = self.dense_weight + self.sparse_weight
        if total == 0:
            raise ValueError("expected dense_weight or sparse_weight above 0, got both 0")
        detached = self.method in ("full", "frozen") and not self.teacher_grad
        if detached and not 0.5 <= total <= 2:
            raise ValueError(
                "expected dense_weight + sparse_weight near 1 with teacher_grad=False, where a "
                f"flatter teacher would only shrink the scores, got {total:g}"
            )
        return self

    @property
    def trains_adapters(self) -> bool:
        """Whether the method changes the dense side."""
        return self.method in ("full", "no_distillation")

    def resolved(self, **values: Any) -> JointConfig:
        """Return a copy with some defaults decided.

        Args:
            **values: Fields and what they became.

        Returns:
            A checked copy.
        """
        return JointConfig(**{**self.model_dump(), **values})
