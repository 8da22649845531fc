"""The folder of a store: ``store.json`` names the files of one save, which replace those before.

A crash leaves the old ``store.json`` with its files, or the new one. Of two savers, and of a
saver and a reader, one waits for the other.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from csrkit.errors import CsrkitError, StoreError
from csrkit.stores.adapter import Upsert
from csrkit.vectors import SparseVectors
from csrkit_seismic.index import Index
from csrkit_seismic.saved import FILE, Saved
from csrkit_seismic.table import Table

__all__ = ["check_writable", "load", "save"]

_INDEX = ".index.seismic"


def check_writable(folder: Path | None) -> None:
    """Refuse with StoreError a folder that `save` could not write to; None is no folder."""
    if folder is None:
        return
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write to the store's folder {folder}: no right to write {there}")


def save(folder: Path, table: Table, saved: Saved, index: Index | None) -> None:
    """Write a store; StoreError if it cannot be written, or another one was written since."""
    table.compact(saved.indexed)  # rows below are the index's, dead or not
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, fcntl.LOCK_EX):
            _write(folder, table, saved, index)
    except OSError as error:
        raise StoreError(f"cannot write to the store's folder {folder}: {error}") from error


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    """Hold a folder, at most until the death of the process."""
    try:
        place = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"cannot read the store's folder {folder}: {error}") from error
    try:
        with suppress(OSError):  # there are network disks without locks
            fcntl.flock(place, kind)
        yield
    finally:
        os.close(place)


def _write(folder: Path, table: Table, saved: Saved, index: Index | None) -> None:
    before, base = Saved.read(folder), folder / f"{saved.version}"
    if (before.version if before else 0) + 1 != saved.version:
        raise StoreError(
            f"{folder} was saved by another store since this one was opened, so nothing was "
            "written: open it again, and store again what is new"
        )
    table.codes.save(f"{base}.codes.safetensors")
    np.save(f"{base}.residuals.npy", table.residuals)
    with open(f"{base}.rows.jsonl", "w", encoding="utf-8") as file:
        for row, one in enumerate(table.ids):
            load = table.payloads[row].decode()
            file.write(f"[{json.dumps(one)}, {load}]\n" if table.is_live(row) else "null\n")
    if index is not None:
        index.save(f"{base}{_INDEX}")
    draft = folder / f"{FILE}.new"
    draft.write_text(saved.model_dump_json(indent=1), encoding="utf-8")
    os.replace(draft, folder / FILE)
    for old in chain(
        folder.glob("[0-9]*.codes.*"), folder.glob("[0-9]*.r*"), folder.glob("[0-9]*.index.*")
    ):
        if not old.name.startswith(f"{saved.version}."):
            old.unlink()


def load(folder: Path, *, create: bool) -> tuple[Saved, Table, Index | None] | None:
    """Read a store; None if there is none yet and one may be made.

    Args:
        folder: The folder.
        create: Whether it may be missing or empty.

    Returns:
        What it holds, or None.

    Raises:
        StoreError: If it is missing and may not be, somebody else's, or damaged.
    """
    with _locked(folder, fcntl.LOCK_SH) if folder.is_dir() else nullcontext():
        saved = Saved.read(folder, create=create)
        return None if saved is None else (saved, *_read(folder, saved))


def _read(folder: Path, saved: Saved) -> tuple[Table, Index | None]:
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
