"""Baselines that quantise dimensions together: PQ, OPQ and RaBitQ, scanned whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.baselines.base import Way, engine
from csrkit.baselines.indexes import FaissIndex, added

if TYPE_CHECKING:
    from csrkit.baselines.base import Floats, Footprint, RowNumbers, Subset

__all__ = ["Product", "RaBitQ"]

CENTROIDS = 256  # of each codebook: one byte per sub-vector
_ROTATION_ROUNDS, _ROTATION_ROWS = 10, 10_000


@dataclass(frozen=True)
class Product:
    """Product quantisation: sub-vectors, each replaced by the nearest of 256 centroids.

    Attributes:
        n_bytes: Sub-vectors, of one byte each; dimensions that they do not
            divide are filled up with zeros.
        rotated: Learn a rotation first (OPQ), in 10 rounds over at most 10,000
            documents; faiss's own default is 50 over 65,536.
    """

    n_bytes: int
    rotated: bool = False

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim), n at least `CENTROIDS`.
            seed: Of k-means.

        Returns:
            One way.
        """
        faiss = engine()
        width = self.n_bytes * -(-docs.shape[1] // self.n_bytes)
        codes = faiss.IndexPQ(width, self.n_bytes, 8, faiss.METRIC_INNER_PRODUCT)
        _set_clustering(codes.pq, seed)
        rows = np.ascontiguousarray(np.pad(docs, ((0, 0), (0, width - docs.shape[1]))))
        rotation = self._rotation(width, seed) if self.rotated else None
        if rotation is not None:
            rotation.train(rows)
            rows = rotation.apply(rows)
        codes.train(rows)
        empty = faiss.clone_index(codes)
        footprint = added(codes, rows)
        index = _ProductIndex(codes, empty, rotation, width, footprint)
        name = "opq" if self.rotated else "pq"
        return [Way(name, "product", f"{self.n_bytes} sub-vectors of 8 bits", index)]

    def _rotation(self, width: int, seed: int) -> Any:
        faiss = engine()
        rotation = faiss.OPQMatrix(width, self.n_bytes)
        rotation.niter, rotation.max_train_points = _ROTATION_ROUNDS, _ROTATION_ROWS
        rotation.pq = faiss.ProductQuantizer(width, self.n_bytes, 8)
        _set_clustering(rotation.pq, seed)
        return rotation


def _set_clustering(quantizer: Any, seed: int) -> None:
    """Seed k-means, and take small collections without a warning for each sub-vector."""
    quantizer.cp.seed = seed + 1  # 0 would mean a seed of faiss's own
    quantizer.cp.min_points_per_centroid = 1


@dataclass(frozen=True, eq=False)
class _ProductIndex:
    """PQ codes; faiss scans them all or none, so a filter scans a copy of those it keeps."""

    codes: Any
    empty: Any  # the same codebooks, for the copy
    rotation: Any
    width: int
    codes_footprint: Footprint

    @property
    def footprint(self) -> Footprint:
        if self.rotation is None:
            return self.codes_footprint
        matrix = 4.0 * self.width**2
        return self.codes_footprint._replace(shared=self.codes_footprint.shared + matrix)

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        asked = np.pad(queries, ((0, 0), (0, self.width - queries.shape[1])))
        if self.rotation is not None:
            asked = self.rotation.apply(asked)
        if among is None:
            rows: RowNumbers = self.codes.search(asked, n)[1]
            return rows
        faiss, kept = engine(), among.rows
        size = self.codes.ntotal * self.codes.code_size
        stored = faiss.rev_swig_ptr(self.codes.codes.data(), size).reshape(self.codes.ntotal, -1)
        faiss.copy_array_to_vector(stored[kept].ravel(), self.empty.codes)
        self.empty.ntotal = len(kept)
        found = self.empty.search(asked, n)[1]
        return np.where(found < 0, -1, kept[found])


@dataclass(frozen=True)
class RaBitQ:
    """A random rotation, then a few bits per dimension with factors that keep estimates unbiased.

    Attributes:
        bits: Per dimension, from 1.
    """

    bits: int

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim).
            seed: Of the rotation.

        Returns:
            One way.
        """
        faiss, dim = engine(), docs.shape[1]
        rotation = faiss.RandomRotationMatrix(dim, dim)
        rotation.init(seed)
        codes = faiss.IndexRaBitQ(dim, faiss.METRIC_INNER_PRODUCT, self.bits)
        index = faiss.IndexPreTransform(rotation, codes)
        setting = f"{self.bits} bit{'s' if self.bits > 1 else ''} per dimension"
        return [Way("rabitq", "binary", setting, FaissIndex(index, added(index, docs)))]
