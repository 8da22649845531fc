"""The memory that an embedded store takes, measured where nothing else takes any: a new process.

Counted are the process's own pages, and those of mapped files that searches and
fetches touched, at most what the disk holds of them: the engine maps files in
pieces of 32 MB, mostly empty in a small collection. Not counted are payloads and
the log, as in the bytes on disk, and what the engine takes for an empty store.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from csrkit.errors import StoreError

if TYPE_CHECKING:
    from csrkit.vectors import SparseVectors

__all__ = ["SMAPS", "Resident", "resident"]

SMAPS = Path("/proc/self/smaps")
_PATIENCE = 600  # seconds


class Resident(NamedTuple):
    """Bytes of memory that a store took, after each kind of work.

    Attributes:
        searched: After searches.
        fetched: After the codes of the hits were fetched as well.
        fetched_both: After their residuals were fetched as well.
    """

    searched: int
    fetched: int
    fetched_both: int


def resident(folder: Path, queries: SparseVectors) -> Resident | None:
    """Measure a store in a process of its own.

    Args:
        folder: Of an `EdgeStore` with residuals that is not open.
        queries: Codes to ask.

    Returns:
        The bytes, or None where the system does not tell (other than Linux).

    Raises:
        StoreError: If the process fails.
    """
    if not SMAPS.exists():
        return None
    with TemporaryDirectory(prefix="csrkit-evaluate-") as scratch:
        file = Path(scratch) / "queries.safetensors"
        queries.save(file)
        done = subprocess.run(
            [sys.executable, "-m", "csrkit.evaluation._weigh", str(folder), str(file)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    if done.returncode:
        raise StoreError(f"cannot measure the memory of {folder}: {done.stderr.strip()[-500:]}")
    return Resident(**json.loads(done.stdout))
