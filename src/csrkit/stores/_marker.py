"""The note that an `EdgeStore` keeps beside the engine's files: whose folder it is.

The engine records neither the width of the codes nor who made the folder, so
``csrkit.json`` does::

    {"csrkit": "EdgeStore", "format": 1, "name": "csr",
     "datatype": "float32", "on_disk": false,
     "dim": 4096, "residual_bytes": 0, "codec": "3f2a..."}
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import ConfigError, StoreError
from csrkit.stores._checks import Held

__all__ = ["Datatype", "Marker"]

Datatype: TypeAlias = Literal["float32", "float16", "uint8"]
_FILE = "csrkit.json"
_DRAFT = f"{_FILE}.new"


class Marker(BaseModel):
    """What a folder of an `EdgeStore` holds.

    Attributes:
        model_config: Frozen; unknown keys are refused.
        csrkit: Kind of the folder.
        format: Layout of the folder; another number is another version's.
        name: Name of the sparse vector.
        datatype: How the postings keep the values.
        on_disk: Whether the postings stay on disk.
        dim: Width of the codes; None before the first upsert.
        residual_bytes: Bytes per residual; 0 if none are kept.
        codec: Fingerprint of the codec; None if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    csrkit: Literal["EdgeStore"] = "EdgeStore"
    format: Literal[1] = 1
    name: str = Field(min_length=1)
    datatype: Datatype
    on_disk: bool
    dim: int | None = Field(default=None, ge=1, le=2**31 - 1)
    residual_bytes: int = Field(default=0, ge=0)
    codec: str | None = None

    @property
    def held(self) -> Held | None:
        """What the first upsert fixed, None before it."""
        return None if self.dim is None else Held(self.dim, self.residual_bytes, self.codec)

    @classmethod
    def opened(
        cls,
        folder: Path,
        name: str,
        on_disk: bool | None,
        datatype: Datatype | None,
        *,
        create: bool,
    ) -> Self:
        """Read the marker of a folder, or write one into a folder that is free.

        Args:
            folder: Folder of the store.
            name: Name of the sparse vector.
            on_disk: Whether the postings are to stay on disk; None: as stored.
            datatype: How the postings are to keep the values; None: as stored.
            create: Whether one may be written.

        Returns:
            The marker.

        Raises:
            ConfigError: If a setting is out of its range.
            StoreError: If the folder is somebody else's, was made with other
                settings, or is free and none may be written.
        """
        found = cls.read(folder)
        if found is None and not create:
            raise StoreError(
                f"no store at {folder}: check the path, or make one with EdgeStore('{folder}') "
                f"or `csrkit encode CODEC EMBEDDINGS --store edge://{folder}`"
            )
        if found is None:
            marker = cls._new(name, on_disk, datatype)
            marker.write(folder)
            return marker
        for setting, asked in (("name", name), ("on_disk", on_disk), ("datatype", datatype)):
            stored = getattr(found, setting)
            if asked is not None and asked != stored:
                raise StoreError(
                    f"{folder} was made with {setting}={stored!r}, got {asked!r}: "
                    "open it with the same, or make a new folder"
                )
        return found

    @classmethod
    def _new(cls, name: str, on_disk: bool | None, datatype: Datatype | None) -> Self:
        try:
            return cls(name=name, on_disk=bool(on_disk), datatype=datatype or "float32")
        except ValidationError as error:
            raise ConfigError(
                "expected a name and a datatype of float32, float16 or uint8, "
                f"got {name=}, {datatype=}"
            ) from error

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the marker of a folder.

        Args:
            folder: Folder of a store, which may not exist.

        Returns:
            The marker; None if the folder is missing or empty, so free to use, or holds
            what a kill left of the first one.

        Raises:
            StoreError: If the folder is somebody else's, or of a newer csrkit.
        """
        try:
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except FileNotFoundError as error:
            if not folder.exists() or {one.name for one in folder.iterdir()} <= {_DRAFT}:
                return None
            hint = "Name a new folder, or one that EdgeStore made"
            if (folder / "edge_config.json").exists():
                hint = (
                    "It is a shard, whose codes `csrkit compress` adds and the engine's own "
                    "queries search; a store has another folder"
                )
            raise StoreError(
                f"{folder} is not empty and no csrkit store: it has no {_FILE}. {hint}"
            ) from error
        except (OSError, ValidationError) as error:
            raise StoreError(f"{folder} holds no store that this csrkit reads: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the marker so that a crash leaves the old one or the new one.

        Args:
            folder: Folder of the store, made if missing.

        Raises:
            StoreError: If it cannot be written.
        """
        draft = folder / _DRAFT
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / _FILE)
        except OSError as error:
            raise StoreError(f"cannot write to the store's folder {folder}: {error}") from error
