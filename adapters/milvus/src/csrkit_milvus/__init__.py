"""csrkit's codes in Milvus, as sparse vectors with an inverted index.

store = MilvusStore(client, "docs")        a collection of codes, made at the first upsert
store = open_store("milvus://host/docs")   the same by URL
"""

from csrkit_milvus.store import MilvusStore

__all__ = ["MilvusStore"]
