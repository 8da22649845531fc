"""`Note`: what the first upsert fixed, as JSON with the collection.

It is in the description and in the property ``csrkit.note``: Milvus Lite 3 keeps no description.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import StoreError
from csrkit.stores.adapter import Held

__all__ = ["NOTE", "Note"]

NOTE = "csrkit.note"


class Note(BaseModel):
    """What a collection holds.

    Attributes:
        model_config: Frozen; unknown keys are refused, as they are of a newer csrkit.
        csrkit: Kind of the collection.
        format: Its layout.
        dim: Width of the codes.
        residual_bytes: Bytes per residual; 0 if none are kept.
        codec: Fingerprint of the codec; None if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    csrkit: Literal["MilvusStore"] = "MilvusStore"
    format: Literal[1] = 1
    dim: int = Field(ge=1, le=2**31 - 1)
    residual_bytes: int = Field(default=0, ge=0)
    codec: str | None = None

    @classmethod
    def held(cls, collection: str, described: Mapping[str, Any]) -> Held:
        """Read what Milvus says of a collection.

        Args:
            collection: Its name, for the message.
            described: As `describe_collection` gives it.

        Returns:
            What the collection holds.

        Raises:
            StoreError: If the collection is somebody else's, or of a newer csrkit.
        """
        texts = [dict(described.get("properties") or {}).get(NOTE), described.get("description")]
        try:
            note = cls.model_validate_json(next(filter(None, texts), ""))
        except ValidationError as error:
            raise StoreError(
                f"the collection {collection!r} is none that this csrkit made: name another one, "
                "which the first upsert will make"
            ) from error
        return Held(note.dim, note.residual_bytes, note.codec)
