"""`Note`: whose folder it is, and what its first upsert fixed, in ``csrkit.json``.

zvec records neither the width of sparse vectors nor anything of ours.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import StoreError
from csrkit.stores.adapter import Held

__all__ = ["DRAFT", "Note"]

_FILE = "csrkit.json"
DRAFT = "zvec.new"  # a collection that is being made
_LEFT = {DRAFT, f"{_FILE}.new"}


class Note(BaseModel):
    """What a folder of a `ZvecStore` holds.

    Attributes:
        model_config: Frozen; unknown keys are refused, as they are of a newer csrkit.
        csrkit: Kind of the folder.
        format: Its layout.
        dim: Width of the codes; None before the first upsert.
        residual_bytes: Bytes per residual; 0 if none are kept.
        codec: Fingerprint of the codec; None if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    csrkit: Literal["ZvecStore"] = "ZvecStore"
    format: Literal[2] = 2
    dim: int | None = Field(default=None, ge=1, le=2**31 - 1)
    residual_bytes: int = Field(default=0, ge=0)
    codec: str | None = None

    @property
    def held(self) -> Held | None:
        """What the first upsert fixed, None before it."""
        return None if self.dim is None else Held(self.dim, self.residual_bytes, self.codec)

    @classmethod
    def read(cls, folder: Path) -> Note | None:
        """Read the note of a folder.

        Args:
            folder: Folder of a store, which may not exist.

        Returns:
            The note; None if the folder is missing, empty, or holds what a process that died left
            while it made a store, so free to use.

        Raises:
            StoreError: If the folder is somebody else's, or of a newer csrkit.
        """
        try:
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except FileNotFoundError as error:
            if not folder.exists() or {one.name for one in folder.iterdir()} <= _LEFT:
                return None
            raise StoreError(
                f"{folder} is not empty and no store of csrkit: it has no {_FILE}. "
                "Name a new folder, or one that ZvecStore made"
            ) from error
        except (OSError, ValidationError) as error:
            raise StoreError(f"{folder} holds no store that this csrkit reads: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the note so that a crash leaves the old one or the new one.

        Args:
            folder: Folder of the store, made if missing.

        Raises:
            StoreError: If it cannot be written.
        """
        draft = folder / f"{_FILE}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / _FILE)
        except OSError as error:
            raise StoreError(f"cannot write to the store's folder {folder}: {error}") from error
