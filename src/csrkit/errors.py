"""Every error csrkit raises on purpose, in one tree.

::

    CsrkitError
    ├── ShapeError(ValueError)    an array has the wrong shape, dtype or contents
    ├── ConfigError(ValueError)   settings that contradict each other or the data
    ├── FormatError(ValueError)   a file or folder that is not what it claims to be
    ├── MissingExtra(ImportError) an optional dependency is not installed
    ├── StoreError                a vector store refused, or broke
    └── JobError                  a long-running job cannot go on

Each message restates the call: what was expected, what came, what to do.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "CsrkitError",
    "FormatError",
    "JobError",
    "MissingExtra",
    "ShapeError",
    "StoreError",
]


class CsrkitError(Exception):
    """Base of all errors that csrkit raises on purpose."""


class ShapeError(CsrkitError, ValueError):
    """An array has the wrong shape, dtype or contents (NaN, Inf, zero rows)."""


class ConfigError(CsrkitError, ValueError):
    """Settings that contradict each other, or do not fit the data."""


class FormatError(CsrkitError, ValueError):
    """A file or folder is truncated, hostile, too new, or something else."""


class MissingExtra(CsrkitError, ImportError):
    """An optional dependency is not installed; the message holds the pip line.

    Args:
        package: Distribution that is missing, as pip spells it.
        extra: csrkit's extra that installs it.
        purpose: What needed it, a few words.

    Examples:
        >>> print(MissingExtra("torch", "train", "csrkit.fit"))
        csrkit.fit needs torch, which is not installed: pip install "csrkit[train]"
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f'{purpose} needs {package}, which is not installed: pip install "csrkit[{extra}]"'
        )


class StoreError(CsrkitError):
    """A vector store refused a request, or broke; the cause is chained."""


class JobError(CsrkitError):
    """A long-running job cannot go on; what was done so far is kept."""
