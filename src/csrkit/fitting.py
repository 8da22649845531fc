"""`fit`: embeddings in, a `CSRModel` out.

It checks the input, fills in the settings that depend on the data, trains, and
measures the result. It does not normalise or change what it was given, and it
holds at most a sample of data that is larger than memory. (The module is not
called ``fit``: a submodule of that name would shadow the function.)
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ConfigError, FormatError, ShapeError
from csrkit.model.config import MAX_LATENTS
from csrkit.sources import open_source
from csrkit.tensors import as_array, check_device
from csrkit.training.config import FitConfig

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.model import CSRModel
    from csrkit.sources import Source
    from csrkit.training.data import TrainingData
    from csrkit.training.loop import Trained

__all__ = ["fit"]

SAMPLE_ROWS = 32_768  # for the mean, the variance, the starting directions and the loads
MAX_QUERIES = 100_000  # real queries kept in memory


def fit(
    embeddings: Any,
    *,
    positives: Any = None,
    labels: ArrayLike | None = None,
    queries: Any = None,
    config: FitConfig | None = None,
    progress: bool = True,
) -> CSRModel:
    """Fit one CSR model for a whole ladder of k to embeddings of any frozen model.

    Rows are scaled to norm 1 on the way in: the model serves cosine similarity.
    Data larger than memory is read in shuffled blocks. Ctrl-C returns the best
    weights measured so far, with a warning.

    Args:
        embeddings: Rows (n, dim): array, memmap, tensor on any device, path of a
            ``.npy``, ``.safetensors`` or Parquet file, folder or list of such
            files, or an iterator of batches; see `csrkit.sources.open_source`.
        positives: Rows (n, dim), the positive of each embedding, such as the
            document of each query; trained on as well.
        labels: Whole numbers (n,): rows of one label are each other's positives.
        queries: Rows (q, dim), a sample of real queries, unaligned. They shape
            the codes of the query side, and recall is measured on a held-out part.
        config: Settings; by default ``FitConfig()``, the recipe "csrkit".
        progress: Whether to show a progress bar with FVU, dead share, busiest
            latent, held-out recall, vectors per second and the time left.

    Returns:
        The fitted model, needing numpy only from here on.

    Raises:
        ShapeError: If the rows are not (n, dim) finite, non-zero numbers, or the
            inputs do not fit each other.
        ConfigError: If settings contradict each other or the data, or training
            diverges with them before anything was measured.
        MissingExtra: If torch is not installed.
        KeyboardInterrupt: If interrupted before anything was measured.

    Examples:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(400, 16))
        >>> model = fit(x, config=FitConfig(n_latents=64, ladder=(4, 8), steps=5), progress=False)
        >>> model.encode(x, k=4).nnz <= 1600
        True
    """  # noqa: DOC502  # raised by helpers
    config = FitConfig() if config is None else config
    _check_config(config)
    source = open_source(embeddings)
    config = _resolve(config, source.n, source.dim, positives, labels)
    data, held_out = _assemble(source, positives, labels, queries, config)
    from csrkit.training.run import run

    model, trained = run(data, held_out, config, progress=progress, sample_rows=SAMPLE_ROWS)
    if cut_short := _cut_short(trained):
        warnings.warn(cut_short, stacklevel=2)
    return model


def _cut_short(trained: Trained) -> str | None:
    """Say what ended training early, and what is kept; None if nothing did."""
    from csrkit.training.loop import Ending

    best = trained.best
    kept = (
        f"returning the last measured weights, of step {best.step} (recall not measured)"
        if best.recall is None
        else f"returning the weights of step {best.step}, the best measured so far "
        f"(recall@10 {best.recall})"
    )
    match trained.ending:
        case Ending.DONE:
            return None
        case Ending.INTERRUPTED:
            return f"fit was interrupted: {kept}"
        case Ending.DIVERGED:
            return (
                f"training diverged by step {trained.steps}, whose weights hold NaN or are too "
                f"large to encode with: {kept}; lower FitConfig(learning_rate={trained.rate:.4g})"
            )


def _check_config(config: FitConfig) -> None:
    """Refuse other types, a missing torch, and devices that this machine has not."""
    if not isinstance(config, FitConfig):
        raise ConfigError(f"expected config=FitConfig(...), got {type(config).__name__}")
    check_device(config.device, f"FitConfig(device={config.device!r})", "csrkit.fit")


def _resolve(
    config: FitConfig, n: int, dim: int, positives: Any, labels: ArrayLike | None
) -> FitConfig:
    """Fill in the defaults that depend on what was given."""
    if positives is not None and labels is not None:
        raise ConfigError("expected positives or labels, got fit(positives=..., labels=...)")
    if n < 10:
        raise ConfigError(f"expected at least 10 embeddings to fit on, got {n}")
    supervised = positives is not None or labels is not None
    if supervised and not config.contrast_weight:
        raise ConfigError(
            "expected a contrast_weight above 0 for positives or labels to have an effect, "
            "got FitConfig(contrast_weight=0)"
        )
    latents = config.n_latents
    if latents is None:
        latents = _default_latents(n, dim, config.ladder[-1])
    elif n < latents:
        warnings.warn(
            f"fitting n_latents={latents} on {n} embeddings: many latents will never fire; "
            "leave n_latents=None to let the number of rows choose",
            stacklevel=3,
        )
    held_out = min(config.holdout, n // 10)
    resolved: dict[str, Any] = {
        "n_latents": latents,
        "batch_size": min(config.batch_size, n - held_out),
        "similarity_rows": min(config.similarity_rows, n - held_out),
        "aux_latents": min(config.aux_latents or max(1, dim // 2), latents),
    }
    if supervised and config.distillation_weight is None:  # else it follows from a sample
        resolved["distillation_weight"] = 0.0
    return config.model_copy(update=resolved)


def _default_latents(n: int, dim: int, longest: int) -> int:
    """Choose 4 times dim (arXiv 2503.01776, section 4.3), but no more than the rows."""
    if longest > MAX_LATENTS:
        raise ConfigError(
            f"expected a ladder of k up to {MAX_LATENTS}, the most latents there can be, "
            f"got FitConfig(ladder=(..., {longest}))"
        )
    latents = max(min(n, 4 * dim), longest)
    if n < latents:
        warnings.warn(
            f"the longest k of the ladder, {longest}, takes as many latents, more than the {n} "
            "embeddings: many will never fire",
            stacklevel=4,
        )
    elif n < 4 * dim:
        warnings.warn(
            f"{n} embeddings are fewer than the {4 * dim} latents that {dim} dimensions would "
            f"get: using n_latents={latents}",
            stacklevel=4,
        )
    return latents


def _assemble(
    source: Source, positives: Any, labels: ArrayLike | None, queries: Any, config: FitConfig
) -> tuple[TrainingData, NDArray[np.float32]]:
    """Open the other inputs, check that they fit, and keep a part out of training."""
    from csrkit.training.data import TrainingData, unit_tensor

    aligned = None if positives is None else _opened("positives", positives, source.dim)
    if aligned is not None and aligned.n != source.n:
        raise ShapeError(
            f"expected one positive per embedding, got {source.n} embeddings "
            f"and {aligned.n} positives"
        )
    classes = None if labels is None else _checked_labels(labels, source.n)
    rng = np.random.default_rng(config.seed)
    if queries is None:
        rows = np.sort(rng.choice(source.n, min(config.holdout, source.n // 10), replace=False))
        held_out = unit_tensor(source.take(rows)).numpy()
        return TrainingData(source, aligned, classes, None, rows), held_out
    asked = _opened("queries", queries, source.dim)
    chosen = rng.choice(asked.n, min(asked.n, MAX_QUERIES), replace=False)
    vectors = unit_tensor(asked.take(chosen)).numpy()
    kept = min(config.holdout, len(vectors) // 10)
    if len(vectors) - kept < 1:
        raise ShapeError(f"expected a sample of queries to train on, got {len(vectors)}")
    return TrainingData(source, aligned, classes, vectors[kept:], None), vectors[:kept]


def _opened(name: str, rows: Any, dim: int) -> Source:
    """Open another input than the embeddings; a refusal says which one it was."""
    try:
        return open_source(rows, dim=dim)
    except (FormatError, ShapeError) as error:
        raise type(error)(f"fit({name}=...): {error}") from error


def _checked_labels(labels: ArrayLike, n: int) -> NDArray[np.int64]:
    array = as_array(labels, "labels")
    if array.shape != (n,):
        raise ShapeError(f"expected one label per embedding, ({n},), got {array.shape}")
    if array.dtype.kind not in "iu":
        named = array.dtype.kind in "OSU"
        hint = ": number them by np.unique(labels, return_inverse=True)[1]" if named else ""
        raise ShapeError(f"expected labels as whole numbers, got dtype {array.dtype}{hint}")
    return array.astype(np.int64)
