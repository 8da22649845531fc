"""Where codes are kept and searched: one small protocol, `Store`, and what meets it.

    store = EdgeStore("index/")          Qdrant's engine embedded: the default
    store = QdrantStore(client, "docs")  a Qdrant server or cluster
    store = MemoryStore()                exact, in memory: the reference
    store = open_store("edge://index")   by URL, adapters included

Names load on first use, so that none of the engines is imported for another.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csrkit.stores._open import open_store
    from csrkit.stores.base import CandidateStore, CodecStore, DenseStore, Hit, ResidualStore, Store
    from csrkit.stores.edge import EdgeStore
    from csrkit.stores.memory import MemoryStore
    from csrkit.stores.qdrant import QdrantStore

__all__ = [
    "CandidateStore",
    "CodecStore",
    "DenseStore",
    "EdgeStore",
    "Hit",
    "MemoryStore",
    "QdrantStore",
    "ResidualStore",
    "Store",
    "open_store",
]

_HOME = {
    "CandidateStore": "csrkit.stores.base",
    "CodecStore": "csrkit.stores.base",
    "DenseStore": "csrkit.stores.base",
    "EdgeStore": "csrkit.stores.edge",
    "Hit": "csrkit.stores.base",
    "MemoryStore": "csrkit.stores.memory",
    "QdrantStore": "csrkit.stores.qdrant",
    "ResidualStore": "csrkit.stores.base",
    "Store": "csrkit.stores.base",
    "open_store": "csrkit.stores._open",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'csrkit.stores' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
