"""csrkit's codes in OpenSearch, as features that Lucene scores; not tested against a server.

    store = OpenSearchStore(OpenSearch("http://localhost:9200"), "docs")     opensearch-py's client
    store = open_store("opensearch://localhost:9200/docs")                   the same by URL

Lucene keeps 9 significant bits of a value, so scores are off by at most 0.2%; see `rows.rounded`.
"""

from csrkit_opensearch.store import OpenSearchStore

__all__ = ["OpenSearchStore"]
