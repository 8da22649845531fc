"""``seismic://`` URLs."""

from __future__ import annotations

from csrkit.errors import ConfigError
from csrkit_seismic.store import SeismicStore

__all__ = ["open_url"]


def open_url(url: str, *, create: bool = False) -> SeismicStore:
    """Open ``seismic://path``: ``seismic://index`` is relative, ``seismic:///srv/index`` absolute.

    Args:
        url: Everything after ``seismic://`` is the folder, taken as it stands.
        create: Make a store in a folder that is missing or empty.

    Returns:
        The store of the folder, or an empty one.

    Raises:
        ConfigError: If no folder is named.
    """
    path = url.removeprefix("seismic://")
    if path == url or not path:
        raise ConfigError(f"expected 'seismic://' and a folder, got {url!r}")
    return SeismicStore(path, create=create)
