"""`JointModel`: a fitted joint retriever, in numpy alone.

For a row ``x`` of tower m, text or image::

    h = A_m x + a_m,  h / |h|                       dense side
    u = LayerNorm(W h + c)                          shared by both towers, like all below
    z = log(1 + relu(E u + b))                      sparse side: one latent per word

It is always fitted and never changes: `csrkit.joint.fit` makes it. Codes are **not** normalised:
their inner product is the score that was trained. Source: arXiv 2508.16707.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from csrkit.errors import ShapeError
from csrkit.joint.sides import Side
from csrkit.joint.spec import JointSpec, array_shapes
from csrkit.joint.start import Affine
from csrkit.model.arrays import add_to_digest, freeze_
from csrkit.model.rows import check_width
from csrkit.tensors import is_tensor, tensor_to_numpy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.vectors import SparseVectors

    Floats = NDArray[np.float32]

__all__ = ["JointModel", "SharedWord", "Word", "load"]


class Word(NamedTuple):
    """One active latent of a code.

    Attributes:
        token: The word that it started as.
        weight: Its value, above 0.
    """

    token: str
    weight: float


class SharedWord(NamedTuple):
    """One latent that two codes share.

    Attributes:
        token: The word that it started as.
        latent: Its number.
        text: Its weight in the text's code.
        image: Its weight in the image's code.
        contribution: Their product, its part of the score.
    """

    token: str
    latent: int
    text: float
    image: float
    contribution: float


@dataclass(frozen=True, eq=False, kw_only=True)
class JointModel:
    """A fitted joint sparse-dense model of two towers; arrays float32, read-only.

    Attributes:
        spec: Sizes, temperature, weights of hybrid scores, provenance.
        tokens: One string per latent: the word whose embedding it started from.
        token_ids: int64 (n_latents,), the ids of these words in the encoder's vocabulary.
        text_weight: (dim, text_dim), A of texts.
        text_bias: (dim,), a of texts.
        image_weight: (dim, image_dim), A of images.
        image_bias: (dim,), a of images.
        head_weight: (width, dim), W.
        head_bias: (width,), c.
        norm_weight: (width,), scale of the LayerNorm.
        norm_bias: (width,), its shift.
        embeddings: (n_latents, width), E.
        latent_bias: (n_latents,), b.

    Raises:
        ShapeError: If an array or the tokens do not fit the spec, or are not finite.
    """

    spec: JointSpec
    tokens: tuple[str, ...]
    token_ids: NDArray[np.int64]
    text_weight: Floats
    text_bias: Floats
    image_weight: Floats
    image_bias: Floats
    head_weight: Floats
    head_bias: Floats
    norm_weight: Floats
    norm_bias: Floats
    embeddings: Floats
    latent_bias: Floats

    def __post_init__(self) -> None:
        freeze_(self, array_shapes(self.spec))
        ids = np.array(self.token_ids, dtype=np.int64)
        ids.flags.writeable = False
        object.__setattr__(self, "token_ids", ids)
        object.__setattr__(self, "tokens", tuple(self.tokens))
        n = self.n_latents
        if len(self.tokens) != n or ids.shape != (n,):
            raise ShapeError(
                f"expected {n} tokens and as many ids, one per latent, "
                f"got {len(self.tokens)} and {ids.size}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # checked and read-only again

    def __repr__(self) -> str:
        return (
            f"JointModel(text_dim={self.spec.text_dim}, image_dim={self.spec.image_dim}, "
            f"dim={self.dim}, n_latents={self.n_latents}, "
            f"fingerprint={self.fingerprint[:12]!r})"
        )

    @property
    def dim(self) -> int:
        """Width of the shared dense space."""
        return self.spec.dim

    @property
    def n_latents(self) -> int:
        """Width of the codes: the number of words."""
        return self.spec.n_latents

    @property
    def temperature(self) -> float:
        """The learned temperature of dense scores."""
        return self.spec.temperature

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over spec, words and weights, 64 hexadecimal digits."""
        digest = hashlib.sha256(self.spec.model_dump_json().encode())
        digest.update("\0".join(self.tokens).encode())
        digest.update(self.token_ids.astype("<i8").tobytes())
        add_to_digest(digest, self, array_shapes(self.spec))
        return digest.hexdigest()

    # -- the two towers, and what they share --------------------------------------

    @cached_property
    def text(self) -> Side:
        """An `Encoder` of text vectors (n, text_dim), for a `Searcher` or `Store`."""
        return Side(self, Affine(self.text_weight, self.text_bias))

    @cached_property
    def image(self) -> Side:
        """An `Encoder` of image vectors (n, image_dim)."""
        return Side(self, Affine(self.image_weight, self.image_bias))

    @cached_property
    def head(self) -> Side:
        """An `Encoder` of dense vectors (n, dim), as `dense_text` and `dense_image` give them.

        Both modalities share it, so that a `Searcher` over it rescores a text query against
        the dense vectors of images.
        """
        return Side(self)

    def encode_text(self, texts: ArrayLike, *, k: int | None = None) -> SparseVectors:
        """Turn text vectors into codes over words.

        Args:
            texts: Numbers (n, text_dim), as the text tower gives them; lengths matter.
            k: Most words per code, from 1 to n_latents: the heaviest stay, unchanged. None
                keeps all that fire.

        Returns:
            n codes of width n_latents with positive values, not normalised.

        Raises:
            ShapeError: If the shape is not (n, text_dim), or a number is not finite.
            ConfigError: If k is out of range.
        """
        return self.text.encode(texts, k=k)

    def encode_image(self, images: ArrayLike, *, k: int | None = None) -> SparseVectors:
        """Turn image vectors into codes over words; see `encode_text`.

        Args:
            images: Numbers (n, image_dim), as the image tower gives them.
            k: As for `encode_text`; may differ between queries and what is stored.

        Returns:
            n codes, as `encode_text`.

        Raises:
            ShapeError: If the shape is not (n, image_dim), or a number is not finite.
            ConfigError: If k is out of range.
        """
        return self.image.encode(images, k=k)

    def dense_text(self, texts: ArrayLike) -> Floats:
        """Turn text vectors into those of the shared dense space.

        Args:
            texts: Numbers (n, text_dim).

        Returns:
            float32 (n, dim) of norm 1. `csrkit.fit` compresses them like any embeddings.

        Raises:
            ShapeError: If the shape is not (n, text_dim), or a row is not finite or is mapped
                to zero.
        """
        return self.text.dense(texts)

    def dense_image(self, images: ArrayLike) -> Floats:
        """Turn image vectors into those of the shared dense space; see `dense_text`.

        Args:
            images: Numbers (n, image_dim).

        Returns:
            float32 (n, dim) of norm 1.

        Raises:
            ShapeError: As for `dense_text`.
        """
        return self.image.dense(images)

    def hybrid_scores(self, texts: ArrayLike, images: ArrayLike) -> Floats:
        """Score texts against images by both sides: the integrated score of training.

        ::

            w1 cos(h_t, h_i) / temperature + w2 <z_t, z_i>

        (The released evaluation leaves the temperature out, and so ranks by another score.)

        Args:
            texts: Numbers (n, text_dim).
            images: Numbers (m, image_dim).

        Returns:
            float32 (n, m).

        Raises:
            ShapeError: If a shape does not fit, or a number is not finite.
        """
        cosines = self.dense_text(texts) @ self.dense_image(images).T
        sparse = self.encode_text(texts).dot(self.encode_image(images))
        spec = self.spec
        scores = spec.dense_weight / spec.temperature * cosines + spec.sparse_weight * sparse
        return np.asarray(scores, dtype=np.float32)

    # -- words ----------------------------------------------------------------------

    def words(self, codes: SparseVectors, n: int = 20) -> list[tuple[Word, ...]]:
        """Read codes as words.

        Args:
            codes: Codes of this model.
            n: Most words per code.

        Returns:
            For each code its heaviest words, falling.

        Raises:
            ShapeError: If the codes are not n_latents wide.
        """
        check_width(codes, self.n_latents)
        read = []
        for code in codes.top(n):
            order = np.argsort(-code.values, kind="stable")
            read.append(
                tuple(Word(self.tokens[code.indices[i]], float(code.values[i])) for i in order)
            )
        return read

    def explain(self, text: ArrayLike, image: ArrayLike) -> tuple[SharedWord, ...]:
        """Say by which words a text finds an image.

        Args:
            text: One text vector (text_dim,).
            image: One image vector (image_dim,).

        Returns:
            The words that both codes hold, by falling contribution; contributions add up to
            the sparse score.

        Raises:
            ShapeError: If one of them is not a single vector of its tower's width.
        """
        ours = self.encode_text(_one("text", text, self.spec.text_dim))
        theirs = self.encode_image(_one("image", image, self.spec.image_dim))
        latents, at, also_at = np.intersect1d(
            ours.indices, theirs.indices, assume_unique=True, return_indices=True
        )
        weights, others = ours.values[at].astype(float), theirs.values[also_at].astype(float)
        order = np.argsort(-weights * others, kind="stable")
        return tuple(
            SharedWord(
                self.tokens[latents[i]],
                int(latents[i]),
                float(weights[i]),
                float(others[i]),
                float(weights[i] * others[i]),
            )
            for i in order
        )

    def latents_of(self, token_ids: Sequence[Sequence[int]]) -> SparseVectors:
        """Turn captions as token ids into codes that hold 1 at each word the model has.

        Args:
            token_ids: For each text the ids of its tokens in the encoder's vocabulary;
                ids that are no latent are left out.

        Returns:
            One code per text; the bag of its words.
        """
        from csrkit.joint.captions import bag_of_words

        return bag_of_words(token_ids, self.token_ids)

    def save(self, path: str | Path) -> None:
        """Write the model to a folder of JSON and safetensors files.

        Args:
            path: Folder; made if needed. Files of a model saved there before are replaced.

        Raises:
            FormatError: If the path is an existing file.
        """
        from csrkit.joint.files import save

        save(self, Path(path))


def _one(name: str, vector: ArrayLike, dim: int) -> NDArray[Any]:
    """Return one vector as a batch."""
    row = tensor_to_numpy(vector) if is_tensor(vector) else np.asarray(vector)
    if row.shape != (dim,):
        raise ShapeError(f"expected one {name} vector of shape ({dim},), got {row.shape}")
    return row[None]


def load(path: str | Path) -> JointModel:
    """Load a folder written by `JointModel.save`; needs numpy only.

    Args:
        path: The folder.

    Returns:
        The same model: same fingerprint, same codes.

    Raises:
        FormatError: If the folder is missing, truncated, newer than this version reads, or
            holds unknown keys or arrays of the wrong shape.
    """
    from csrkit.joint.files import load as load_folder

    return load_folder(Path(path))
