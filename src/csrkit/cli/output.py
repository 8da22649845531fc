"""What the commands print: facts as JSON or text, aligned tables, safe lines."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from csrkit.errors import FormatError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["amount", "bar_wanted", "one_line", "show", "table", "width"]


def show(facts: DataclassInstance, lines: Iterable[str], *, as_json: bool) -> None:
    """Print the result of a command on stdout.

    Args:
        facts: The result, of plain numbers, strings, lists and dataclasses.
        lines: The same for people; not read if JSON is wanted.
        as_json: Print one JSON object instead.

    Raises:
        FormatError: If stdout takes nothing, such as a file on a full disk.
        BrokenPipeError: If the reader has left, which is no error.
    """
    printed = [json.dumps(dataclasses.asdict(facts), allow_nan=False)] if as_json else lines
    try:
        for line in printed:
            typer.echo(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FormatError(f"cannot print the result: {error.strerror}") from error


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align cells in columns, numbers to the right, the header in bold on a terminal.

    Args:
        header: One title per column.
        rows: Cells as text; one row per line.

    Returns:
        One line per row, after the header.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(_is_number(cell) for cell in column[1:]) for column in columns]
    lines = []
    for cells in (header, *rows):
        padded = (
            cell.rjust(wide) if to_right else cell.ljust(wide)
            for cell, wide, to_right in zip(cells, widths, right, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return [typer.style(lines[0], bold=True), *lines[1:]]  # echo drops the style in a pipe


def _is_number(cell: str) -> bool:
    return not cell.strip("0123456789.,%-+eE ")


def one_line(text: object, most: int) -> str:
    """Return text on one line of at most so many characters.

    Args:
        text: Anything; what a terminal would obey, such as escape codes, becomes a space.
        most: Characters, at least 1.

    Returns:
        The text, with an ellipsis where it was cut.
    """
    visible = "".join(char if char.isprintable() else " " for char in str(text))
    line = " ".join(visible.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def width() -> int:
    """Return the columns to fill: the terminal's, 100 where there is none, 60 to 120."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)


def amount(n_bytes: float) -> str:
    """Spell a number of bytes, such as "5.8 MB"."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def bar_wanted(asked: bool | None) -> bool:
    """Decide on a progress bar: as asked for, else only where a person watches."""
    return sys.stderr.isatty() if asked is None else asked
