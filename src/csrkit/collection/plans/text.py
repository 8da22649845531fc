"""A plan as text of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from csrkit.collection.plans.facts import Expected, Option, Plan
from csrkit.collection.plans.target import sized
from csrkit.collection.plans.verdict import span

__all__ = ["lines"]

_WIDTH = 100


def lines(plan: Plan) -> Iterator[str]:
    """Print a plan.

    Args:
        plan: The plan.

    Yields:
        Lines.
    """
    yield from _head(plan)
    yield ""
    yield from _table(plan)
    yield ""
    yield from _costs(plan)
    yield ""
    yield "VERDICT"
    yield from _listed(plan.verdict)
    yield ""
    yield "NOTES"
    yield from _listed(plan.notes)


def _head(plan: Plan) -> Iterator[str]:
    at, sample, model = plan.collection, plan.sample, plan.model
    version = f" {at.version}" if at.version else ""
    whole = "all of it" if sample.is_whole else "drawn at random"
    yield "plan: measured on a sample, nothing was written"
    yield f"  target   {at.url}"  # in one piece, however long
    yield from _field(
        "points",
        f"{at.points:,}, vector {at.vector!r}: {at.dim:,} dimensions, {at.distance}, {at.datatype}"
        + (f", {at.quantization} quantisation" if at.quantization else "")
        + (", on disk" if at.on_disk else ""),
    )
    yield from _field(
        "adding",
        f"{at.name!r} can be added in place ({at.engine}{version})"
        if at.adding == "in place"
        else f"{at.engine}{version} cannot add a vector in place (1.18 and later can): the "
        "collection is copied into one with codes",
    )
    asked = "given queries" if sample.queries_are == "given" else "of them left out as queries"
    yield from _field(
        "sample",
        f"{sample.rows:,} points, {whole}; {sample.docs:,} searched with {sample.queries:,} "
        f"{asked}",
    )
    given = (
        f"given, {model.n_latents:,} latents"
        if model.is_given
        else f"fitted to {sample.fitted_on:,} of them in {model.seconds:,.0f} s ({model.steps:,} "
        f"steps), {model.n_latents:,} latents"
    )
    yield from _field("model", given)


def _table(plan: Plan) -> Iterator[str]:
    points = plan.collection.points
    yield (f"{'':34}{'bytes per point':>17}   recall@10 expected of {points:,} points, by effort")
    yield f"{'':34}{'RAM':>8} {'disk':>8}   {'fast':14}{'balanced':14}accurate"
    for one in plan.options:
        yield f"{one.label:34}{one.ram:8,.0f} {one.disk:8,.0f}   {_recalls(one)}".rstrip()


def _recalls(one: Option) -> str:
    if not one.recalls:
        return f"{'':28}1"
    cells = [_cell(each) for each in one.recalls]
    return f"{'':28}{cells[0]}" if len(cells) == 1 else f"{cells[0]:14}{cells[1]:14}{cells[2]}"


def _cell(one: Expected) -> str:
    return span(one.recall)


def _costs(plan: Plan) -> Iterator[str]:
    pace, need, points = plan.backfill, plan.headroom, plan.collection.points
    write = (
        "writing not measured"
        if pace.write_rate is None
        else f"written at {pace.write_rate:,.0f}/s in the embedded engine"
    )
    yield from _field(
        "time",
        f"about {_spelled(pace.seconds)} for {points:,} points: read at {pace.read_rate:,.0f}/s "
        f"here, encoded at {pace.encode_rate:,.0f}/s, {write}",
    )
    known = "" if need.free_disk is None else f" ({sized(need.free_disk)} are free)"
    memory = "" if need.free_ram is None else f" ({sized(need.free_ram)} are free)"
    yield from _field(
        "needs",
        f"{sized(need.disk)} more disk, at worst {sized(need.peak)} while segments are written "
        f"anew{known}; {sized(need.ram)} more memory{memory}",
    )


def _spelled(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{max(seconds, 1):,.0f} s"


def _field(name: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent=f"  {name:9}", subsequent_indent=" " * 11)


def _listed(sentences: tuple[str, ...]) -> Iterator[str]:
    for one in sentences:
        yield from textwrap.wrap(one, _WIDTH, initial_indent="- ", subsequent_indent="  ")
