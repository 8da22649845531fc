"""`LLMConfig`: every setting of `csrkit.llm.fit` and `csrkit.llm.adapt`.

Defaults are those of arXiv 2502.15526 and its released code, where one machine can follow
them; a docstring says where they are csrkit's.
"""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Head", "LLMConfig", "Loss"]

Head: TypeAlias = Literal["sparse", "dense", "both"]
Loss: TypeAlias = Literal["cl", "kd", "kd_kl", "cl_kd"]


class LLMConfig(BaseModel):
    """Settings of one training run; frozen, checked, JSON in and out.

    Examples:
        >>> LLMConfig(head="dense", loss="cl").dense_temperature
        0.01
        >>> LLMConfig(batch_size=8, micro_batch=16)
        Traceback (most recent call last):
        ...
        pydantic_core._pydantic_core.ValidationError: ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    head: Head = "sparse"
    """What is trained: codes over the vocabulary, vectors, or both by the sum of their losses."""

    loss: Loss | None = None
    """"cl": contrast with hard and in-batch negatives. "kd": MarginMSE to a teacher's margins.
    "kd_kl": KL to a teacher's ranking of each query's list. "cl_kd": half "cl", half "kd_kl".
    None takes "cl_kd" where there are teacher scores, else "cl"."""

    steps: int = Field(default=1000, ge=0)
    """Training steps; 0 leaves the model as it is and only calibrates the sparse head."""

    batch_size: int = Field(default=32, ge=1)
    """Queries per step, over all processes. Every document of the batch is a negative of every
    other query."""

    micro_batch: int | None = Field(default=None, ge=1)
    """Queries (texts, in the adaptation) whose activations are in memory at once; None takes the
    whole batch. A smaller one costs a second forward pass and changes nothing else."""

    negatives: int | None = Field(default=None, ge=0)
    """Hard negatives per query and step, drawn from those of its triple. None takes as many
    as every triple has, at most 16."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak rate of AdamW. Published for LoRA; a tiny model trained whole wants 1e-3, and
    less the wider it is."""

    warmup: float = Field(default=0.04, ge=0, le=1)
    """Share of the steps over which the rate rises from zero; then it falls to zero linearly."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW."""

    sparse_temperature: float = Field(default=1.0, gt=0)
    """Divides the scores of codes. Too low saturates the softmax, too high empties the codes:
    1 as published, 10 in later work on the same heads (arXiv 2603.13277), 0.3 for a tiny
    model and a few hundred steps."""

    dense_temperature: float = Field(default=0.01, gt=0)
    """Divides the scores of vectors: 0.01 as published, 0.1 for a tiny model from nothing."""

    hot_start: float = Field(default=1.0, ge=1)
    """The temperatures start this many times higher and fall to their values geometrically:
    for models whose first scores are far too large."""

    temperature_warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of the steps over which ``hot_start`` cools down."""

    teacher_scale: float = Field(default=1.0, gt=0)
    """Multiplies the teacher's scores. Those of cross-encoders are logits and fit as they
    are; cosines need about 20 to say anything after a softmax."""

    kl_temperature: float = Field(default=1.0, gt=0)
    """Divides the scores of both sides in the KL divergence; higher looks at the whole list."""

    query_flops: float = Field(default=0.05, ge=0)
    """Weight of the FLOPS loss on the codes of queries; more makes them shorter. It acts on
    squares: the small codes that a low temperature leads to want it several times higher."""

    document_flops: float = Field(default=0.04, ge=0)
    """Weight of the FLOPS loss on the codes of documents."""

    flops_ramp: float = Field(default=1 / 3, gt=0, le=1)
    """Share of the steps over which both weights rise, with the square of the step."""

    target_active: int | None = Field(default=256, ge=1)
    """Active latents of the mean document when training starts, by a shift of the logits of
    each token (csrkit's). None shifts nothing, as published: nearly all are active then."""

    train_shift: bool = False
    """Whether the shift goes on learning. It sparsifies fast, and may empty the codes."""

    query_k: int | None = Field(default=None, ge=1)
    """Most latents of a query's code, while training and afterwards; None keeps all active."""

    document_k: int | None = Field(default=None, ge=1)
    """The same for documents."""

    renormalize: bool = False
    """Whether dense vectors are scaled to norm 1, which cosine distances do anyway. As
    published they are the mean of unit vectors, which is shorter."""

    query_length: int = Field(default=64, ge=1)
    """Most tokens of a query."""

    document_length: int = Field(default=128, ge=1)
    """Most tokens of a document."""

    query_prefix: str = ""
    """Put before every query, such as an instruction."""

    document_prefix: str = ""
    """Put before every document."""

    mntp_steps: int = Field(default=0, ge=0)
    """Steps of masked next-token prediction before the training, on ``corpus``: what teaches a
    causal model to use what it now sees. Published: 10,000."""

    mntp_rate: float = Field(default=5e-5, gt=0)
    """Peak rate of AdamW in these steps."""

    mntp_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the tokens that are to be predicted: 80% of them masked, 10% replaced by
    another token, 10% left."""

    mask_token: str = "_"
    """What masks a token, if the tokenizer has no mask token of its own; one token of it."""

    lora_rank: int | None = Field(default=None, ge=1)
    """Rank of LoRA adapters on every projection; None trains all weights. Published: 16. Needs
    peft; the trained adapters are merged into the weights at the end."""

    lora_alpha: float = Field(default=32.0, gt=0)
    """Scale of the adapters; they are multiplied by alpha / rank."""

    lora_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout before the adapters."""

    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the model; "bfloat16" is for GPUs. Scores and losses are float32."""

    device: str = "cpu"
    """Torch device that trains."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of order, negatives, masks, dropout and adapters."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise ValueError(
                f"expected micro_batch of at most batch_size={self.batch_size}, "
                f"got {self.micro_batch}"
            )
        if self.loss in ("kd", "kd_kl", "cl_kd") and self.negatives == 0:
            raise ValueError(f"expected negatives for loss={self.loss!r} to rank, got negatives=0")
        return self

    @property
    def is_sparse(self) -> bool:
        """Whether codes are trained."""
        return self.head != "dense"

    @property
    def is_dense(self) -> bool:
        """Whether vectors are trained."""
        return self.head != "sparse"

    @property
    def distills(self) -> bool:
        """Whether the loss needs a teacher."""
        return self.loss in ("kd", "kd_kl", "cl_kd")
