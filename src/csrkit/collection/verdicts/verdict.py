"""`Verdict`: what a verification looked at, what it found, and whether that is good enough.

Types alone; `csrkit.collection.verdicts.verifying` fills them in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from csrkit.errors import ConfigError, JobError
from csrkit.metrics import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from csrkit.model.card import Effort

__all__ = [
    "CODED",
    "CODES",
    "SWEPT",
    "Check",
    "NotVerified",
    "Qrels",
    "Rescoring",
    "Searched",
    "Verdict",
    "VerifyConfig",
]

Rescoring: TypeAlias = Literal["auto", "codes", "dense", "none"]
Qrels: TypeAlias = Sequence[Mapping[int | str, float]]
GROUP_SLACK = 0.05  # of a group's gate: it has few queries, and there are many groups
CODED, CODES = "coded points", "codes"
SWEPT = {CODED, CODES}  # checks that fail for what a sweep mends
_SHARES = ("min_recall", "min_group_recall", "min_query_recall", "max_stale", "max_changed")
_NUMBERS = ("sample", "n_queries", "group_queries", "most_groups")


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifyConfig:
    """What a verification looks at, and its gates.

    How far a sample sees: n codes, drawn uniformly and all found right, leave a share of
    wrong ones of at most ``1 - 0.05 ** (1 / n)`` with 95% confidence: 0.15% for 2,000. A
    range of 0.5% of the points that is stale is missed once in 22,000 times. ``full`` leaves
    no doubt.

    Attributes:
        min_recall: Least recall@10 overall; the lower end of its 95% interval must reach it.
        min_group_recall: Least mean recall@10 of each filter and each value of ``by``; None is
            0.05 below ``min_recall``. Their means are compared, not their lower ends, as each
            has few queries and there may be many: one of them would fall short by chance.
        min_query_recall: Least mean recall@10 of the worst twentieth of the queries.
        max_stale: Share of the codes looked at that may differ from those of their dense
            vectors. Above 0 only for a collection in which dense vectors change all the time.
        max_changed: Share of the points noted before the job whose dense vector or payload
            may differ now: others write too. 0 for a collection that nobody writes to.
        accept: Names of checks whose failure a person has looked at and accepts.
        full: Whether to recompute every code, not only a sample.
        sample: Codes to recompute otherwise, at least 1; those of ``n_queries`` and of the
            points noted before the job are recomputed as well.
        seed: Seed of all draws.
        k: Latents of a query's code; None follows ``effort``.
        effort: "fast", "balanced" or "accurate", as of `csrkit.Searcher.search`; None with
            no ``k`` is "balanced".
        rescore: "codes" rescores candidates by codes and residuals, "dense" by the dense
            vectors, "none" not at all; "auto" is "codes" where the job keeps residuals.
        queries: Query vectors (q, dim), all of which are asked; None takes documents, each
            left out of its own results, which flatters or hides what real queries meet.
        qrels: What is relevant: for each of the queries gains by id. Queries without any
            are left out of nDCG and MRR.
        n_queries: Documents that serve as queries, at least 1.
        by: Payload field, nested ones as ``a.b``, each value of which is judged apart by
            queries of its own: such as the tenant.
        filters: The vendor's filters by name, each judged apart; see `Home.matching`.
        group_queries: Documents that serve as queries within a filter or value, at least 1.
        most_groups: Values of ``by`` that are judged, the most frequent in the sample.

    Raises:
        ConfigError: If a number is out of its range, or settings contradict each other.
    """

    min_recall: float = 0.9
    min_group_recall: float | None = None
    min_query_recall: float = 0.0
    max_stale: float = 0.0
    max_changed: float = 0.2
    accept: tuple[str, ...] = ()
    full: bool = False
    sample: int = 2000
    seed: int = 0
    k: int | None = None
    effort: Effort | None = None
    rescore: Rescoring = "auto"
    queries: ArrayLike | None = None
    qrels: Qrels | None = None
    n_queries: int = 200
    by: str | None = None
    filters: Mapping[str, Any] | None = None
    group_queries: int = 50
    most_groups: int = 100

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 <= value <= 1):
                raise ConfigError(f"expected {name} from 0 to 1, got {value!r}")
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"expected {name} of at least 1, got {value!r}")
        if self.rescore not in ("auto", "codes", "dense", "none"):
            raise ConfigError(
                f"expected rescore to be 'auto', 'codes', 'dense' or 'none', got {self.rescore!r}"
            )
        if self.qrels is not None and self.queries is None:
            raise ConfigError("expected queries= with qrels=, got qrels= alone")

    @property
    def least_group(self) -> float:
        """The gate of filters and values."""
        if self.min_group_recall is not None:
            return self.min_group_recall
        return max(0.0, self.min_recall - GROUP_SLACK)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What it is, in a few words.
        passed: Whether it is as it has to be.
        found: What was found.
        expected: What it has to be.
        sentence: Both in words, and what to do if it failed.
        accepted: Whether it failed and that was accepted.
    """

    name: str
    passed: bool
    found: str
    expected: str
    sentence: str
    accepted: bool = False

    @classmethod
    def of(cls, name: str, passed: bool, found: str, expected: str, sentence: str) -> Self:
        """Make a check.

        Args:
            name: What it is.
            passed: Whether it is as it has to be.
            found: What was found.
            expected: What it has to be.
            sentence: Both in words.

        Returns:
            The check.
        """
        return cls(name=name, passed=passed, found=found, expected=expected, sentence=sentence)


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What searches found, against the engine's own exact search.

    Attributes:
        name: "all", a filter's name, or "<field>=<value>".
        stage: "sparse" for the inverted index alone, "codes" or "dense" for its candidates
            rescored by that.
        setting: The query's k and the candidates, in words.
        queries: How many were asked.
        recall: Mean recall@10 with its 95% interval.
        floor: Mean recall@10 of the worst twentieth of the queries.
        short: Queries with fewer hits than the exact search has.
        gate: Least recall that was asked for; None where none was.
        ndcg: Mean nDCG@10 with its interval; None without judgements.
        mrr: Mean MRR@10.
        exact_ndcg: That of the exact dense search, on the same queries.
        exact_mrr: The same for MRR@10.
    """

    name: str
    stage: str
    setting: str
    queries: int
    recall: Interval
    floor: float
    short: int
    gate: float | None = None
    ndcg: Interval | None = None
    mrr: Interval | None = None
    exact_ndcg: Interval | None = None
    exact_mrr: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a verification found.

    Attributes:
        job: Id of the job.
        url: The collection, without any secret.
        vector: Name of the dense vector.
        name: Name of the sparse vector.
        k: Latents per code.
        fingerprint: That of the job's model.
        engine: Engine and version.
        csrkit: Version of csrkit.
        points: Points of the collection.
        compared: Codes that were recomputed.
        queries: "given", or "documents" where these stood in for them.
        seconds: How long it took.
        checks: Everything that was looked at.
        searches: What searches found.
        notes: What a reader must know besides.
    """

    job: str
    url: str
    vector: str
    name: str
    k: int
    fingerprint: str
    engine: str
    csrkit: str
    points: int
    compared: int
    queries: Literal["given", "documents"]
    seconds: float
    checks: tuple[Check, ...]
    searches: tuple[Searched, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check passed, or its failure was accepted."""
        return all(check.passed or check.accepted for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed and were not accepted."""
        return tuple(check for check in self.checks if not (check.passed or check.accepted))

    def to_json(self) -> str:
        """Return the verdict as one JSON object.

        Returns:
            Text; intervals are objects of low, value and high.
        """
        return json.dumps({"passed": self.passed, **_plain(self)}, allow_nan=False, indent=1)

    def to_html(self, path: str | Path) -> None:
        """Write the verdict as one page that needs nothing else.

        Args:
            path: File to write; replaced if it exists.
        """
        from csrkit.collection.verdicts.verdict_page import page

        Path(path).write_text(page(self), encoding="utf-8")


def _plain(value: Any) -> Any:
    """Turn dataclasses and named tuples into dicts, tuples into lists, all the way down."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Interval):
        return value._asdict()
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


class NotVerified(JobError):
    """A job was not cut over, as its verification failed.

    Args:
        verdict: What it found.
    """

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        reasons = " ".join(check.sentence for check in verdict.failed)
        super().__init__(f"not cut over, as the verification failed. {reasons}")
