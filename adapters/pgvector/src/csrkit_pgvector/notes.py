"""`Note`: what csrkit keeps in the comment of a column of codes, beside their declared width."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import StoreError

__all__ = ["Note"]


class Note(BaseModel):
    """What the first upsert fixed, and the job that added the column.

    Attributes:
        model_config: Frozen; unknown keys are refused, as they are of a newer csrkit.
        csrkit: Kind of the note.
        format: Its layout.
        residual_bytes: Bytes per residual; 0 if none are kept.
        codec: Fingerprint of the codec; None if it is not known.
        job: Marker of the job that compresses the table in place, None without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    csrkit: Literal["codes"] = "codes"
    format: Literal[1] = 1
    residual_bytes: int = Field(default=0, ge=0)
    codec: str | None = None
    job: dict[str, Any] | None = None

    @classmethod
    def of(cls, comment: str | None) -> Note | None:
        """Read a comment.

        Args:
            comment: Comment of the column.

        Returns:
            The note; None if the comment is somebody else's, or there is none.

        Raises:
            StoreError: If it is of another version of csrkit.
        """
        try:
            found = json.loads(comment or "null")
        except ValueError:
            return None
        if not isinstance(found, dict) or "csrkit" not in found:
            return None
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise StoreError(
                f"the comment of the column of codes is none that this csrkit reads: {error}"
            ) from error
