"""Standard streams that cannot stop the work.

A closed stdout or stderr is a place to write nothing to, a character that a
terminal's encoding lacks becomes "?", and a stderr that breaks, such as a pipe
whose reader has left, takes no more messages: progress is not worth a failed run.
A stdout that breaks is told to the command, as it loses the result.
"""

from __future__ import annotations

import io
import os
import sys

__all__ = ["steady_streams"]


class _Steady(io.TextIOWrapper):
    """A text file that goes quiet where it would raise."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._silence()

    def _silence(self) -> None:
        """Send what is still in the buffer, and what will come, nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def steady_streams() -> None:
    """Prepare stdout and stderr of this process; for the start of a command."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # a closed stream's number: no file of ours may get it
    os.close(free)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for the life of the process
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if sys.stderr is not None:
        sys.stderr.flush()
    encoding = getattr(sys.stderr, "encoding", "utf-8")
    raw = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = _Steady(raw, encoding=encoding, errors="replace", line_buffering=True)
