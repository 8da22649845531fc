"""Why a document was found: the latents that it shares with the query.

    score(q, d) = sum_j q_j * d_j        one contribution per latent j of both codes

That is the whole of the first stage's score, whatever a rescoring makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from csrkit.search.results import Explanation, Shared

if TYPE_CHECKING:
    from csrkit.stores.base import Hit, Store
    from csrkit.vectors import SparseVectors

__all__ = ["explained", "shared_latents"]


def explained(
    found: Sequence[Sequence[Hit]], queries: SparseVectors, store: Store
) -> list[list[Explanation]]:
    """Explain every hit, with one call to the store.

    Args:
        found: Hits, one list per query.
        queries: The code that each query searched with.
        store: Holds the codes of the hits.

    Returns:
        One explanation per hit.

    Raises:
        StoreError: If a hit is no longer in the store, or the store fails.
    """
    rows = {one: row for row, one in enumerate(dict.fromkeys(h.id for hits in found for h in hits))}
    if not rows:
        return [[] for _ in found]
    codes = store.fetch(list(rows))
    return [
        [_explanation(hit, query, codes[rows[hit.id]]) for hit in hits]
        for hits, query in zip(found, queries, strict=True)
    ]


def _explanation(hit: Hit, query: SparseVectors, code: SparseVectors) -> Explanation:
    shared = shared_latents(query, code)
    return Explanation(hit.id, sum(one.contribution for one in shared), shared)


def shared_latents(query: SparseVectors, code: SparseVectors) -> tuple[Shared, ...]:
    """List what two codes share.

    Args:
        query: One code.
        code: Another over the same latents.

    Returns:
        Their common latents, the largest contribution first.
    """
    latents, ours, theirs = np.intersect1d(
        query.indices, code.indices, assume_unique=True, return_indices=True
    )
    asked = query.values[ours].astype(np.float64)
    stored = code.values[theirs].astype(np.float64)
    order = np.argsort(-(asked * stored), kind="stable")
    rows = zip(latents[order].tolist(), asked[order].tolist(), stored[order].tolist(), strict=True)
    return tuple(Shared(latent, q, d, q * d) for latent, q, d in rows)
