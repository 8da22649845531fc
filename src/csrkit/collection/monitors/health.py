"""`Health`: what a monitor found in a collection with codes, and what to compare it with.

Types alone; `csrkit.collection.monitors.monitoring` fills them in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrkit.errors import ConfigError, FormatError, JobError
from csrkit.metrics import Interval

__all__ = ["Finding", "Health", "Latents", "MonitorConfig", "Quality", "Reference"]

_FILE = "monitor.json"
_SHARES = ("max_missing", "max_stale", "max_recall_drop", "min_recall", "max_dead")
_RATIOS = ("max_fvu_ratio", "max_load_ratio")


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """What a monitor looks at, and when it raises the alarm.

    Attributes:
        sample: Points drawn, at least 1. A share s of stale codes goes unseen with the
            probability ``(1 - s) ** sample``.
        queries: Points of the sample that serve as queries for recall, each with one exact
            search of the engine, which reads every vector; 0 leaves recall out.
        seed: Seed of the draws; another one each time looks at other points.
        max_missing: Share of all points that may lack a code, of those that can have one, or
            lack its residual.
        max_stale: Share of the codes looked at that may differ from those of their dense
            vectors.
        max_fvu_ratio: How many times the reference's FVU that of these points may be. Points
            that the fit saw have a lower FVU than others of their kind, so leave some room
            where the reference is made of them. What counts is recall.
        max_recall_drop: By how much their recall@10 may be below the reference's.
        min_recall: Least recall@10; None sets no least one.
        max_load_ratio: How many times what the fit saw the load of the busiest latent and
            the posting cost may be; judged from 100 codes on, as `max_dead` is.
        max_dead: By how much the share of latents that never fire may exceed that of a
            sample of the same size from what the fit saw.

    Raises:
        ConfigError: If a number is out of its range.
    """

    sample: int = 1000
    queries: int = 100
    seed: int = 0
    max_missing: float = 0.0
    max_stale: float = 0.0
    max_fvu_ratio: float = 2.0
    max_recall_drop: float = 0.05
    min_recall: float | None = None
    max_load_ratio: float = 1.5
    max_dead: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("sample", 1), ("queries", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"expected {name} of at least {least}, got {value!r}")
        for name in _SHARES:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"expected {name} from 0 to 1, got {value!r}")
        for name in _RATIOS:
            if not getattr(self, name) >= 1:
                raise ConfigError(f"expected {name} of at least 1, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class Quality:
    """How well codes stand for some points.

    Attributes:
        points: Points looked at.
        fvu: Fraction of their variance about the model's ``pre_bias`` that decoded codes
            leave unexplained, with its 95% interval.
        recall: Recall@10 with these points as queries against the engine's exact search,
            with its 95% interval; None if not measured.
        queries: How many of them were queries.
        setting: How the codes were searched.
    """

    points: int
    fvu: Interval
    recall: Interval | None
    queries: int
    setting: str


@dataclass(frozen=True, slots=True)
class Latents:
    """How evenly latents are used.

    Attributes:
        codes: Codes looked at.
        busiest: The busiest latent.
        load: Share of the codes in which it fires.
        dead: Share of the latents that fire in none of the codes.
        posting_cost: Postings that one of these codes, as a query, visits per document.
    """

    codes: int
    busiest: int
    load: float
    dead: float
    posting_cost: float


@dataclass(frozen=True, slots=True)
class Finding:
    """A threshold that was crossed.

    Attributes:
        name: What is wrong: "missing", "torn", "stale", "fvu", "recall", "busiest", "dead" or
            "posting cost".
        value: What was measured.
        limit: What it may be.
        sentence: Both in words, and what to do.
    """

    name: str
    value: float
    limit: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Health:
    """What a monitor found.

    Attributes:
        job: Id of the job.
        phase: Its phase.
        url: The collection, without any secret.
        name: Name of the sparse vector.
        which: Which points were drawn, in words.
        points: Points of the collection.
        missing: Points without a code that can have one.
        torn: Points with a code and without the residual that belongs to it.
        uncodable: Points without a code that can have none, having no usable dense vector.
        looked: Codes that were compared with their dense vectors.
        stale: Those that differ.
        seen: Quality of the codes of the points drawn; None without dense vectors.
        reference: What that is compared with; None if there is nothing yet.
        against: What the reference is, in words.
        latents: Latents of a uniform sample of stored codes; None if there are none.
        fitted: What a sample of that size would show of what the fit saw; None if the model
            does not tell for this k.
        is_kept: Whether this run was kept as the reference of later ones.
        findings: Thresholds that were crossed.
        notes: What could not be looked at, and why.
    """

    job: str
    phase: str
    url: str
    name: str
    which: str
    points: int
    missing: int
    torn: int
    uncodable: int
    looked: int
    stale: int
    seen: Quality | None
    reference: Quality | None
    against: str
    latents: Latents | None
    fitted: Latents | None
    is_kept: bool
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no threshold was crossed."""
        return not self.findings


class Reference(BaseModel):
    """A run that was kept in the job folder, for later ones to be compared with.

    Attributes:
        model_config: Frozen; unknown keys are refused.
        format: Layout of the file.
        fingerprint: That of the model.
        at: When it was measured, UTC, ISO 8601.
        which: Which points were drawn, in words.
        quality: What was measured of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    fingerprint: str = Field(min_length=1)
    at: str
    which: str
    quality: Quality

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the reference of a job.

        Args:
            folder: The job folder.

        Returns:
            The reference; None if none was kept.

        Raises:
            FormatError: If it cannot be read.
        """
        try:
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise FormatError(
                f"{folder / _FILE} cannot be read: {error}; delete it, and the next run "
                "without findings takes its place"
            ) from error

    def write(self, folder: Path) -> None:
        """Keep the reference, in place of an older one.

        Args:
            folder: The job folder.

        Raises:
            JobError: If it cannot be written.
        """
        draft = folder / f"{_FILE}.new"
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / _FILE)
        except OSError as error:
            raise JobError(f"cannot write to the job folder {folder}: {error}") from error
