"""The model of a job: given, or fitted to a sample of the collection; and checked against it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from csrkit.errors import ConfigError, JobError

if TYPE_CHECKING:
    from csrkit.collection.home import Home
    from csrkit.collection.jobs.manifest import Manifest
    from csrkit.model import CSRModel
    from csrkit.training.config import FitConfig

__all__ = ["chosen", "keep", "stored", "with_model"]

_FIT_BYTES = 256 << 20  # of dense vectors that a model is fitted on
_FIT_ROWS = 100_000


def chosen(
    home: Home,
    manifest: Manifest,
    model: CSRModel | None,
    config: FitConfig | None,
    *,
    progress: bool,
) -> CSRModel:
    """Return the model to encode with, fitted if none is given.

    Args:
        home: The collection.
        manifest: The job.
        model: Model to encode with; None fits one to a uniform sample of the collection.
        config: Settings of that fit.
        progress: Whether to show its progress.

    Returns:
        A model that fits the collection and the job.

    Raises:
        ConfigError: If the collection or the model cannot serve.
        MissingExtra: If a model is to be fitted and torch is not installed.
        StoreError: If the home fails.
    """  # noqa: DOC502  # raised by helpers
    source = home.describe().source(manifest.vector)
    if model is None:
        from csrkit.fitting import fit

        rows = min(_FIT_ROWS, _FIT_BYTES // (4 * source.dim))
        sample = home.sample(rows, manifest.vector, seed=config.seed if config else 0)
        model = fit(sample.vectors, config=config, progress=progress)
    if model.dim != source.dim:
        raise ConfigError(
            f"expected a model of {source.dim} dimensions, as the vector {manifest.vector!r} "
            f"has them, got one of {model.dim}"
        )
    if manifest.k > model.n_latents:
        raise ConfigError(
            f"expected k up to the model's {model.n_latents} latents, got k={manifest.k}"
        )
    return model


def with_model(manifest: Manifest, model: CSRModel) -> Manifest:
    """Return a manifest that names its model.

    Args:
        manifest: The job.
        model: Its model.

    Returns:
        A new manifest.
    """
    update = {
        "n_latents": model.n_latents,
        "residual_bytes": model.residual_bytes if manifest.residuals else 0,
        "fingerprint": model.fingerprint,
    }
    return manifest.model_copy(update=update)


def keep(model: CSRModel, folder: Path) -> None:
    """Save the model of a job.

    Args:
        model: The model.
        folder: The job folder.

    Raises:
        FormatError: If something else is in its place.
        JobError: If it cannot be written.
    """  # noqa: DOC502  # raised by `save`
    try:
        model.save(folder / "model")
    except OSError as error:
        raise JobError(f"cannot write the model to {folder}: {error}") from error


def stored(folder: Path, manifest: Manifest) -> CSRModel:
    """Load the model of a job.

    Args:
        folder: The job folder.
        manifest: The job.

    Returns:
        The model.

    Raises:
        FormatError: If the model cannot be read.
        JobError: If there is none yet, or another one in the job folder, or it is not the
            one that the manifest tells of.
    """  # noqa: DOC502  # raised by `load`
    from csrkit.model import load

    if manifest.fingerprint is None:
        raise JobError(f"the job in {folder} has no model yet: run it first")
    model = load(folder / "model")
    if model.fingerprint != manifest.fingerprint:
        raise JobError(
            f"expected the model {manifest.fingerprint[:12]} in {folder}/model, "
            f"got {model.fingerprint[:12]}: put the job's own model back"
        )
    if with_model(manifest, model) != manifest:
        raise JobError(
            f"the model in {folder}/model has {model.n_latents} latents and residuals of "
            f"{model.residual_bytes} bytes, and manifest.json says n_latents={manifest.n_latents} "
            f"and residual_bytes={manifest.residual_bytes}: it was changed; restore it"
        )
    return model
