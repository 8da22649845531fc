"""``csrkit inspect``: what a codec is, how balanced it is, and what its codes cost.

With ``--latent`` it shows what one latent stands for instead; see `csrkit.cli.latent`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csrkit.cli.options import Codec, Json
from csrkit.cli.output import amount, show, table
from csrkit.cli.stores import opened
from csrkit.errors import ConfigError

if TYPE_CHECKING:
    from csrkit.model import CSRModel

__all__ = ["CodecFacts", "Latent", "Rung", "inspect"]

BUSIEST = 5  # latents listed


@dataclass(frozen=True)
class Rung:
    """A codec at one k; shares are of the rows it was fitted on.

    Attributes:
        k: Most latents per code.
        mean_latents: Latents of the mean code.
        dead_share: Share of the latents that never fire, in [0, 1].
        busiest_load: Share of the rows in which the busiest latent fires, in [0, 1].
        posting_cost: ``sum_j p_j^2``, postings visited per query and document if
            queries are like documents, both at this k.
        balanced_cost: The least that is possible with these codes: all latents equally busy.
        code_bytes: 8 bytes per active latent of the mean code.
    """

    k: int
    mean_latents: float
    dead_share: float
    busiest_load: float
    posting_cost: float
    balanced_cost: float
    code_bytes: float


@dataclass(frozen=True)
class Latent:
    """A latent by number, and the share of the rows in which it fires."""

    latent: int
    load: float


@dataclass(frozen=True)
class CodecFacts:
    """What `csrkit inspect` reports.

    Attributes:
        codec: The folder.
        fingerprint: SHA-256 over config and weights.
        dim: Width of the embeddings.
        n_latents: Width of the codes.
        ladder: The k it serves.
        disk_bytes: Size of the folder's files.
        rungs: One entry per k.
        busiest: Busiest latents at the longest k.
        provenance: What was fitted on what; see `csrkit.model.Provenance`.
        card: What `csrkit tune` measured, in a line; None if nothing.
    """

    codec: str
    fingerprint: str
    dim: int
    n_latents: int
    ladder: list[int]
    disk_bytes: int
    rungs: list[Rung]
    busiest: list[Latent]
    provenance: dict[str, Any]
    card: str | None


def inspect(
    codec: Codec,
    latent: Annotated[
        int | None,
        typer.Option(help="Show the strongest documents of this latent beside random ones."),
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Store of these documents, as for search; with --latent.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Documents of either kind; with --latent.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the random documents; with --latent.")] = 0,
    text_field: Annotated[
        str, typer.Option(help="Payload field shown as the text; with --latent.")
    ] = "text",
    as_json: Json = False,
) -> None:
    """Show what a codec, or one latent of it, is and costs.

    Balance of the latents, posting cost and bytes at each k, size and origin.
    """  # noqa: DOC501  # the docstring is the help
    from csrkit.model import load

    model = load(codec)
    if latent is None and store is None:
        facts = _facts(codec, model)
        show(facts, _lines(facts), as_json=as_json)
        return
    if latent is None or store is None:
        raise ConfigError(
            "expected --latent and --store together: a latent is shown by documents of a store"
        )
    from csrkit.cli.latent import latent_facts, latent_lines

    with opened(store, must_exist=True) as index:
        found = latent_facts(model, index, latent, url=store, limit=limit, seed=seed)
    show(found, latent_lines(found, model.ladder, text_field), as_json=as_json)


def _facts(folder: Path, model: CSRModel) -> CodecFacts:
    longest = model.loads[-1]
    order = (-longest).argsort(kind="stable")[:BUSIEST]
    return CodecFacts(
        codec=str(folder),
        fingerprint=model.fingerprint,
        dim=model.dim,
        n_latents=model.n_latents,
        ladder=list(model.ladder),
        disk_bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        rungs=[_rung(model, row) for row in range(len(model.ladder))],
        busiest=[Latent(int(latent), round(float(longest[latent]), 6)) for latent in order],
        provenance=model.config.provenance.model_dump(mode="json"),
        card=None if model.card is None else model.card.summary(),
    )


def _rung(model: CSRModel, row: int) -> Rung:
    from csrkit.metrics import ENTRY_BYTES

    loads = model.loads[row].astype(float)
    mean = float(loads.sum())
    return Rung(
        k=model.ladder[row],
        mean_latents=round(mean, 3),
        dead_share=round(float((loads == 0).mean()), 6),
        busiest_load=round(float(loads.max()), 6),
        posting_cost=round(float(loads @ loads), 6),
        balanced_cost=round(mean**2 / model.n_latents, 6),
        code_bytes=round(mean * ENTRY_BYTES, 1),
    )


def _lines(facts: CodecFacts) -> Iterator[str]:
    origin = facts.provenance
    recall = "not measured" if origin["recall"] is None else f"{origin['recall']:.3f}"
    yield (
        f"{facts.codec}: {facts.dim} dimensions to {facts.n_latents} latents, "
        f"{amount(facts.disk_bytes)} on disk"
    )
    yield (
        f"fitted by csrkit {origin['csrkit']} on {origin['rows']} embeddings: recipe "
        f"{origin['fit'].get('recipe', 'unknown')}, {origin['steps']} steps, held-out "
        f"recall@10 {recall}"
    )
    yield f"fingerprint {facts.fingerprint}"
    yield f"settings of a search: {facts.card or 'not measured, see csrkit tune'}"
    yield ""
    header = ["k", "latents", "dead", "busiest", "posting cost", "if balanced", "code bytes"]
    yield from table(header, [_cells(rung) for rung in facts.rungs])
    yield ""
    listed = ", ".join(f"{one.latent} ({one.load:.1%})" for one in facts.busiest)
    yield f"busiest latents at k = {facts.ladder[-1]}: {listed}"
    yield ""
    yield "latents: of the mean code. dead: latents that never fire. busiest: share of the rows"
    yield "where the busiest latent fires. posting cost: postings visited per query and document,"
    yield "codes against themselves. code bytes: 8 per latent; an engine adds its posting lists"
    yield "(Qdrant's on disk: 483 bytes at k = 32, all in)."


def _cells(rung: Rung) -> list[str]:
    return [
        str(rung.k),
        f"{rung.mean_latents:.1f}",
        f"{rung.dead_share:.1%}",
        f"{rung.busiest_load:.1%}",
        f"{rung.posting_cost:.3f}",
        f"{rung.balanced_cost:.3f}",
        f"{rung.code_bytes:.0f}",
    ]
