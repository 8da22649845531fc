"""The command line: one module per verb, each a thin layer over the Python API.

::

    csrkit demo                                          the whole job on shipped data
    csrkit fit EMBEDDINGS... -o codec/                   train a codec
    csrkit inspect codec/                                what it is and what it costs
    csrkit encode codec/ EMBEDDINGS... --store edge://index
    csrkit search codec/ edge://index QUERIES --k 16     k chosen now
    csrkit evaluate codec/ EMBEDDINGS --html page.html   beside other ways to compress
    csrkit doctor                                        what is installed, and does it work

Results go to stdout, everything else to stderr; ``--json`` makes the result one
JSON object. The exit codes are in `csrkit.cli.codes`. Nothing is computed here
that the Python API does not offer.
"""

import sys
import traceback

from csrkit.cli.codes import ExitCode
from csrkit.cli.streams import steady_streams

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script ``csrkit``."""
    steady_streams()
    try:
        from csrkit.cli.verbs import app  # takes long enough for a Ctrl-C

        app(prog_name="csrkit")
    except KeyboardInterrupt:
        print("csrkit: interrupted; nothing was kept", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:
        traceback.print_exc()
        print(
            "csrkit: this is a bug in csrkit; please report it with the lines above",
            file=sys.stderr,
        )
        sys.exit(ExitCode.BUG)
