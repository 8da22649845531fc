"""The command line: one module per verb, each a thin layer over the Python API.

::

    csrkit demo                                          the whole job on shipped data
    csrkit fit EMBEDDINGS... -o codec/                   train a codec
    csrkit inspect codec/                                what it is and what it costs
    csrkit encode codec/ EMBEDDINGS... --store edge://index
    csrkit search codec/ edge://index QUERIES --k 16     k chosen now
    csrkit doctor                                        what is installed, and does it work

Results go to stdout, everything else to stderr; ``--json`` makes the result one
JSON object. The exit codes are in `csrkit.cli.exits`. Nothing is computed here
that the Python API does not offer.
"""

import sys
import traceback

from csrkit.cli.exits import ExitCode, note
from csrkit.cli.streams import steady_streams
from csrkit.cli.verbs import app

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script ``csrkit``."""
    steady_streams()
    try:
        app(prog_name="csrkit")
    except Exception:
        traceback.print_exc()
        note("csrkit: this is a bug in csrkit; please report it with the lines above")
        sys.exit(ExitCode.BUG)
