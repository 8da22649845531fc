"""`Results`: the hits of a batch of queries, and what was done to find them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from csrkit.metrics import Interval
from csrkit.model.card import Setting
from csrkit.stores.base import Hit

__all__ = ["Explanation", "Results", "Shared"]


class Shared(NamedTuple):
    """One latent that a query and a document share.

    Attributes:
        latent: Its number, from 0 to n_latents - 1.
        query: Its weight in the query's code.
        document: Its weight in the stored code.
        contribution: The product of the two weights.
    """

    latent: int
    query: float
    document: float
    contribution: float


class Explanation(NamedTuple):
    """Why a document was found.

    Attributes:
        id: Id of the document.
        score: Score of the first stage, the sum of the contributions. A store that keeps
            its postings in float16 or uint8 searches with a slightly rounded one.
        shared: The latents of both codes, the largest contribution first.
    """

    id: int | str
    score: float
    shared: tuple[Shared, ...]


@dataclass(frozen=True)
class Results(Sequence[list[Hit]]):
    """The hits of each query, best first, and how they were found.

    ``results[0]`` is the list of hits of the first query. The lists are ragged: a document
    that shares no latent with the query's code is not a hit.

    Attributes:
        hits: One list per query, at most ``limit`` long. The score is the estimated or
            exact cosine after rescoring, and that of the store without.
        setting: The query's k, the candidates and the rescoring that were used.
        promised: Recall that the model's card measured for this setting and ``limit``, as a
            95% interval, over the whole collection. None if it measured another or none.
        short: Number of queries with fewer than ``limit`` hits, filled ones not counted,
            ``score_threshold`` not applied.
        filled: Number of queries that fell short and got ``limit`` hits by a larger k.
        explanations: One list per query with an `Explanation` per hit, if asked for.
    """

    hits: list[list[Hit]]
    setting: Setting
    promised: Interval | None = None
    short: int = 0
    filled: int = 0
    explanations: list[list[Explanation]] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> list[Hit]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[Hit]]: ...

    def __getitem__(self, index: int | slice) -> list[Hit] | list[list[Hit]]:
        """Return the hits of one query, or of several."""
        return self.hits[index]
