"""Arguments and options that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csrkit.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from csrkit.model.card import Rescore

__all__ = [
    "RESCORE",
    "Codec",
    "Embeddings",
    "Json",
    "Progress",
    "Rescoring",
    "StoreUrl",
    "check_device",
    "check_writable",
    "whole_numbers",
]

Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]
Progress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show a progress bar on stderr; by default only in a terminal.",
    ),
]
Codec = Annotated[Path, typer.Argument(help="Folder that `csrkit fit` wrote.")]
Embeddings = Annotated[
    list[str],
    typer.Argument(
        help="Files (.npy, .safetensors, .parquet, .arrow, .feather) or folders of them; "
        "FILE:NAME picks one tensor or column.",
        show_default=False,
    ),
]
StoreUrl = Annotated[
    str,
    typer.Argument(
        help="edge://FOLDER (Qdrant's engine embedded), qdrant://HOST:PORT/COLLECTION, or what an "
        "installed adapter brings, such as pg://HOST/DATABASE/TABLE.",
        show_default=False,
    ),
]


class Rescoring(StrEnum):
    """The values of ``--rescore``."""

    CODES = "codes"
    DENSE = "dense"
    NONE = "none"


RESCORE: dict[Rescoring, Rescore | None] = {
    Rescoring.CODES: "codes",
    Rescoring.DENSE: "dense",
    Rescoring.NONE: None,
}


def whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """Parse a list such as "8,16,32".

    Args:
        text: Whole numbers from 1, between commas.
        option: Name of the option, for the message.

    Returns:
        The numbers, in the order given.

    Raises:
        ConfigError: If there is anything else in it.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        raise ConfigError(
            f"expected whole numbers from 1 between commas, such as 8,16,32, got {option} {text!r}"
        )
    return tuple(map(int, parts))


def check_device(device: str | None) -> None:
    """Refuse a torch device that this machine does not have.

    Args:
        device: Name of the device; None and "cpu" are always there.

    Raises:
        ConfigError: If nothing can be put there.
        MissingExtra: If torch is not installed.
    """  # noqa: DOC502  # raised by check_device
    if device is not None and device != "cpu":
        from csrkit import tensors  # numpy: not for --help

        tensors.check_device(device, f"--device {device!r}", "--device")


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before the work whose result it is for.

    Args:
        folder: Where files will be made.

    Raises:
        FormatError: If it is no folder, or takes no file.
    """
    if not folder.is_dir():
        raise FormatError(f"expected a folder to write to, found none at {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FormatError(f"cannot write to the folder {folder}: {error.strerror}") from error
