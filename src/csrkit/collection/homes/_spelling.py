"""Between the types of qdrant-client and csrkit's."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from qdrant_client import models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from csrkit.collection.home import CodeVector, DenseVector, Marker, Page
from csrkit.stores._points import residual_name

if TYPE_CHECKING:
    from csrkit.vectors import SparseVectors

__all__ = [
    "dense_of",
    "is_unreadable",
    "mark_key",
    "named_of",
    "notes_of",
    "points_of",
    "vectors_of",
    "version_of",
]


def is_unreadable(error: BaseException | None) -> bool:
    """Tell an answer that came and cannot be parsed from one that did not come.

    Args:
        error: What the client raised.

    Returns:
        True if it came.
    """
    if isinstance(error, UnexpectedResponse) or not isinstance(error, ResponseHandlingException):
        return False
    return isinstance(error.source, ValueError)  # pydantic's, and json's


def named_of(info: models.CollectionInfo) -> dict[str, models.VectorParams]:
    """Return the dense vectors of a collection by name.

    Args:
        info: What the server says of it.

    Returns:
        Their settings; an unnamed one is "".
    """
    vectors = info.config.params.vectors or {}
    return dict(vectors) if isinstance(vectors, dict) else {"": vectors}


def dense_of(name: str, params: models.VectorParams, whole: Any) -> DenseVector:
    """Return what is known of a dense vector.

    Args:
        name: Its name.
        params: Its settings.
        whole: Quantisation of the collection, which holds where the vector has none.

    Returns:
        The same in csrkit's words.
    """
    quantization: Any = params.quantization_config or whole
    kinds = list(type(quantization).model_fields) if quantization else [None]
    return DenseVector(
        name=name,
        dim=params.size,
        distance=params.distance.value,
        datatype=params.datatype.value if params.datatype else "float32",
        is_multi=params.multivector_config is not None,
        on_disk=bool(params.on_disk),
        quantization=kinds[0],
    )


def version_of(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a version.

    Args:
        text: Such as "1.18.2-dev".

    Returns:
        Such as (1, 18).
    """
    parts = text.split("-")[0].split(".")
    return tuple(int(part) for part in parts[:2] if part.isdigit())


def vectors_of(codes: SparseVectors) -> list[models.SparseVector]:
    """Spell codes as the vendor's.

    Args:
        codes: n codes.

    Returns:
        One sparse vector per code.
    """
    indices, values = codes.indices.tolist(), codes.values.tolist()
    # constructed, not validated: `SparseVectors` keeps what is checked, which costs as much as
    # the encoding; so do the residuals below
    return [
        models.SparseVector.model_construct(indices=indices[start:stop], values=values[start:stop])
        for start, stop in pairwise(codes.indptr.tolist())
    ]


def points_of(codes: CodeVector, page: Page) -> list[models.PointVectors]:
    """Spell a page to write as the vendor's.

    Args:
        codes: The vector to set.
        page: Ids with codes, and residuals if there are any.

    Returns:
        One entry per id.
    """
    assert page.codes is not None  # a page to write
    vectors: list[dict[str, Any]] = [{codes.name: code} for code in vectors_of(page.codes)]
    if page.residuals is not None:
        for vector, residual in zip(vectors, page.residuals.tolist(), strict=True):
            vector[residual_name(codes.name)] = residual
    pairs = zip(page.ids, vectors, strict=True)
    return [models.PointVectors.model_construct(id=one, vector=vector) for one, vector in pairs]


def mark_key(name: str) -> str:
    """Return the key of a marker in the metadata of a collection.

    Args:
        name: Name of the sparse vector.

    Returns:
        The key.
    """
    return f"csrkit.{name}.job"


def notes_of(marker: Marker) -> dict[str, Any]:
    """Return what the metadata of a collection say of codes: the marker, and `QdrantStore`'s part.

    Args:
        marker: Whose they are.

    Returns:
        Values by key; null in their place removes them.
    """
    codec = {
        "dim": marker.n_latents,
        "residual_bytes": marker.residual_bytes,
        "codec": marker.fingerprint,
    }
    return {mark_key(marker.name): marker.model_dump(), f"csrkit.{marker.name}": codec}
