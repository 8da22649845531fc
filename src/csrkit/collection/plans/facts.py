"""What a plan says: plain numbers and words, the same in Python and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "Backfill",
    "Candidate",
    "Collection",
    "Expected",
    "Fitted",
    "Headroom",
    "Option",
    "Plan",
    "Range",
    "Reach",
    "Rival",
    "Sampled",
    "Stored",
]

Adding: TypeAlias = Literal["in place", "copy"]


class Range(NamedTuple):
    """The ends of an interval.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Collection:
    """What was found.

    Attributes:
        url: Where, without any secret.
        engine: "Qdrant" or "Qdrant Edge".
        version: Its version; None if it does not tell.
        vector: Name of the dense vector.
        name: Name of the sparse vector that would be added.
        points: Number of points.
        dim: Width of the dense vector.
        distance: "Cosine", "Dot", "Euclid" or "Manhattan".
        datatype: "float32", "float16" or "uint8".
        quantization: Kind of its quantised copy; None without.
        on_disk: Whether the originals stay on disk.
        adding: Whether a vector can be added in place, or the collection has to be copied.
    """

    url: str
    engine: str
    version: str | None
    vector: str
    name: str
    points: int
    dim: int
    distance: str
    datatype: str
    quantization: str | None
    on_disk: bool
    adding: Adding


@dataclass(frozen=True)
class Sampled:
    """What was read.

    Attributes:
        rows: Points drawn that have a usable vector.
        unusable: Share of points drawn whose vector is missing, zero or not finite.
        fitted_on: Rows that the model was fitted on; 0 if it was given.
        docs: Rows searched.
        queries: Queries asked.
        queries_are: "given", or "documents" that were left out of the rows searched.
        is_whole: Whether the sample is the whole collection.
        seed: Of the draws that csrkit makes.
    """

    rows: int
    unusable: float
    fitted_on: int
    docs: int
    queries: int
    queries_are: Literal["given", "documents"]
    is_whole: bool
    seed: int


@dataclass(frozen=True)
class Fitted:
    """The model that was measured.

    Attributes:
        fingerprint: SHA-256 of the model.
        is_given: Whether it was given, not fitted.
        n_latents: Width of the codes.
        steps: Training steps of its weights.
        seconds: What the fit took; 0 if it was given.
    """

    fingerprint: str
    is_given: bool
    n_latents: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Stored:
    """Bytes per point of the dense vector, without payloads and log.

    Attributes:
        vector: Of the originals on disk.
        graph: Of the HNSW graph.
        is_measured: Whether the engine was weighed, on the sample; else by formula.
    """

    vector: float
    graph: float
    is_measured: bool


@dataclass(frozen=True)
class Expected:
    """Recall@10 of one way to search, against exact dense search.

    Attributes:
        effort: The effort of `csrkit.Searcher` that chooses the setting; None for a rival.
        k: Latents of the query code; None for a rival.
        candidates: Hits that are rescored; None without rescoring.
        rescore: By "codes" or "dense" vectors; None without rescoring.
        sample: Mean recall on the sample.
        recall: Range to be expected of the whole collection.
    """

    effort: Literal["fast", "balanced", "accurate"] | None
    k: int | None
    candidates: int | None
    rescore: Literal["codes", "dense"] | None
    sample: float
    recall: Range


@dataclass(frozen=True)
class Candidate:
    """Codes of one k: bytes per point, and what searches find.

    Attributes:
        k: Latents per stored code.
        code: Bytes of the stored code.
        postings: Bytes of its postings.
        residual: Bytes of the residual beside it.
        is_measured: Whether the engine was weighed, on the sample; else by formula.
        alone: Recall at each effort with the dense vectors dropped.
        beside: Recall at each effort with the dense vectors kept, on disk.
    """

    k: int
    code: float
    postings: float
    residual: float
    is_measured: bool
    alone: tuple[Expected, ...]
    beside: tuple[Expected, ...]


@dataclass(frozen=True)
class Rival:
    """A quantised copy of the dense vectors, rescored by the originals.

    Attributes:
        name: "int8" or "binary".
        copy: Bytes per point of the copy, computed.
        expected: Recall, of an exact scan of the copy.
    """

    name: Literal["int8", "binary"]
    copy: float
    expected: Expected


@dataclass(frozen=True)
class Option:
    """One thing that can be done, all in: a row of the printed table.

    Attributes:
        label: In words.
        kind: "now", "codes" without the dense vectors, "beside" them, or the rival's name.
        k: Latents per stored code; None for what has none.
        ram: Bytes per point in memory.
        disk: Bytes per point on disk.
        recalls: By effort, or one.
    """

    label: str
    kind: Literal["now", "codes", "beside", "int8", "binary"]
    k: int | None
    ram: float
    disk: float
    recalls: tuple[Expected, ...]

    @property
    def best(self) -> Range:
        """The recall to be expected of the highest effort."""
        return self.recalls[-1].recall if self.recalls else Range(1.0, 1.0)


@dataclass(frozen=True)
class Reach:
    """How far a sample speaks for the collection.

    Attributes:
        ratio: Points of the collection per row searched, 1 if all were.
        is_bounded: Whether the lower ends hold: with more points per row searched than
            candidates they are too high.
    """

    ratio: float
    is_bounded: bool


@dataclass(frozen=True)
class Backfill:
    """What a backfill would take at k of the middle candidate.

    Attributes:
        read_rate: Points per second, measured on the collection.
        encode_rate: Points per second, measured on this machine.
        write_rate: Points per second, measured in the embedded engine; None if that is
            not installed.
        seconds: Of all points, by these rates, one after the other.
    """

    read_rate: float
    encode_rate: float
    write_rate: float | None
    seconds: float


@dataclass(frozen=True)
class Headroom:
    """Bytes that are needed beyond what is used now, at the largest candidate.

    Attributes:
        disk: On disk, for the codes, and for the copy where one is made.
        peak: On disk while segments are written anew.
        ram: In memory, until the dense vectors leave it.
        free_disk: What is free, if known.
        free_ram: What is free, if told.
    """

    disk: float
    peak: float
    ram: float
    free_disk: int | None
    free_ram: int | None


@dataclass(frozen=True)
class Plan:
    """What compressing a collection would do; nothing was written.

    ``print(plan)`` shows it all.

    Attributes:
        collection: What was found.
        sample: What was read.
        model: What was measured.
        reach: How far the sample reaches.
        dense: Bytes of the dense vector.
        candidates: One per k.
        rivals: int8 and binary copies; empty if faiss is not installed.
        options: All of it side by side.
        backfill: How long it would take.
        headroom: What it would need.
        instead: The rival that takes less memory than any codes beside dense vectors that
            find as much; None if there is none, or none was measured.
        verdict: What to do, in words.
        notes: What a reader must know.
    """

    collection: Collection
    sample: Sampled
    model: Fitted
    reach: Reach
    dense: Stored
    candidates: tuple[Candidate, ...]
    rivals: tuple[Rival, ...]
    options: tuple[Option, ...]
    backfill: Backfill
    headroom: Headroom
    instead: Literal["int8", "binary"] | None
    verdict: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        from csrkit.collection.plans.text import lines

        return "\n".join(lines(self))
