"""`manifest.json` of a job folder: what the job is; fixed once it has begun, and no secret.

::

    manifest.json   target, vectors, k, fingerprint of the model
    ledger.db       how far it is
    model/          the model, as `CSRModel.save` writes it
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.collection.home import CodeVector, Marker
from csrkit.errors import ConfigError, FormatError, JobError

__all__ = ["Manifest", "job_folder"]

_FILE = "manifest.json"
_EARLIER = {"job.lock", "manifest.json.new"}  # all that a kill before the manifest can leave


def job_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the path of a job folder, which may not exist.

    Args:
        folder: The folder as a caller names it.

    Returns:
        Its path.

    Raises:
        ConfigError: If it cannot be the name of a folder.
    """
    try:
        path = Path(folder)
    except TypeError as error:
        raise ConfigError(f"expected the path of a job folder, got {folder!r}") from error
    if "\0" in str(path):
        raise ConfigError(f"expected the path of a job folder, got {folder!r} with a NUL in it")
    return path


class Manifest(BaseModel):
    """What a job is.

    Attributes:
        model_config: Frozen; unknown keys are refused.
        format: Layout of the folder.
        job: Id of the job, drawn at random.
        csrkit: Version that began it.
        url: The collection, without any secret.
        vector: Name of the dense vector that is encoded.
        name: Name of the sparse vector.
        k: Latents per code.
        residuals: Whether residuals are kept beside the codes.
        copy_of: The collection that is copied into one with codes, by its own name and no
            alias; None if the codes are added in place.
        n_latents: Width of the codes; None until there is a model.
        residual_bytes: Bytes per residual; 0 if none are kept.
        fingerprint: That of the model; None until there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    job: str = Field(min_length=8)
    csrkit: str
    url: str
    vector: str
    name: str = Field(min_length=1)
    k: int = Field(ge=1)
    residuals: bool
    copy_of: str | None = None
    n_latents: int | None = Field(default=None, ge=1)
    residual_bytes: int = Field(default=0, ge=0)
    fingerprint: str | None = None

    @property
    def codes(self) -> CodeVector:
        """The sparse vector of the job, once there is a model.

        Raises:
            JobError: If there is none yet.
        """
        if self.n_latents is None:
            raise JobError("the job has no model yet: run it first")
        return CodeVector(self.name, self.n_latents, self.residual_bytes)

    @property
    def strategy(self) -> Literal["in_place", "copy"]:
        """Where the codes go."""
        return "in_place" if self.copy_of is None else "copy"

    @property
    def title(self) -> str:
        """Name of the copy: one that nobody else thinks of.

        Raises:
            JobError: If there is none, as the codes are added in place.
        """
        if self.copy_of is None:
            raise JobError("the job works in place: it makes no copy")
        return f"{self.copy_of}__csrkit_{self.job}"

    @property
    def marker(self) -> Marker:
        """The marker of the job.

        Raises:
            JobError: If there is no model yet.
        """
        if self.fingerprint is None:
            raise JobError("the job has no model yet: run it first")
        return Marker(
            job=self.job,
            csrkit=self.csrkit,
            fingerprint=self.fingerprint,
            vector=self.vector,
            name=self.name,
            k=self.k,
            n_latents=self.codes.n_latents,
            residual_bytes=self.residual_bytes,
        )

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the manifest of a job folder.

        Args:
            folder: The folder, which may not exist.

        Returns:
            The manifest; None if the folder is missing or empty, so free to use.

        Raises:
            FormatError: If the folder holds something else, or a newer job.
        """
        try:
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except FileNotFoundError as error:
            if not folder.is_dir() or {path.name for path in folder.iterdir()} <= _EARLIER:
                return None
            raise FormatError(
                f"{folder} is not empty and no job of csrkit: it has no {_FILE}; "
                "name the folder of a job, or for a new job a new one"
            ) from error
        except (OSError, ValidationError) as error:
            raise FormatError(f"{folder} holds no job that this csrkit reads: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the manifest so that a crash leaves the old one or the new one.

        Args:
            folder: The job folder; made if missing.

        Raises:
            JobError: If it cannot be written.
        """
        draft = folder / f"{_FILE}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / _FILE)
        except OSError as error:
            raise JobError(f"cannot write to the job folder {folder}: {error}") from error
