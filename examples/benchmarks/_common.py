"""What the benchmarks share: interleaved timing, tables, the machine's line, test data."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).parent


def interleaved(
    contestants: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1
) -> dict[str, float]:
    """Run A B C A B C ... and return the median seconds of each.

    Interleaved, so that a machine that slows down slows all of them down. The warm-up rounds,
    which pay for memory and threads, are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warmup + repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a markdown table whose columns line up; the first is left-aligned."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        "| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |"
        for row in [cells[0], rule, *cells[1:]]
    )


def ratios(seconds: Mapping[str, float], references: Mapping[str, str], first: str = "") -> str:
    """Format medians as a table: milliseconds, then the time over that of each reference.

    Args:
        seconds: Median seconds by name, in the order of the rows.
        references: Column heading to the name in ``seconds`` that it divides by.
        first: Heading of the first column.
    """
    rows = [
        [name, f"{1e3 * value:.1f}"]
        + [f"{value / seconds[reference]:.2f}" for reference in references.values()]
        for name, value in seconds.items()
    ]
    return table([first, "median ms", *references], rows)


def provenance() -> str:
    """Say what this run ran on: commit, date, processor, versions. No paths, no host names."""
    libraries = [f"{name} {_version(name)}" for name in ("numpy", "torch")]
    return (
        f"commit {_commit()}, {datetime.now(UTC):%Y-%m-%d}, {_processor()}, "
        f"{_usable_cores()} cores, Python {platform.python_version()}, {', '.join(libraries)}"
    )


def heading(title: str, settings: object, *, toy: bool) -> None:
    """Print what is measured, at which sizes, on what."""
    warning = "TOY SIZES: it runs, the numbers mean nothing\n" if toy else ""
    print(f"{title}\n{warning}{settings}\n{provenance()}\n", flush=True)


def unit_rows(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Make rows that look like embeddings: clusters off the origin, norm 1, float32 (n, dim)."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((256, dim), dtype=np.float32) + 0.5
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    rows += centres[rng.integers(256, size=n)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(HERE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ":/src", ":/examples/benchmarks")
        return git("rev-parse", "--short", "HEAD") + (" with local changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _usable_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
