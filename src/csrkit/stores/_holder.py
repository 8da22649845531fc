"""`Holder`: what a store's first upsert fixed, and whose codes it takes."""

from __future__ import annotations

from csrkit.errors import ConfigError
from csrkit.stores._checks import Held, Upsert, checked_codec

__all__ = ["Holder"]


class Holder:
    """A store that knows the widths and the codec of what it holds.

    A subclass sets ``_known`` to what the store holds, None before the first upsert, and
    notes what `_noted` gives at the first one.
    """

    _known: Held | None = None  # None before the first upsert
    _codec: str | None = None  # what `bind` asked for

    @property
    def dim(self) -> int | None:
        """Width of the codes; None before the first upsert."""
        return self._known.dim if self._known else None

    @property
    def residual_bytes(self) -> int:
        """Bytes per residual; 0 if none are kept, or nothing was stored yet."""
        return self._known.residual_bytes if self._known else 0

    @property
    def codec(self) -> str | None:
        """Fingerprint of the codec whose codes are held; None if the first upsert noted none."""
        return self._known.codec if self._known else None

    def bind(self, codec: str) -> None:
        """Take and search codes of this codec alone; see `CodecStore.bind`.

        Args:
            codec: The fingerprint, ``model.fingerprint``.

        Raises:
            ConfigError: If it is no text, or empty.
            StoreError: If the store holds codes of another codec, or is bound to another.
        """
        if not isinstance(codec, str) or not codec:
            raise ConfigError(f"expected the fingerprint of a codec, got {codec!r}")
        checked_codec(self.codec or self._codec, codec)
        self._codec = codec

    def _noted(self, upsert: Upsert) -> Held:
        """Return what an upsert fixes if it is the first."""
        return upsert.held._replace(codec=self._codec)
