"""``csrkit plan``: what compressing a collection would give, measured on a sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csrkit.cli.options import Json, Progress
from csrkit.cli.output import bar_wanted, show

if TYPE_CHECKING:
    from csrkit.collection.plans.facts import Plan

__all__ = ["plan"]


def plan(
    target: Annotated[
        str,
        typer.Argument(
            help="qdrant://HOST:PORT/COLLECTION (qdrant+https:// for TLS, key in "
            "QDRANT_API_KEY, which need only read) or edge://FOLDER of a Qdrant Edge shard.",
            show_default=False,
        ),
    ],
    vector: Annotated[str, typer.Option(help="Dense vector to encode.")] = "dense",
    name: Annotated[str, typer.Option(help="Sparse vector that would be added.")] = "csr",
    k: Annotated[
        list[int] | None,
        typer.Option(
            "--k", min=1, help="Latents per code; may be repeated.", show_default="16, 32, 64"
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Codec folder; without it one is fitted, briefly.")
    ] = None,
    queries: Annotated[
        list[str] | None,
        typer.Option(help="File or folder of real queries; else documents stand in for them."),
    ] = None,
    sample: Annotated[int, typer.Option(help="Most points to read, from 400.")] = 20_000,
    n_queries: Annotated[int, typer.Option(help="Most queries to ask, from 20.")] = 200,
    free_disk: Annotated[
        float | None, typer.Option(min=0, help="GB free on the server's disk, if you know.")
    ] = None,
    free_ram: Annotated[
        float | None, typer.Option(min=0, help="GB free in its memory, if you know.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws but the server's.")] = 0,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Say what compressing a collection would give; writes nothing.

    Reads a sample, fits a codec to half of it, searches the other half, and weighs
    the codes in Qdrant's embedded engine, in a temporary folder: bytes, recall, time,
    what int8 or binary copies would give instead, and a verdict.
    """
    from csrkit.collection.plans.planning import plan as run

    found = run(
        target,
        vector=vector,
        name=name,
        k=k or None,
        model=model,
        queries=queries or None,
        sample=sample,
        n_queries=n_queries,
        free_disk=_bytes(free_disk),
        free_ram=_bytes(free_ram),
        seed=seed,
        progress=bar_wanted(progress),
    )
    show(found, _lines(found), as_json=as_json)


def _bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else round(gigabytes * 1e9)


def _lines(found: Plan) -> Iterator[str]:
    for line in str(found).splitlines():
        yield typer.style(line, bold=True) if line in ("VERDICT", "NOTES") else line
