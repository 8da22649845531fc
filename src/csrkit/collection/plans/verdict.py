"""From measurements to options side by side, and from options to a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from csrkit.collection.plans.facts import (
    Candidate,
    Collection,
    Headroom,
    Option,
    Range,
    Rival,
    Stored,
)
from csrkit.collection.plans.rivals import copy_bytes
from csrkit.collection.plans.target import sized

__all__ = ["Judged", "headroom", "judged", "options"]

_SAME = 0.02  # of recall: less than this is no difference, as 200 queries tell no more
_ENOUGH = 0.9  # of recall without dense vectors, below which it is advised against


class Judged(NamedTuple):
    """A verdict.

    Attributes:
        instead: The rival to take instead of codes, where that is better in every way but disk.
        words: Sentences.
    """

    instead: Literal["int8", "binary"] | None
    words: tuple[str, ...]


def options(
    source: Collection, dense: Stored, candidates: Sequence[Candidate], rivals: Sequence[Rival]
) -> tuple[Option, ...]:
    """List what can be done, all in.

    Args:
        source: The collection.
        dense: Bytes of its dense vector.
        candidates: Codes.
        rivals: Quantised copies.

    Returns:
        The collection as it is, codes alone, codes beside, rivals.
    """
    kept = _kept_copy(source)
    disk = dense.vector + dense.graph
    vector = 0 if source.on_disk else dense.vector
    listed = [Option("as it is, exact", "now", None, vector + dense.graph + kept, disk + kept, ())]
    for one in candidates:
        own = one.code + one.postings + one.residual
        label = f"codes k={one.k}, dense dropped"
        listed.append(Option(label, "codes", one.k, one.postings, own, one.alone))
    for one in candidates:
        own, label = one.code + one.postings + one.residual, f"codes k={one.k}, dense on disk"
        memory = dense.graph + kept + one.postings
        listed.append(Option(label, "beside", one.k, memory, disk + kept + own, one.beside))
    for rival in rivals:
        listed.append(
            Option(
                f"{rival.name} copy, dense on disk",
                rival.name,
                None,
                dense.graph + rival.copy,
                disk + rival.copy,
                (rival.expected,),
            )
        )
    return tuple(listed)


def _kept_copy(source: Collection) -> int:
    """Return the bytes of the quantised copy that is there already, 0 if of another kind."""
    if source.quantization == "scalar":
        return copy_bytes("int8", source.dim)
    return copy_bytes("binary", source.dim) if source.quantization == "binary" else 0


def headroom(
    source: Collection, listed: Sequence[Option], free_disk: int | None, free_ram: int | None
) -> Headroom:
    """Say what is needed beyond what is used now, for the largest codes.

    Args:
        source: The collection.
        listed: The options.
        free_disk: What is free, if known.
        free_ram: The same of memory.

    Returns:
        Bytes.
    """
    now = listed[0]
    alone = max((one for one in listed if one.kind == "codes"), key=lambda one: one.disk)
    copied = source.adding == "copy"
    disk = alone.disk + (now.disk if copied else 0)
    ram = alone.ram + (now.ram if copied else 0)
    # a segment is written anew, whole, before the old one goes; at worst all of them at once
    peak = disk + now.disk + alone.disk
    return Headroom(
        source.points * disk, source.points * peak, source.points * ram, free_disk, free_ram
    )


def judged(listed: Sequence[Option], need: Headroom) -> Judged:
    """Say what to do.

    Args:
        listed: The options, the collection as it is first.
        need: What codes need.

    Returns:
        The verdict.
    """
    now = listed[0]
    alone = [one for one in listed if one.kind == "codes"]
    beside = [one for one in listed if one.kind == "beside"]
    rivals = [one for one in listed if one.kind in ("int8", "binary")]
    front = _front([*beside, *rivals])  # of what keeps the dense vectors, and so the recall
    instead = None if any(one in front for one in beside) else _instead(beside, rivals)
    words = [*_memory(now, front, instead), _disk(now, alone), *_room(need)]
    name: Any = instead.kind if instead else None  # of `rivals`
    return Judged(name, tuple(words))


def _front(ways: Sequence[Option]) -> list[Option]:
    """Return the options that no other beats in memory without finding less, rising."""
    kept: list[Option] = []
    for one in sorted(ways, key=lambda each: (each.ram, -each.best.low)):
        if not kept or one.best.low > kept[-1].best.low + _SAME:
            kept.append(one)
    return kept


def _instead(beside: Sequence[Option], rivals: Sequence[Option]) -> Option | None:
    """Return the rival that takes the least memory of those that find as much as any codes."""
    most = max(one.best.low for one in beside)
    enough = [one for one in rivals if one.best.low >= most - _SAME]
    return min(enough, key=lambda one: one.ram, default=None)


def _memory(now: Option, front: Sequence[Option], instead: Option | None) -> Iterator[str]:
    told = "; ".join(f"{one.label}: {one.ram:,.0f} B for {span(one.best)}" for one in front)
    if instead is not None:
        more = [one for one in front if one.ram > instead.ram]
        also = "".join(f" {one.kind}: {one.ram:,.0f} B for {span(one.best)}." for one in more)
        yield (
            f"Use {instead.kind} quantisation with rescoring instead, unless the disk has to "
            f"shrink: {instead.ram:,.0f} B of memory per point instead of {now.ram:,.0f}, recall "
            f"{span(instead.best)}. Codes take more, or find less.{also}"
        )
        return
    if front[0].ram >= now.ram:
        yield f"Nothing here takes less memory than the {now.ram:,.0f} B per point of today."
        return
    yield (
        f"Memory per point ({now.ram:,.0f} B now) with the dense vectors on disk, and recall@10, "
        f"where nothing here takes less and finds as much: {told}."
    )


def _disk(now: Option, alone: Sequence[Option]) -> str:
    most = max(one.best.low for one in alone)
    one = min((each for each in alone if each.best.low >= most - 0.02), key=lambda each: each.disk)
    if one.disk >= now.disk:
        return (
            f"The disk does not shrink: {one.label} takes {one.disk:,.0f} B per point, the "
            f"vectors take {now.disk:,.0f}."
        )
    advice = (
        ""
        if one.best.low >= _ENOUGH
        else " That is a loss: keep the dense vectors unless the disk has to shrink."
    )
    return (
        f"The disk shrinks only if the dense vectors are dropped: {one.label} takes "
        f"{one.disk:,.0f} B per point instead of {now.disk:,.0f} ({now.disk / one.disk:.1f} times "
        f"less) for recall {span(one.best)}.{advice}"
    )


def _room(need: Headroom) -> Iterator[str]:
    for what, wanted, free in (
        ("disk", need.peak, need.free_disk),
        ("memory", need.ram, need.free_ram),
    ):
        if free is not None and free < wanted:
            yield (
                f"Not enough {what}: up to {sized(wanted)} more are needed, {sized(free)} are free."
            )


def span(ends: Range) -> str:
    """Spell a range of recall, such as "0.86 to 0.91"."""
    return f"{ends.low:.2f} to {ends.high:.2f}"
