"""`SparseVectors`: the one sparse type, `Encoder`, whatever makes them, and their file."""

from csrkit.vectors.encoder import Encoder
from csrkit.vectors.files import save_blocks
from csrkit.vectors.sparse import SparseVectors

__all__ = ["Encoder", "SparseVectors", "save_blocks"]
