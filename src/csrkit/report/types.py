"""What an evaluation found: `Report`, its `Row` s, and nothing that draws them.

A row is one way to search, measured: what must be kept to answer (bytes, all
in), how long it takes (build, one query), and what it finds (fidelity to the
exact dense ranking, relevance where judgements are known). Rows of one `name`
are one curve: a CSR curve has a row per k, a quantiser one per size.

Tables, plots and pages are made beside this module and import it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from csrkit.errors import FormatError
from csrkit.metrics import Interval

__all__ = ["Family", "Filtered", "Machine", "Report", "Row"]

Family: TypeAlias = Literal["csr", "dense", "scalar", "binary", "product", "projection", "graph"]
FORMAT = 1


class Filtered(NamedTuple):
    """A search among a random share of the points, the rest filtered out.

    Attributes:
        share: Of the points that the filter keeps, such as 0.01.
        recall: Mean recall@10 against the exact dense top 10 within the filter.
        ms_p50: Median time of one query, in milliseconds.
    """

    share: float
    recall: float
    ms_p50: float


class Machine(NamedTuple):
    """Where the figures were measured.

    Attributes:
        cpu: Model name, as the system tells it.
        cores: Logical processors; the searches used one.
        python: Version.
        packages: Name and version of what did the work, csrkit first.
    """

    cpu: str
    cores: int
    python: str
    packages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to search, measured.

    Attributes:
        name: Such as "csr", "csr + codes", "int8" or "pq"; rows of one name
            form a curve.
        family: What kind of method it is.
        setting: The rest, in words, such as "k=16, 100 candidates".
        k: Latents of a query's code; None for what is no CSR.
        bytes_per_vector: All that must be kept per vector to answer: code, id,
            postings, graph, retained originals.
        retained_bytes: The part of them that only rescoring reads.
        resident_bytes: Memory per vector as measured, with the index open and
            warm; None where it was not.
        build_seconds: From float32 rows in memory to an index that answers:
            training of the method's own parameters, encoding, storing. The fit
            of the CSR model is not in it; the codec is given.
        ms_p50: Median time of one query alone, on one thread, in milliseconds.
        ms_p95: The 95th percentile of the same times.
        recall10: Mean recall@10 against exact dense search.
        recall100: Mean recall@100.
        worst: Mean recall@10 of the worst 5% of the queries: the floor.
        ndcg10: Mean nDCG@10 over the judged queries; None without judgements.
        mrr10: Mean MRR@10 over the same.
        accuracy: 1-NN accuracy, in [0, 1]; None without labels of the queries.
        filtered: The same search within random shares of the points.
        posting_cost: Postings visited per query and document; None for what has none.
        code_bytes: The part of bytes_per_vector that is the vector's own code,
            as it would travel; an engine that stores codes needs more.
        shared_bytes: Kept once, whatever the number of vectors: codebooks,
            rotations, the CSR model. Not in bytes_per_vector.
    """

    name: str
    family: Family
    setting: str
    k: int | None
    bytes_per_vector: float
    retained_bytes: float
    resident_bytes: float | None
    build_seconds: float
    ms_p50: float
    ms_p95: float
    recall10: Interval
    recall100: Interval
    worst: float
    ndcg10: Interval | None
    mrr10: Interval | None
    accuracy: float | None
    filtered: tuple[Filtered, ...]
    posting_cost: float | None = None
    code_bytes: float | None = None
    shared_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything `csrkit.evaluate` measured, in one run on one machine.

    Attributes:
        title: What was evaluated.
        n_docs: Documents that were searched.
        n_queries: Queries that were asked.
        dim: Width of the embeddings.
        queries: "given", or "documents" if documents served as queries; each
            was then left out of its own results.
        seed: Of everything drawn: queries, filters, intervals, training.
        machine: Where.
        rows: Exact float32 search first, then baselines, then CSR.
        notes: What a reader must know, such as what was left out and why; one
            sentence each.
    """

    title: str
    n_docs: int
    n_queries: int
    dim: int
    queries: Literal["given", "documents"]
    seed: int
    machine: Machine
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def table(self, form: Literal["text", "markdown"] = "text") -> str:
        """Lay the rows out as text: what they find, what they cost, and under filters.

        Args:
            form: "text", aligned and at most 100 columns wide, or "markdown".

        Returns:
            Lines, with the title and the conditions first.
        """
        from csrkit.report.table import table

        return table(self, form)

    def plot(self, path: str | Path) -> None:
        """Draw quality against bytes and against latency, and what else methods cost.

        Args:
            path: File to write; its ending (.png, .svg, .pdf) chooses the format.

        Raises:
            ConfigError: If there are no rows, or the ending is of no picture.
            MissingExtra: If matplotlib is not installed.
        """
        from csrkit.report.plot import plot

        plot(self, Path(path))

    def to_html(self, path: str | Path) -> None:
        """Write one self-contained page: verdict, pictures, table, conditions.

        Args:
            path: File to write; replaced if it exists.

        Raises:
            MissingExtra: If matplotlib is not installed.
        """
        from csrkit.report.html import to_html

        to_html(self, Path(path))

    def verdict(self) -> list[str]:
        """Say in words what to use at which budget, where CSR loses first of all.

        Returns:
            One sentence each: the opening, one per budget, then remarks.
        """
        from csrkit.report.verdict import verdict

        return verdict(self)

    def to_json(self) -> str:
        """Return the report as one JSON object; tuples with names become objects.

        Returns:
            Text for `from_json`.
        """
        return json.dumps({"format": FORMAT, **_plain(self)}, allow_nan=False, indent=1)

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file.

        Args:
            path: File to write; replaced if it exists.
        """
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """Read what `to_json` wrote, checking every type.

        Args:
            text: JSON.

        Returns:
            An equal report.

        Raises:
            FormatError: If it is no report, or one of another format.
        """
        from pydantic import TypeAdapter

        try:
            found = json.loads(text)
            known = found.pop("format") == FORMAT
            report = TypeAdapter(cls).validate_python(found) if known else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FormatError(f"expected a report that `Report.save` wrote: {error!r}") from error
        if report is None or _plain(report) != found:
            raise FormatError(
                f"expected a report of format {FORMAT} and no unknown keys: "
                "this one was changed, or written by another version of csrkit"
            )
        return report


def _plain(value: Any) -> Any:
    """Turn dataclasses and named tuples into dicts, tuples into lists, all the way down."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return {name: _plain(part) for name, part in value._asdict().items()}
        return [_plain(part) for part in value]
    return value
