"""What is known of a collection and of its vectors; `csrkit.collection.home` has them too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from csrkit.errors import ConfigError
from csrkit.stores._points import residual_name

__all__ = ["CodeVector", "DenseVector", "Description", "Marker"]


class CodeVector(NamedTuple):
    """The named sparse vector of a job, and the bytes beside it.

    Attributes:
        name: Name of the sparse vector; that of the residuals is ``"<name>_residual"``.
        n_latents: Width of the codes.
        residual_bytes: Bytes per residual; 0 if none are kept.
    """

    name: str
    n_latents: int
    residual_bytes: int = 0


class DenseVector(NamedTuple):
    """A dense vector of a collection.

    Attributes:
        name: Its name; "" for an unnamed one.
        dim: Width.
        distance: "Cosine", "Dot", "Euclid" or "Manhattan".
        datatype: "float32", "float16" or "uint8".
        is_multi: Whether a point holds several (late interaction).
        on_disk: Whether the originals stay on disk.
        quantization: Kind of the quantised copy, such as "scalar"; None without.
    """

    name: str
    dim: int
    distance: str
    datatype: str = "float32"
    is_multi: bool = False
    on_disk: bool = False
    quantization: str | None = None


class Marker(BaseModel):
    """Who added a sparse vector: kept with the collection, and read before anything is undone.

    Attributes:
        model_config: Frozen; unknown keys are refused, as they are of a newer csrkit.
        job: Id of the job, drawn at random when it was made.
        csrkit: Version of csrkit.
        fingerprint: That of the model that makes the codes.
        vector: Name of the dense vector that is encoded.
        name: Name of the sparse vector.
        k: Latents per code.
        n_latents: Width of the codes.
        residual_bytes: Bytes per residual; 0 if none are kept.
        is_live: Whether the job was cut over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    job: str = Field(min_length=1)
    csrkit: str
    fingerprint: str
    vector: str
    name: str
    k: int = Field(ge=1)
    n_latents: int = Field(ge=1)
    residual_bytes: int = Field(ge=0)
    is_live: bool = False

    @property
    def touched(self) -> tuple[str, ...]:
        """Vectors that the job adds and, once it was cut over, the one that it may drop."""
        added = (self.name, residual_name(self.name))
        return (*added, self.vector) if self.is_live else added

    def unlike(self, want: Marker) -> list[str]:
        """Compare whose codes two markers speak of; either may be live, and of any version.

        Args:
            want: The other marker.

        Returns:
            Names of the attributes in which they differ.
        """
        keys = (key for key in type(self).model_fields if key not in ("is_live", "csrkit"))
        return [key for key in keys if getattr(self, key) != getattr(want, key)]


@dataclass(frozen=True, slots=True)
class Description:
    """What a collection is; two of them, before and after, show what a job changed.

    Attributes:
        engine: "Qdrant" or "Qdrant Edge".
        version: Version of the engine; None if it does not tell.
        title: Name of the collection, or the folder.
        count: Exact number of points.
        dense: Its dense vectors, by name.
        sparse: Names of its sparse vectors, sorted.
        payload_indexes: (field, kind) of each payload index, sorted.
        aliases: Names that lead to it, sorted.
        can_add_in_place: Whether a named vector can be added to it as it is.
    """

    engine: str
    version: str | None
    title: str
    count: int
    dense: tuple[DenseVector, ...]
    sparse: tuple[str, ...]
    payload_indexes: tuple[tuple[str, str], ...]
    aliases: tuple[str, ...]
    can_add_in_place: bool

    def source(self, vector: str) -> DenseVector:
        """Return the dense vector that is to be encoded.

        Args:
            vector: Its name; "" for an unnamed one.

        Returns:
            What is known of it.

        Raises:
            ConfigError: If there is none of this name, or it holds several rows per point.
        """
        found = next((one for one in self.dense if one.name == vector), None)
        if found is None:
            there = ", ".join(repr(one.name) for one in self.dense) or "none"
            raise ConfigError(
                f"{self.title} has no dense vector {vector!r}, its dense vectors: {there}; "
                "pass one of them as vector="
            )
        if found.is_multi:
            raise ConfigError(
                f"the vector {vector!r} of {self.title} holds several rows per point, and a code "
                "stands for one: choose a vector of one row per point"
            )
        return found
