"""Disks in memory: for engines that wait for the disk at each close, and small ones to fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

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


class SmallDisk(NamedTuple):
    """A disk to fill.

    Attributes:
        folder: Where it is mounted.
    """

    folder: Path

    def leave(self, megabytes: int) -> None:
        """Fill the disk but for so much, or give back what was taken before."""
        weight = self.folder / "weight"
        weight.unlink(missing_ok=True)
        weight.write_bytes(bytes(shutil.disk_usage(self.folder).free - megabytes * 10**6))


@contextmanager
def small_disk(where: Path) -> Iterator[SmallDisk]:
    """Mount a disk of 200 MB, as root where the machine lets it; skip the test elsewhere.

    Args:
        where: A folder that is not there.

    Yields:
        The disk.
    """
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "none", str(where)]
    where.mkdir()
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("only root mounts disks, and not on every machine")
    try:
        yield SmallDisk(where)
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)
