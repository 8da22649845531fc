"""Time of `import csrkit` over that of the bare interpreter, and what it loads.

    python examples/benchmarks/import_time.py

Names load on first use, so the import alone says little: the rows below it touch the names that a
service (`load`) and a training script (`fit`, before it is called) need. Fresh processes, run in
turns, files warm; "modules" is how many the row loads beyond the interpreter's own. A row that
loads torch, qdrant_client, sklearn or transformers ends the run with an error.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from _common import heading, interleaved, table

HEAVY = ("torch", "qdrant_client", "sklearn", "transformers")
CODE = {
    "bare interpreter": "pass",
    "import numpy": "import numpy",
    "import csrkit": "import csrkit",
    "import csrkit; csrkit.load": "import csrkit; csrkit.load",
    "import csrkit; csrkit.FitConfig, csrkit.fit": "import csrkit; csrkit.FitConfig, csrkit.fit",
}


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def modules(code: str) -> set[str]:
    """Return the names of all modules loaded after the code."""
    return set(run(f"{code}\nimport sys; print(*sys.modules)").split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="one round: does it run at all")
    parser.add_argument("--repeats", type=int, default=15, help="rounds")
    options = parser.parse_args()
    heading("Import time", "medians of interleaved fresh processes", toy=options.toy)
    repeats = 1 if options.toy else options.repeats
    seconds = interleaved({n: lambda code=code: run(code) for n, code in CODE.items()}, repeats)
    loaded = {name: modules(code) for name, code in CODE.items()}
    bare, bare_seconds = loaded["bare interpreter"], seconds["bare interpreter"]
    rows = [
        (
            name,
            f"{1e3 * value:.0f}",
            f"{1e3 * (value - bare_seconds):.0f}",
            len(loaded[name] - bare),
        )
        for name, value in seconds.items()
    ]
    print(table(["fresh process", "median ms", "above bare", "modules"], rows))
    heavy = {name: sorted(found.intersection(HEAVY)) for name, found in loaded.items()}
    if any(heavy.values()):
        raise SystemExit(f"loaded what an import must not load: {heavy}")
    print(f"none of them loads {', '.join(HEAVY)}")


if __name__ == "__main__":
    main()
