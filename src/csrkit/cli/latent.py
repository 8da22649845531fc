"""``csrkit inspect --latent``: what a latent stands for, seen in the documents that have it.

Its strongest documents are shown beside random ones, to tell what they have in common from what
all documents do. The random ones come out of any store by search alone: latents are drawn, their
strongest `DEPTH` documents make a pool, and the pool is drawn from. In a store whose latents have
no more documents than that, documents with equally many latents are equally likely.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import typer

from csrkit.cli.output import one_line
from csrkit.cli.search import HitFacts, hit_facts, hit_lines
from csrkit.errors import ConfigError
from csrkit.stores.base import Hit
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from csrkit.model import CSRModel
    from csrkit.stores import Store

__all__ = ["LatentFacts", "latent_facts", "latent_lines"]

DEPTH = 100  # documents of a drawn latent that may come up
DRAWN = 16  # latents at a time
POOL = 4  # times the documents wanted


@dataclass(frozen=True)
class LatentFacts:
    """What `csrkit inspect --latent` reports.

    Attributes:
        latent: Its number.
        loads: Share of the fitted rows in which it fires, at each k of the ladder.
        store: URL of the store.
        strongest: Documents of its largest weights, which are their scores.
        random: Random documents with the latent's weight in each, 0 where it is not.
    """

    latent: int
    loads: list[float]
    store: str
    strongest: list[HitFacts]
    random: list[HitFacts]


def latent_facts(
    model: CSRModel, store: Store, latent: int, *, url: str, limit: int, seed: int
) -> LatentFacts:
    """Look a latent up in a store.

    Args:
        model: The model of the store's codes.
        store: Holds the codes.
        latent: Number of the latent.
        url: URL of the store, for the report.
        limit: Documents of either kind, at least 1.
        seed: Of the random documents.

    Returns:
        What was found.

    Raises:
        ConfigError: If there is no such latent, or limit is below 1.
        ShapeError: If the store holds codes of another width.
        StoreError: If the store fails.
    """
    if not 0 <= latent < model.n_latents:
        raise ConfigError(f"expected --latent from 0 to {model.n_latents - 1}, got {latent}")
    (strongest,) = store.search(_codes([latent], model.n_latents), limit=limit)
    return LatentFacts(
        latent=latent,
        loads=[round(float(load), 6) for load in model.loads[:, latent]],
        store=url,
        strongest=list(map(hit_facts, strongest)),
        random=list(map(hit_facts, _random(model, store, latent, limit, seed))),
    )


def _codes(latents: list[int], n_latents: int) -> SparseVectors:
    """Return one code per latent, of that latent alone: the store finds who has it."""
    return SparseVectors(range(len(latents) + 1), latents, [1.0] * len(latents), n_latents)  # type: ignore[arg-type]  # the constructor converts and checks


def _random(model: CSRModel, store: Store, latent: int, limit: int, seed: int) -> list[Hit]:
    """Draw documents and score them by their weight of the latent."""
    rng = np.random.default_rng(seed)
    pool = _pool(model, store, POOL * limit, rng)
    chosen = [pool[at] for at in rng.permutation(len(pool))[:limit]]
    if not chosen:
        return []
    weights = store.fetch([hit.id for hit in chosen]).to_dense()[:, latent]
    return [hit._replace(score=float(w)) for hit, w in zip(chosen, weights, strict=True)]


def _pool(model: CSRModel, store: Store, size: int, rng: np.random.Generator) -> list[Hit]:
    """Collect documents of random latents until there are enough of them, each once."""
    latents = rng.permutation(np.flatnonzero(model.loads[-1])).tolist()
    pool: dict[int | str, Hit] = {}
    for start in range(0, len(latents), DRAWN):
        found = store.search(_codes(latents[start : start + DRAWN], model.n_latents), limit=DEPTH)
        pool |= {hit.id: hit for hits in found for hit in hits}
        if len(pool) >= size:
            break
    return list(pool.values())


def latent_lines(facts: LatentFacts, ladder: tuple[int, ...], text_field: str) -> Iterator[str]:
    """Lay out a latent.

    Args:
        facts: What was found.
        ladder: The model's k, one per load.
        text_field: Payload field that holds the text.

    Yields:
        Lines of text.
    """
    loads = [f"{load:.2%} at k = {k}" for k, load in zip(ladder, facts.loads, strict=True)]
    yield f"latent {facts.latent} fires in {', '.join(loads)} of the rows it was fitted on"
    for title, hits in (("strongest", facts.strongest), ("random", facts.random)):
        yield typer.style(f"{title} documents of {one_line(facts.store, 60)}", bold=True)
        if not hits:
            yield "  none has this latent" if title == "strongest" else "  none was found"
        yield from hit_lines(hits, text_field)
    yield "The number is the weight of the latent in the stored code."
