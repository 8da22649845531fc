"""csrkit's codes in memory under Seismic's approximate index, for tens of millions of them.

store = SeismicStore("index/")             a folder, read into memory
store.upsert(ids, codes); store.build()    the index is built once, after the load
store = open_store("seismic://index")      the same by URL
"""

from csrkit_seismic.index import Knobs
from csrkit_seismic.store import SeismicStore

__all__ = ["Knobs", "SeismicStore"]
