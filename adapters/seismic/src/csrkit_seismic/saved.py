"""What the folder of a store says of itself: ``store.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import StoreError
from csrkit.stores.adapter import Held

__all__ = ["FILE", "Saved"]

FILE = "store.json"


class Saved(BaseModel):
    """What a folder holds.

    Attributes:
        model_config: Frozen; unknown keys are refused, as they are of a newer csrkit.
        csrkit: Kind of the folder.
        format: Its layout.
        version: Number of the save, in the names of its files.
        dim: Width of the codes.
        residual_bytes: Bytes per residual; 0 if none are kept.
        codec: Fingerprint of the codec; None if it is not known.
        indexed: Rows that the index covers; 0 without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    csrkit: Literal["SeismicStore"] = "SeismicStore"
    format: Literal[2] = 2
    version: int = Field(ge=1)
    dim: int = Field(ge=1, le=2**31 - 1)
    residual_bytes: int = Field(default=0, ge=0)
    codec: str | None = None
    indexed: int = Field(default=0, ge=0)

    @property
    def held(self) -> Held:
        """What the first upsert fixed."""
        return Held(self.dim, self.residual_bytes, self.codec)

    @classmethod
    def read(cls, folder: Path, *, create: bool = True) -> Saved | None:
        """Read ``store.json``; None if the folder is missing or empty, so free to use.

        Args:
            folder: The folder.
            create: Whether it may be free.

        Returns:
            What it holds, or None.

        Raises:
            StoreError: If it is somebody else's, or of a newer csrkit, or free and may not be.
        """
        try:
            return cls.model_validate_json((folder / FILE).read_bytes())
        except FileNotFoundError as error:
            if not folder.exists() or not any(folder.iterdir()):
                if create:
                    return None
                raise StoreError(
                    f"no store at {folder}: check the path, or make one with "
                    f"SeismicStore({str(folder)!r})"
                ) from error
            raise StoreError(
                f"{folder} is not empty and no store of csrkit: it has no {FILE}. "
                "Name a new folder, or one that SeismicStore made"
            ) from error
        except (OSError, ValidationError) as error:
            raise StoreError(f"{folder} holds no store that this csrkit reads: {error}") from error
