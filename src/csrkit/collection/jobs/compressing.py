"""`compress`: codes beside the dense vectors of a collection that somebody runs.

    job = compress("edge:///srv/shard", vector="dense", k=32)   # fit, add a vector, backfill
    job.cutover()                                               # sweep, verify, mark as live
    job.rollback()                                              # or drop what was added

A job lives in a folder; the same call goes on where a kill, a lost server or a full disk
ended it.
"""

from __future__ import annotations

import re
import secrets
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from csrkit.collection.home import Description, Home
from csrkit.collection.homes.opening import open_home, open_pair, original_of
from csrkit.collection.jobs.job import Job
from csrkit.collection.jobs.manifest import Manifest, job_folder
from csrkit.collection.jobs.ownership import refuse_fixed
from csrkit.collection.jobs.pace import Pace
from csrkit.collection.plans.target import collection_of, ranked_alike
from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from csrkit.model import CSRModel
    from csrkit.training.config import FitConfig

__all__ = ["Foreseen", "StrategyName", "compress", "default_folder", "foreseen"]

StrategyName: TypeAlias = Literal["auto", "in_place", "copy"]


def compress(
    target: Any,
    collection: str | None = None,
    *,
    vector: str = "dense",
    name: str = "csr",
    k: int = 32,
    model: CSRModel | str | PathLike[str] | None = None,
    residuals: bool = True,
    strategy: StrategyName = "auto",
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
        strategy: "in_place" adds the codes to the collection itself; "copy" leaves it as it is
            and makes a second one, to which its aliases move at the cutover; "auto" makes a
            copy only where the server cannot add a vector, before Qdrant 1.18.
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
        folder = default_folder(home.url, name) if job is None else job_folder(job)
        manifest = Manifest.read(folder)
        if manifest is None:
            manifest = _foreseen(home, wanted, strategy).manifest
            manifest.write(folder)
        else:
            _refuse_other(folder, manifest, wanted, strategy, given)
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


class Foreseen(NamedTuple):
    """What a job would do.

    Attributes:
        found: The collection.
        manifest: The job, which is not begun.
        folder: Its folder, if none is named.
        warning: Why searches by codes may find other points than before, in words; None if
            nothing is known that speaks for it.
    """

    found: Description
    manifest: Manifest
    folder: Path
    warning: str | None


def foreseen(
    target: Any,
    collection: str | None = None,
    *,
    vector: str = "dense",
    name: str = "csr",
    k: int = 32,
    residuals: bool = True,
    strategy: StrategyName = "auto",
) -> Foreseen:
    """Look at a collection as `compress` does at first, and write nothing.

    Args:
        target: As of `compress`.
        collection: As of `compress`.
        vector: As of `compress`.
        name: As of `compress`.
        k: As of `compress`.
        residuals: As of `compress`.
        strategy: As of `compress`.

    Returns:
        What a job would do.

    Raises:
        ConfigError: If the collection or the arguments cannot serve.
        StoreError: If the home fails for good.
    """  # noqa: DOC502  # raised by helpers
    home = open_home(target, collection)
    try:
        wanted = _wanted(home, vector=vector, name=name, k=k, residuals=residuals)
        return _foreseen(home, wanted, strategy)
    finally:
        home.close()


def _foreseen(home: Home, wanted: Manifest, strategy: StrategyName) -> Foreseen:
    found = home.describe()
    warning = ranked_alike(home, collection_of(found, home.url, wanted.vector, wanted.name))
    original = _copied_from(home, found, strategy, wanted)
    manifest = wanted.model_copy(update={"copy_of": original})
    return Foreseen(found, manifest, default_folder(home.url, wanted.name), warning)


def _loaded(model: Any) -> CSRModel | None:
    from csrkit.model import CSRModel, load

    if model is None or isinstance(model, CSRModel):
        return model
    if not isinstance(model, str | PathLike):
        raise ConfigError(f"expected a CSRModel or the folder of one as model=, got {model!r}")
    return load(Path(model))


def _wanted(home: Home, *, vector: str, name: str, k: int, residuals: bool) -> Manifest:
    from csrkit import __version__

    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigError(f"expected k of at least 1, got k={k!r}")
    if not (isinstance(vector, str) and isinstance(name, str) and isinstance(residuals, bool)):
        raise ConfigError(
            f"expected the names of two vectors, and residuals as True or False, got {vector=}, "
            f"{name=}, {residuals=}"
        )
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


def _copied_from(
    home: Home, found: Description, strategy: StrategyName, wanted: Manifest
) -> str | None:
    """Return the name of the collection to copy; None if codes are added in place."""
    if strategy not in get_args(StrategyName):
        raise ConfigError(f"expected strategy to be 'auto', 'in_place' or 'copy', got {strategy!r}")
    if strategy == "in_place":
        refuse_fixed(found)
    if strategy == "in_place" or (strategy == "auto" and found.can_add_in_place):
        return None
    original = original_of(home)
    title = wanted.model_copy(update={"copy_of": original}).title
    open_pair(home, original, title).check(residuals=wanted.residuals)
    return original


def _refuse_other(
    folder: Path,
    found: Manifest,
    wanted: Manifest,
    strategy: StrategyName,
    model: CSRModel | None,
) -> None:
    """Refuse to go on with another job's folder, or with other settings."""
    pairs = [
        (setting, getattr(found, setting), getattr(wanted, setting))
        for setting in ("url", "vector", "name", "k", "residuals")
    ]
    if strategy != "auto":
        pairs.append(("strategy", found.strategy, strategy))
    for setting, have, want in pairs:
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
