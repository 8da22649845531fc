"""``zvec://`` URLs."""

from __future__ import annotations

from csrkit.errors import ConfigError
from csrkit_zvec.store import ZvecStore

__all__ = ["open_url"]


def open_url(url: str, *, create: bool = False) -> ZvecStore:
    """Open ``zvec://path``: ``zvec://index`` is relative, ``zvec:///srv/index`` absolute.

    Args:
        url: Everything after ``zvec://`` is the folder, taken as it stands.
        create: Make a store in a folder that is missing or empty.

    Returns:
        The store, with the settings of the folder, or an exact one without fields.

    Raises:
        ConfigError: If no folder is named.
    """
    path = url.removeprefix("zvec://")
    if path == url or not path:
        raise ConfigError(f"expected 'zvec://' and a folder, got {url!r}")
    return ZvecStore(path, create=create)
