"""How good codes are, and what they cost: one number per query, latent or code.

Fidelity (`recall_at`: overlap with the exact dense top n) and relevance
(`ndcg_at`, `mrr_at`, `hit_rate_at`: against judgements) are two questions, and
this module never mixes them. The measures average nothing: take ``.mean()``, or
`bootstrap_interval` for the mean with its interval.

Ranked lists are ids by falling score, one list per query, and may be ragged:
what is missing counts as a miss, and so does a repeated id. An integer array
(q, n) is a batch of such lists in which -1 means "no hit".
"""

from csrkit.metrics._cost import ENTRY_BYTES as ENTRY_BYTES
from csrkit.metrics._cost import bytes_per_vector, latent_loads, posting_cost
from csrkit.metrics._fidelity import exact_top, recall_at
from csrkit.metrics._interval import Interval, bootstrap_interval
from csrkit.metrics._lists import Ranked as Ranked
from csrkit.metrics._lists import Relevant as Relevant
from csrkit.metrics._relevance import hit_rate_at, mrr_at, ndcg_at, neighbour_accuracy

__all__ = [
    "ENTRY_BYTES",
    "Interval",
    "Ranked",
    "Relevant",
    "bootstrap_interval",
    "bytes_per_vector",
    "exact_top",
    "hit_rate_at",
    "latent_loads",
    "mrr_at",
    "ndcg_at",
    "neighbour_accuracy",
    "posting_cost",
    "recall_at",
]
