"""One side of a joint model as an `Encoder`: what stores, searches and metrics take.

A side has what a `csrkit.Searcher` asks of a model (`csrkit.search.HeadEncoder`). It cannot
decode: rescore with ``rescore=None``, or with ``"dense"`` over `JointModel.head`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.model.rows import BLOCK_ROWS, as_rows, refuse_rows
from csrkit.model.topk import top_of_product
from csrkit.vectors import SparseVectors
from csrkit.vectors.invariants import row_pointer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.joint.spec import JointSpec
    from csrkit.joint.start import Affine
    from csrkit.model.encoder import HeadEncoder

    Floats = NDArray[np.float32]

__all__ = ["Side"]

EFFORTS = (
    8,
    32,
    128,
)  # words of a query for the efforts of a Searcher, as far as there are so many
EPSILON = 1e-5  # of torch.nn.LayerNorm


class _Head(Protocol):
    """The arrays that a head works with; see `csrkit.joint.JointModel`."""

    @property
    def spec(self) -> JointSpec: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def head_weight(self) -> Floats: ...
    @property
    def head_bias(self) -> Floats: ...
    @property
    def norm_weight(self) -> Floats: ...
    @property
    def norm_bias(self) -> Floats: ...
    @property
    def embeddings(self) -> Floats: ...
    @property
    def latent_bias(self) -> Floats: ...


class Side:
    """An encoder of one kind of vectors; see `JointModel.text`, ``image`` and ``head``.

    Args:
        model: Holds the arrays of the head.
        into: The way into the shared space; None for vectors that are in it.

    Attributes:
        dim: Width of the vectors it takes.
        n_latents: Width of the codes.
        ladder: The k that a `csrkit.Searcher` takes for its efforts; any other k does as well.
            The last is n_latents, all that fire: documents are stored whole unless ``k_doc``
            says otherwise.
        fingerprint: That of the model.
        card: None: nothing was measured by `csrkit.tune`.
    """

    card = None

    def __init__(self, model: _Head, into: Affine | None = None) -> None:
        self._model, self._into = model, into
        self.dim = model.spec.dim if into is None else into.weight.shape[1]
        self.n_latents = model.spec.n_latents
        self.ladder = (*(k for k in EFFORTS if k < self.n_latents), self.n_latents)
        self.fingerprint = model.fingerprint

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that encode, as float32."""
        model = self._model
        arrays = [model.head_weight, model.head_bias, model.norm_weight, model.norm_bias]
        arrays += [model.embeddings, model.latent_bias, *(self._into or ())]
        return sum(array.nbytes for array in arrays)

    def __repr__(self) -> str:
        return f"Side(dim={self.dim}, n_latents={self.n_latents})"

    def encode(self, inputs: ArrayLike, *, k: int | None = None) -> SparseVectors:
        """Turn vectors into codes.

        Args:
            inputs: Numbers (n, dim).
            k: Most latents per code, from 1 to n_latents: the heaviest stay, unchanged.
                None keeps all that fire.

        Returns:
            n codes with positive values, not normalised.

        Raises:
            ShapeError: If the shape is not (n, dim), a number is not finite, or a row is
                mapped to zero.
            ConfigError: If k is out of range.
        """
        if k is not None and (
            isinstance(k, bool)
            or not isinstance(k, int | np.integer)
            or not 1 <= k <= self.n_latents
        ):
            raise ConfigError(
                f"expected k from 1 to n_latents={self.n_latents}, or None for all that fire, "
                f"got encode(k={k!r})"
            )
        codes = self._codes(self._unit_blocks(as_rows(inputs, self.dim)))
        return codes if k is None else codes.top(int(k))

    def encode_query(self, queries: ArrayLike, *, k: int | None = None) -> SparseVectors:
        """Turn queries into codes: the same as `encode`, under the name a `Searcher` calls.

        Args:
            queries: As for `encode`.
            k: As for `encode`.

        Returns:
            As `encode`.
        """
        return self.encode(queries, k=k)

    def dense(self, inputs: ArrayLike) -> Floats:
        """Turn vectors into those of the shared dense space.

        Args:
            inputs: Numbers (n, dim).

        Returns:
            float32 (n, shared dim) of norm 1.

        Raises:
            ShapeError: If the shape is not (n, dim), a number is not finite, or a row is
                mapped to zero.
        """
        blocks = self._unit_blocks(as_rows(inputs, self.dim))
        return np.concatenate([np.empty((0, self._model.spec.dim), np.float32), *blocks])

    def _unit_blocks(self, rows: NDArray[Any]) -> Iterator[Floats]:
        """Yield the rows in the shared space, float32 of norm 1."""
        for start, block in _blocks(rows):
            if self._into is not None:
                block = block @ self._into.weight.T + self._into.bias
            yield _unit(block, start)

    def _codes(self, blocks: Iterator[Floats]) -> SparseVectors:
        model = self._model
        hidden = map(self._hidden, blocks)
        parts = list(top_of_product(hidden, model.embeddings, model.latent_bias, self.n_latents))
        if not parts:
            return SparseVectors.from_dense(np.zeros((0, self.n_latents)))
        counts, indices, logits = (np.concatenate(column) for column in zip(*parts, strict=True))
        return SparseVectors(row_pointer(counts), indices, np.log1p(logits), self.n_latents)

    def _hidden(self, unit: Floats) -> Floats:
        """Return the input of the last product: what the LayerNorm leaves, float32 (m, width)."""
        model = self._model
        u = unit @ model.head_weight.T + model.head_bias
        u -= u.mean(axis=1, keepdims=True)
        u /= np.sqrt(np.square(u).mean(axis=1, keepdims=True) + np.float32(EPSILON))
        return np.asarray(u * model.norm_weight + model.norm_bias, dtype=np.float32)


def _blocks(rows: NDArray[Any]) -> Iterator[tuple[int, Floats]]:
    """Yield finite float32 blocks and the number of their first row."""
    for start in range(0, len(rows), BLOCK_ROWS):
        with np.errstate(over="ignore"):
            block = np.ascontiguousarray(rows[start : start + BLOCK_ROWS], dtype=np.float32)
        broken: NDArray[np.bool_] = np.logical_not(np.isfinite(block).all(axis=1))
        refuse_rows(broken, np.zeros_like(broken), start)
        yield start, block


def _unit(block: Floats, start: int) -> Floats:
    norms = np.sqrt(np.einsum("ij,ij->i", block, block))
    bad = ~((norms > 1e-12) & np.isfinite(norms))
    if bad.any():
        row = int(bad.argmax())
        raise ShapeError(
            "expected rows with a direction in the shared space, "
            f"got row {start + row}, mapped to length {norms[row]:g}"
        )
    return np.asarray(block / norms[:, None], dtype=np.float32)


if TYPE_CHECKING:

    def _fits(side: Side) -> HeadEncoder:  # so a Searcher and evaluate take it
        return side
