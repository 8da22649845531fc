"""Baselines that keep every dimension: float32, float16, int8, int4, and one bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from csrkit.baselines.base import ID_BYTES, Footprint, Way, engine
from csrkit.baselines.indexes import FaissIndex, Rescored, added

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.baselines.base import Floats, Index, RowNumbers, Subset

__all__ = ["Binary", "Exact", "Scalar", "scalar_index"]

CANDIDATES = 100  # of a first stage whose hits are scored again


@dataclass(frozen=True)
class Exact:
    """The float32 vectors themselves, all scored: what the others are measured against."""

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim).
            seed: Not used: nothing is drawn.

        Returns:
            One way.
        """
        index = engine().IndexFlatIP(docs.shape[1])
        return [Way("float32", "dense", "exact", FaissIndex(index, added(index, docs)))]


@dataclass(frozen=True)
class Scalar:
    """Each dimension alone in 16, 8 or 4 bits; the query stays float32.

    float16 rounds. int8 and int4 divide the range that the dimension has over
    the documents into 255 or 15 steps.

    Attributes:
        kind: "float16", "int8" or "int4".
    """

    kind: Literal["float16", "int8", "int4"]

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim).
            seed: Not used: nothing is drawn.

        Returns:
            One way.
        """
        index = scalar_index(self.kind, docs.shape[1])
        setting = "exact scan" if self.kind == "float16" else "exact scan, range per dimension"
        return [Way(self.kind, "scalar", setting, FaissIndex(index, added(index, docs)))]


def scalar_index(kind: str, dim: int) -> Any:
    """Make an empty faiss index of float32, float16, int8 or int4 codes.

    Args:
        kind: One of the four.
        dim: Width of the vectors.

    Returns:
        The index, by inner product.
    """
    faiss = engine()
    if kind == "float32":
        return faiss.IndexFlatIP(dim)
    kinds = {"float16": "QT_fp16", "int8": "QT_8bit", "int4": "QT_4bit"}
    bits = getattr(faiss.ScalarQuantizer, kinds[kind])
    return faiss.IndexScalarQuantizer(dim, bits, faiss.METRIC_INNER_PRODUCT)


@dataclass(frozen=True)
class Binary:
    """The sign of each dimension, compared by Hamming distance.

    Attributes:
        rescore: Keep the float32 vectors as well and rank candidates by them.
    """

    rescore: bool

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim).
            seed: Not used: nothing is drawn.

        Returns:
            One way.
        """
        signs = _Signs(_signs(docs))
        if not self.rescore:
            return [Way("binary", "binary", "signs, Hamming distance", signs)]
        index: Index = Rescored(signs, docs, CANDIDATES)
        setting = f"{CANDIDATES} candidates by signs, ranked by float32"
        return [Way("binary + float32", "binary", setting, index)]


def _signs(rows: Floats) -> NDArray[np.uint8]:
    """Pack signs, uint8 (n, ceil(dim / 8))."""
    return np.packbits(rows > 0, axis=1)


@dataclass(frozen=True, eq=False)
class _Signs:
    """Signs of the documents, scanned whole."""

    packed: NDArray[np.uint8]

    @property
    def footprint(self) -> Footprint:
        code = float(self.packed.shape[1])
        return Footprint(code + ID_BYTES, 0.0, code, 0.0)

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        packed = self.packed if among is None else self.packed[among.mask]
        depth = min(n, len(packed))
        found = engine().knn_hamming(_signs(queries), packed, depth)[1]
        rows = np.full((len(queries), n), -1, dtype=np.int64)
        rows[:, :depth] = found if among is None else among.rows[found]
        return rows
