"""The folder of a store: ``store.json`` names the files of one save, which replace those before.

A crash leaves the old ``store.json`` with its files, or the new one.
"""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import CsrkitError, StoreError
from csrkit.stores.adapter import Held, Upsert
from csrkit.vectors import SparseVectors
from csrkit_seismic.index import Index
from csrkit_seismic.table import Table

__all__ = ["Saved", "check_writable", "load", "save"]

_FILE = "store.json"
_INDEX = ".index.seismic"


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
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except FileNotFoundError as error:
            if not folder.exists() or not any(folder.iterdir()):
                if create:
                    return None
                raise StoreError(
                    f"no store at {folder}: check the path, or make one with "
                    f"SeismicStore({str(folder)!r})"
                ) from error
            raise StoreError(
                f"{folder} is not empty and no store of csrkit: it has no {_FILE}. "
                "Name a new folder, or one that SeismicStore made"
            ) from error
        except (OSError, ValidationError) as error:
            raise StoreError(f"{folder} holds no store that this csrkit reads: {error}") from error


def check_writable(folder: Path | None) -> None:
    """Refuse with StoreError a folder that `save` could not write to; None is no folder."""
    if folder is None:
        return
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write to the store's folder {folder}: no right to write {there}")


def save(folder: Path, table: Table, saved: Saved, index: Index | None) -> None:
    """Write a store; StoreError if it cannot be written, or another one was written since."""
    before, base = Saved.read(folder), folder / f"{saved.version}"
    if (before.version if before else 0) + 1 != saved.version:
        raise StoreError(
            f"{folder} was saved by another store since this one was opened, so nothing was "
            "written: open it again, and store again what is new"
        )
    table.compact(saved.indexed)  # rows below are the index's, dead or not
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.codes.save(f"{base}.codes.safetensors")
        np.save(f"{base}.residuals.npy", table.residuals)
        with open(f"{base}.rows.jsonl", "w", encoding="utf-8") as file:
            for row, one in enumerate(table.ids):
                load = table.payloads[row].decode()
                file.write(f"[{json.dumps(one)}, {load}]\n" if table.is_live(row) else "null\n")
        if index is not None:
            index.save(f"{base}{_INDEX}")
        draft = folder / f"{_FILE}.new"
        draft.write_text(saved.model_dump_json(indent=1), encoding="utf-8")
        os.replace(draft, folder / _FILE)
        for old in chain(
            folder.glob("[0-9]*.codes.*"), folder.glob("[0-9]*.r*"), folder.glob("[0-9]*.index.*")
        ):
            if not old.name.startswith(f"{saved.version}."):
                old.unlink()
    except OSError as error:
        raise StoreError(f"cannot write to the store's folder {folder}: {error}") from error


def load(folder: Path, saved: Saved) -> tuple[Table, Index | None]:
    """Read a store; StoreError if a file is missing or damaged."""
    base, table = folder / f"{saved.version}", Table()
    try:
        codes = SparseVectors.load(f"{base}.codes.safetensors")
        residuals = np.load(f"{base}.residuals.npy", allow_pickle=False)
        with open(f"{base}.rows.jsonl", encoding="utf-8") as file:
            rows: list[Any] = [json.loads(line) for line in file]
        if not len(codes) == len(residuals) == len(rows) >= saved.indexed or codes.dim != saved.dim:
            raise ValueError("its files are of different saves")
        dead = object()
        ids: list[Any] = [dead if row is None else row[0] for row in rows]
        loads = [(row and row[1]) or {} for row in rows]
        table.put(Upsert(ids, codes, loads, residuals))
        table.drop([dead])  # type: ignore[list-item]  # no id at all, so never that of a row
        known = codes[: saved.indexed]
        index = Index.load(f"{base}{_INDEX}", known) if saved.indexed else None
    except (OSError, ValueError, LookupError, TypeError, EOFError, CsrkitError) as error:
        raise StoreError(f"{folder} does not hold a whole store: {error}") from error
    return table, index
