"""The alternatives to CSR, on the same data, with honest bytes: see `methods`.

Each is a published method in its usual setting, run by faiss (extra
``report``). None is tuned to the data beyond what it does itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from csrkit.baselines.base import Footprint, Index, Method, Subset, Way
from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT", "Footprint", "Index", "Method", "Subset", "Way", "least_docs", "methods"]

DEFAULT = (
    "float32",
    "float16",
    "int8",
    "int4",
    "binary",
    "binary + float32",
    "pca",
    "pca + int8",
    "truncated",
    "pq",
    "opq",
    "rabitq",
    "hnsw",
    "hnsw + int8",
)


def methods(name: str, dim: int) -> Sequence[Method]:
    """Return the methods behind a name, one per size of their codes.

    Args:
        name: One of `DEFAULT`.
        dim: Width of the embeddings.

    Returns:
        Methods, the largest codes first.

    Raises:
        ConfigError: If there is no baseline of that name.
    """
    known = _by_name(dim)
    if name not in known:
        raise ConfigError(f"expected baselines among {', '.join(known)}, got {name!r}")
    return known[name]()


def least_docs(name: str) -> int:
    """Return how many documents a baseline needs: product quantisation one per centroid."""
    from csrkit.baselines.quantized import CENTROIDS

    return CENTROIDS if name in ("pq", "opq") else 1


def _by_name(dim: int) -> dict[str, Callable[[], Sequence[Method]]]:
    from csrkit.baselines.graph import Graph
    from csrkit.baselines.projected import PrincipalComponents, Truncated
    from csrkit.baselines.quantized import Product, RaBitQ
    from csrkit.baselines.scalar import Binary, Exact, Scalar

    def parts(*divisors: int) -> list[int]:
        return list(dict.fromkeys(max(1, dim // divisor) for divisor in divisors))

    return {
        "float32": lambda: [Exact()],
        "float16": lambda: [Scalar("float16")],
        "int8": lambda: [Scalar("int8")],
        "int4": lambda: [Scalar("int4")],
        "binary": lambda: [Binary(rescore=False)],
        "binary + float32": lambda: [Binary(rescore=True)],
        "pca": lambda: [PrincipalComponents(width) for width in parts(2, 4, 8)],
        "pca + int8": lambda: [PrincipalComponents(width, "int8") for width in parts(2, 4, 8)],
        "truncated": lambda: [Truncated(width) for width in parts(2, 4, 8)],
        "pq": lambda: [Product(n_bytes) for n_bytes in parts(4, 6, 12, 24)],
        "opq": lambda: [Product(n_bytes, rotated=True) for n_bytes in parts(6, 12)],
        "rabitq": lambda: [RaBitQ(bits) for bits in (4, 2, 1)],
        "hnsw": lambda: [Graph(quantized=False)],
        "hnsw + int8": lambda: [Graph(quantized=True)],
    }
