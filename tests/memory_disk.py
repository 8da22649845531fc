"""Folders for engines that wait for the disk at each close, on a disk in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DISK = Path("/dev/shm")


@contextmanager
def quick_folder(room: int = 256 << 20) -> Iterator[Path]:
    """Make a folder in memory where there is one, and remove it at the end.

    On a busy disk the contract took 54 s of which 8 s were work. What a store
    that was left open still writes while the folder is removed, as Edge's log
    does from a thread of its own, is let lie.

    Args:
        room: Bytes that must be free: a full disk would kill engines that map their files.

    Yields:
        The folder.
    """
    is_roomy = _DISK.is_dir() and shutil.disk_usage(_DISK).free > room
    with tempfile.TemporaryDirectory(
        prefix="csrkit-test-", dir=_DISK if is_roomy else None, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)
