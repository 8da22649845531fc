"""`SparseVectors`: the one sparse type, and `Encoder`, whatever makes them."""

from csrkit.vectors.encoder import Encoder
from csrkit.vectors.sparse import SparseVectors

__all__ = ["Encoder", "SparseVectors"]
