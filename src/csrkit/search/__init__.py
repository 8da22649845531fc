"""`Searcher`: dense query vectors in, hits out, with as much work as each query asks for.

    searcher = Searcher(model, store)
    searcher.upsert(ids, embeddings)
    results = searcher.search(queries, limit=10, effort="fast")     # or k=8, or recall=0.95

What is here: the dial from a wish to a setting, the second stage that ranks candidates by
their dense cosine, thresholds in cosine units, and why a document was found. What is not:
an index (that is the store) and measuring (`csrkit.tune` writes the card that the dial reads).
"""

from csrkit.model.encoder import HeadEncoder, SearchEncoder
from csrkit.search.dial import Holds
from csrkit.search.results import Explanation, Results, Shared
from csrkit.search.searcher import Searcher

__all__ = [
    "Explanation",
    "HeadEncoder",
    "Holds",
    "Results",
    "SearchEncoder",
    "Searcher",
    "Shared",
]
