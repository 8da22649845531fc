"""Where figures were measured: processor, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from csrkit.report import Machine

__all__ = ["machine"]

_PACKAGES = ("numpy", "faiss-cpu", "qdrant-edge-py", "sentence-transformers", "torch")


def machine() -> Machine:
    """Describe this machine, and the packages that can have done the work.

    Returns:
        The description.
    """
    return Machine(_cpu(), os.cpu_count() or 1, platform.python_version(), tuple(_versions()))


def _cpu() -> str:
    """Return the processor's name, with its vector extensions where Linux tells them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    widest = next((flag for flag in ("avx512f", "avx2") if flag in flags), "")
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name} ({widest})" if widest else name


def _versions() -> list[tuple[str, str]]:
    from csrkit import __version__

    found = [("csrkit", __version__)]
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
