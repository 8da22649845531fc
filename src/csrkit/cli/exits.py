"""How a command ends: exit codes, and errors as one line on stderr.

An error that the user can do something about never shows a traceback. What is
left is a bug in csrkit: that one keeps its traceback.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperGroup

from csrkit.cli.codes import ExitCode
from csrkit.errors import CsrkitError, JobError, StoreError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ExitCode", "Interrupted", "VerbGroup", "note", "watched_interrupts"]


class Interrupted(Exception):
    """Ctrl-C, with a message that says what was kept and how to go on."""


class VerbGroup(TyperGroup):
    """The commands, with every error reported in one place."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Parse the arguments.

        Args:
            *args: As for typer's own.
            **extra: The same.

        Returns:
            The context.

        Raises:
            Exit: With the code for an interrupt, should Ctrl-C come now.
        """  # noqa: DOC502  # by `_reported`
        with _reported():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for.

        Args:
            ctx: The context, whose class differs between versions of typer.

        Returns:
            What the command returned.

        Raises:
            Exit: With the code of `ExitCode` that the error calls for.
        """
        with _reported(), _warnings_as_lines():
            return super().invoke(ctx)


def note(text: str) -> None:
    """Write one line to stderr."""
    typer.echo(text, err=True)


@contextmanager
def watched_interrupts() -> Iterator[list[int]]:
    """Record Ctrl-C, for work that ends early and well instead of raising.

    Yields:
        A list that holds an entry per SIGINT received so far. The signal still
        raises KeyboardInterrupt.
    """
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def record(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    if before is not signal.default_int_handler:  # ignored on purpose, or somebody else's
        yield seen
        return
    signal.signal(signal.SIGINT, record)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _reported() -> Iterator[None]:
    """Turn what a user can act on into one line on stderr and an exit code."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        _stop(ExitCode.INTERRUPTED, str(error) or "interrupted; nothing was kept")
    except StoreError as error:
        _stop(ExitCode.STORE, str(error))
    except JobError as error:
        _stop(ExitCode.INTERRUPTED, str(error))
    except CsrkitError as error:
        _stop(ExitCode.USAGE, str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says so at exit
        raise typer.Exit(ExitCode.OK) from None
    except OSError as error:
        _stop(ExitCode.USAGE, str(error))
    except (MemoryError, RuntimeError) as error:  # numpy's, and torch's word for it
        if isinstance(error, RuntimeError) and not re.search("memory", str(error)):
            raise
        _stop(ExitCode.USAGE, f"this machine has not enough memory for that: {error}")


def _stop(code: ExitCode, message: str) -> NoReturn:
    """End with one line; the marks that pydantic and the system put in theirs are left out."""
    plain = re.sub(r"For further information visit \S+|\[Errno -?\d+\] ", "", message)
    note(f"csrkit: {' '.join(plain.split())}")
    raise typer.Exit(code)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show csrkit's warnings as lines, without file and line number."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        # a server that does not answer is an error soon, with its reason
        warnings.filterwarnings("ignore", "Failed to obtain server version")
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    note(f"warning: {message}")
