"""`compress`: codes beside the dense vectors of a collection that somebody runs.

    job = compress("edge:///srv/shard", vector="dense", k=32)   # fit, add a vector, backfill
    job.cutover()                                               # sweep, mark as live
    job.rollback()                                              # or drop what was added

A job lives in a folder; the same call goes on where a kill, a lost server or a full disk
ended it.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrkit.collection.home import Home
from csrkit.collection.homes.opening import open_home
from csrkit.collection.job import Job
from csrkit.collection.manifest import Manifest
from csrkit.collection.pace import Pace
from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from os import PathLike

    from csrkit.model import CSRModel
    from csrkit.training.config import FitConfig

__all__ = ["compress", "default_folder"]


def compress(
    target: Any,
    collection: str | None = None,
    *,
    vector: str = "dense",
    name: str = "csr",
    k: int = 32,
    model: CSRModel | str | PathLike[str] | None = None,
    residuals: bool = True,
    job: str | PathLike[str] | None = None,
    config: FitConfig | None = None,
    rate: float | None = None,
    progress: bool = True,
) -> Job:
    """Add codes to a collection that exists, beside its dense vectors, while it serves.

    Reads stored vectors alone: no text, no embedding model. Called again with the same
    arguments after whatever ended it, it goes on.

    Args:
        target: ``qdrant://host:6333/collection`` (``qdrant+https://`` for TLS, the key in
            QDRANT_API_KEY), ``edge://folder`` of a Qdrant Edge shard, or a ``QdrantClient``.
        collection: Name of the collection, with a client.
        vector: Name of the dense vector to encode; "" for an unnamed one.
        name: Name of the sparse vector to add; that of the residuals is ``"<name>_residual"``.
        k: Latents per code, at least 1.
        model: Model or model folder to encode with; None fits one to a uniform sample.
        residuals: Whether to keep what codes leave out beside them, for rescoring.
        job: Job folder; by default ``csrkit-jobs/<collection>.<name>``.
        config: Settings of the fit.
        rate: Most points per second; None for no cap.
        progress: Whether to show progress bars on stderr.

    Returns:
        The job, backfilled: `Job.cutover` is next, or `Job.rollback`.

    Raises:
        ConfigError: If the collection, the model or the arguments cannot serve, or differ
            from those the job folder was begun with.
        FormatError: If the job folder holds something else.
        JobError: If the vector is there and not this job's, or the job cannot go on.
        MissingExtra: If a model is to be fitted and torch is not installed.
        StoreError: If the home fails for good; what was acknowledged is kept.
    """  # noqa: DOC502  # raised by helpers
    given, pace = _loaded(model), Pace(rate=rate)
    home = open_home(target, collection)
    try:
        wanted = _wanted(home, vector=vector, name=name, k=k, residuals=residuals)
        home.describe().source(vector)  # before a folder is made
        folder = Path(job) if job is not None else default_folder(home.url, name)
        manifest = _manifest(folder, wanted, given)
        work = Job(home, folder, manifest, pace=pace, progress=progress)
    except BaseException:
        home.close()
        raise
    try:
        work.run(model=given, config=config)
    except BaseException:
        work.close()
        raise
    return work


def _loaded(model: Any) -> CSRModel | None:
    from csrkit.model import CSRModel, load

    return model if model is None or isinstance(model, CSRModel) else load(model)


def _wanted(home: Home, *, vector: str, name: str, k: int, residuals: bool) -> Manifest:
    from csrkit import __version__

    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigError(f"expected k of at least 1, got k={k!r}")
    if not name or name == vector:
        raise ConfigError(f"expected a name for the codes other than {vector!r}, got name={name!r}")
    return Manifest(
        job=secrets.token_hex(8),
        csrkit=__version__,
        url=home.url,
        vector=vector,
        name=name,
        k=k,
        residuals=residuals,
    )


def default_folder(url: str, name: str) -> Path:
    """Return the job folder of a collection, if none is named.

    Args:
        url: The collection, without any secret.
        name: Name of the sparse vector.

    Returns:
        A folder below ``csrkit-jobs``.
    """
    title = url.rstrip("/").rpartition("/")[2]
    return Path("csrkit-jobs") / re.sub(r"[^\w.-]", "_", f"{title}.{name}")


def _manifest(folder: Path, wanted: Manifest, model: CSRModel | None) -> Manifest:
    """Return the manifest of the folder, written if it is free, and refuse another job's."""
    found = Manifest.read(folder)
    if found is None:
        wanted.write(folder)
        return wanted
    for setting in ("url", "vector", "name", "k", "residuals"):
        have, want = getattr(found, setting), getattr(wanted, setting)
        if have != want:
            raise ConfigError(
                f"the job in {folder} was begun with {setting}={have!r}, got {want!r}: go on with "
                "the same, or name another folder as job="
            )
    if model is not None and found.fingerprint not in (None, model.fingerprint):
        raise ConfigError(
            f"the job in {folder} was begun with the model {str(found.fingerprint)[:12]}, got "
            f"{model.fingerprint[:12]}: leave model= out, or name another folder as job="
        )
    return found
