"""Exit codes; apart from all else, as they are needed where nothing else has loaded."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """What the exit status of every command means."""

    OK = 0
    GATE = 1  # a check that was asked for failed
    USAGE = 2  # arguments, input files, settings, a missing extra
    STORE = 3  # a vector store refused, broke, or cannot be reached
    INTERRUPTED = 4  # stopped by Ctrl-C; the message says how to go on
    BUG = 70  # an error csrkit did not expect, with its traceback (sysexits' EX_SOFTWARE)
