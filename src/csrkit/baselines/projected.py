"""Baselines that keep fewer dimensions: principal components, or simply the first ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from csrkit.baselines.base import Way, engine
from csrkit.baselines.indexes import FaissIndex, added
from csrkit.baselines.scalar import scalar_index

if TYPE_CHECKING:
    from csrkit.baselines.base import Floats

__all__ = ["PrincipalComponents", "Truncated"]


@dataclass(frozen=True)
class PrincipalComponents:
    """The components of largest variance, as float32 or int8.

    Attributes:
        width: Components to keep, below dim.
        kind: How each is kept.
    """

    width: int
    kind: Literal["float32", "int8"] = "float32"

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim).
            seed: Not used: nothing is drawn.

        Returns:
            One way.
        """
        faiss = engine()
        components = faiss.PCAMatrix(docs.shape[1], self.width)
        components.train(docs)
        # q P P' (x - mean) ranks as q P P' x does: neither side needs centring
        components.have_bias = False
        index = faiss.IndexPreTransform(components, scalar_index(self.kind, self.width))
        name = "pca" if self.kind == "float32" else f"pca + {self.kind}"
        return [_way(name, f"{self.width} components, {self.kind}", index, docs)]


@dataclass(frozen=True)
class Truncated:
    """The first dimensions, scaled to norm 1 again: what Matryoshka models are made for.

    Attributes:
        width: Dimensions to keep, below dim.
    """

    width: int

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim).
            seed: Not used: nothing is drawn.

        Returns:
            One way.
        """
        faiss = engine()
        unit = faiss.NormalizationTransform(self.width, 2.0)
        index = faiss.IndexPreTransform(unit, faiss.IndexFlatIP(self.width))
        index.prepend_transform(faiss.RemapDimensionsTransform(docs.shape[1], self.width, False))
        return [_way("truncated", f"first {self.width} dimensions, float32", index, docs)]


def _way(name: str, setting: str, index: Any, docs: Floats) -> Way:
    return Way(name, "projection", setting, FaissIndex(index, added(index, docs)))
