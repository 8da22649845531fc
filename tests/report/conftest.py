"""A report made up by hand, with every kind of row."""

from __future__ import annotations

import pytest

from csrkit.metrics import Interval
from csrkit.report import Filtered, Machine, Report, Row


def row(name: str, **changes: object) -> Row:
    """A row with plausible figures, some of them changed."""
    facts: dict[str, object] = {
        "family": "dense",
        "setting": "exact",
        "k": None,
        "bytes_per_vector": 3080.0,
        "retained_bytes": 0.0,
        "resident_bytes": 3100.5,
        "build_seconds": 0.25,
        "ms_p50": 4.5,
        "ms_p95": 5.25,
        "recall10": Interval(1.0, 1.0, 1.0),
        "recall100": Interval(1.0, 1.0, 1.0),
        "worst": 1.0,
        "ndcg10": Interval(0.55, 0.56, 0.57),
        "mrr10": Interval(0.5, 0.51, 0.52),
        "accuracy": None,
        "filtered": (Filtered(0.1, 1.0, 0.5), Filtered(0.01, 1.0, 0.05)),
    }
    return Row(name=name, **{**facts, **changes})  # type: ignore[arg-type]  # a test's spelling


@pytest.fixture
def report() -> Report:
    csr = {
        "family": "csr",
        "ndcg10": None,
        "mrr10": None,
        "accuracy": 0.5,
        "resident_bytes": None,
        "filtered": (),
        "posting_cost": 0.3,
    }
    return Report(
        title="wordnet20k",
        n_docs=20_000,
        n_queries=1000,
        dim=768,
        queries="given",
        seed=0,
        machine=Machine("A processor", 2, "3.12.1", (("csrkit", "0.1.0"), ("numpy", "2.1"))),
        rows=(
            row("float32"),
            row(
                "csr",
                k=8,
                setting="k=8",
                recall10=Interval(0.6, 0.62, 0.64),
                worst=0.0,
                **csr,
            ),
            row("csr", k=16, setting="k=16", recall10=Interval(0.7, 0.71, 0.73), worst=0.1, **csr),
        ),
        notes=("One note.",),
    )
