"""Baselines that walk a graph (HNSW) instead of scanning: fast, at the price of its links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from csrkit.baselines.base import Way, engine
from csrkit.baselines.indexes import FaissIndex, added

if TYPE_CHECKING:
    from csrkit.baselines.base import Floats

__all__ = ["Graph"]

# the defaults of Qdrant and of most engines; faiss's own are 32 and 40
LINKS, BUILD_EFFORT = 16, 100
EFFORTS = 32, 64, 128, 256  # candidates kept while a query walks


@dataclass(frozen=True)
class Graph:
    """HNSW with 16 links per node (32 on the ground floor), built with ef 100.

    A filter is applied while walking, as faiss does it: what it rejects is
    walked through and not collected. Engines that fall back to a scan under a
    strict filter lose less recall there.

    Attributes:
        quantized: Keep the vectors as int8 instead of float32.
    """

    quantized: bool

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """See `Method.build`.

        Args:
            docs: float32 (n, dim).
            seed: Of the levels.

        Returns:
            One way per number of candidates, all over one graph.
        """
        faiss, dim = engine(), docs.shape[1]
        metric = faiss.METRIC_INNER_PRODUCT
        if self.quantized:
            index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, LINKS, metric)
        else:
            index = faiss.IndexHNSWFlat(dim, LINKS, metric)
        index.hnsw.efConstruction = BUILD_EFFORT
        index.hnsw.rng = faiss.RandomGenerator(seed)
        footprint = added(index, docs)
        name = "hnsw + int8" if self.quantized else "hnsw"
        return [
            Way(name, "graph", f"ef={ef}", FaissIndex(index, footprint, ef), deeper_is_better=True)
            for ef in EFFORTS
        ]
