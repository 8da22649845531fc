"""`Note`: what the first upsert fixed, in ``_meta`` of the index's mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import StoreError
from csrkit.stores.adapter import Held

__all__ = ["META", "Note"]

META = "csrkit"  # key of ``_meta``


class Note(BaseModel):
    """What an index holds.

    Attributes:
        model_config: Frozen; unknown keys are refused, as they are of a newer csrkit.
        store: Kind of the index.
        format: Its layout.
        dim: Width of the codes.
        residual_bytes: Bytes per residual; 0 if none are kept.
        codec: Fingerprint of the codec; None if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    store: Literal["OpenSearchStore"] = "OpenSearchStore"
    format: Literal[1] = 1
    dim: int = Field(ge=1, le=2**31 - 1)
    residual_bytes: int = Field(default=0, ge=0)
    codec: str | None = None

    @classmethod
    def held(cls, index: str, mapping: Mapping[str, Any]) -> Held:
        """Read the mapping of an index.

        Args:
            index: Its name, for the message.
            mapping: As the server gives it.

        Returns:
            What the index holds.

        Raises:
            StoreError: If the index is somebody else's, or of a newer csrkit.
        """
        try:
            note = cls.model_validate((mapping.get("_meta") or {}).get(META))
        except ValidationError as error:
            raise StoreError(
                f"the index {index!r} is none that this csrkit made: name another one, which the "
                "first upsert will make"
            ) from error
        return Held(note.dim, note.residual_bytes, note.codec)
