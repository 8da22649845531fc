"""The folder of a store: the note ``csrkit.json``, and zvec's collection in ``zvec/``.

The collection is made aside and put in place last, so a process that dies leaves a store or none.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import zvec
from zvec import Collection, FieldSchema, FlatIndexParam, HnswIndexParam, MetricType

from csrkit.errors import ConfigError, StoreError
from csrkit_zvec.note import DRAFT, Note
from csrkit_zvec.rows import CODE, DATA, RESIDUAL

__all__ = ["Index", "opened"]

Index: TypeAlias = FlatIndexParam | HnswIndexParam


def opened(
    folder: Path, index: Index | None, fields: Sequence[FieldSchema], *, create: bool
) -> tuple[Note, Collection]:
    """Open a folder, or make one.

    Args:
        folder: The folder.
        index: How codes are searched; None: as stored, a flat one for a new folder.
        fields: Keys of payloads that filters are to see.
        create: Whether a folder that is missing or empty may be filled.

    Returns:
        The note, and zvec's collection.

    Raises:
        ConfigError: If zvec refuses a setting.
        StoreError: If the folder is somebody else's, open elsewhere, was made with other
            settings, or is not there and may not be made.
    """
    if index is not None and not isinstance(index, FlatIndexParam | HnswIndexParam):
        raise ConfigError(
            "expected zvec.FlatIndexParam(MetricType.IP) or zvec.HnswIndexParam(MetricType.IP), "
            f"which sparse vectors can have, got {type(index).__name__}"
        )
    kinds = {_name(one): one.data_type.name for one in fields}
    note, inside = Note.read(folder), folder / "zvec"
    if note is not None and note.held is None and not inside.exists():
        note = None  # whoever made it died before the end
    if note is None and not create:
        raise StoreError(
            f"no store at {folder}: check the path, or make one with ZvecStore({str(folder)!r})"
        )
    if note is None:
        return _made(folder, index or FlatIndexParam(metric_type=MetricType.IP), fields)
    if not all(one.stat().st_size for one in inside.glob("manifest.*")):
        raise StoreError(  # zvec 0.8.0 would end the process by a segmentation fault
            f"{folder}: the manifest in {inside} is empty, as zvec leaves it on a full disk, and "
            "the store is lost: make room, and fill a new folder"
        )
    try:
        found = zvec.open(str(inside))
    except (ValueError, RuntimeError) as error:
        raise StoreError(
            f"{folder}: cannot open the store, which one process at a time can: {error}"
        ) from error
    try:
        _check_same(folder, found, index, kinds)
    except StoreError:
        found.close()
        raise
    return note, found


def _name(field: FieldSchema) -> str:
    if not isinstance(field, FieldSchema) or field.name in (DATA, RESIDUAL, CODE):
        raise ConfigError(
            "expected fields such as zvec.FieldSchema('lang', zvec.DataType.STRING, nullable=True)"
            f", none named {DATA!r}, {RESIDUAL!r} or {CODE!r}, which csrkit keeps, got {field!r}"
        )
    return str(field.name)


def _made(folder: Path, index: Index, fields: Sequence[FieldSchema]) -> tuple[Note, Collection]:
    own = [
        FieldSchema(DATA, zvec.DataType.STRING),
        FieldSchema(RESIDUAL, zvec.DataType.STRING, nullable=True),
    ]
    code = zvec.VectorSchema(CODE, zvec.DataType.SPARSE_VECTOR_FP32, index_param=index)
    try:
        schema = zvec.CollectionSchema("csrkit", fields=[*own, *fields], vectors=[code])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / DRAFT, ignore_errors=True)  # of a process that died
        zvec.create_and_open(str(folder / DRAFT), schema).close()
        note = Note()
        note.write(folder)
        (folder / DRAFT).rename(folder / "zvec")
        return note, zvec.open(str(folder / "zvec"))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"zvec refuses the settings of the store: {error}") from error
    except (OSError, RuntimeError) as error:
        raise StoreError(f"{folder}: cannot make a store: {error}") from error


def _check_same(
    folder: Path, found: Collection, index: Index | None, kinds: Mapping[str, str]
) -> None:
    stored = found.schema.vectors[0].index_param
    if index is not None and index.to_dict() != stored.to_dict():
        raise StoreError(f"{folder} was made with the index {stored}, got {index}: leave it out")
    fields = found.schema.fields
    there = {one.name: one.data_type.name for one in fields if one.name not in (DATA, RESIDUAL)}
    if not there.items() >= kinds.items():
        raise StoreError(
            f"{folder} was made with the fields {there}, got {dict(kinds)}: fill a new folder"
        )
