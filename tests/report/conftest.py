"""Reports whose rows are made up by hand: nothing here was measured."""

from __future__ import annotations

from collections.abc import Callable

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


# -- rows from a few numbers, for tables, pictures, pages and verdicts ---------

MACHINE = Machine("AMD EPYC", 2, "3.11.7", (("csrkit", "0.1.0"), ("faiss-cpu", "1.14.3")))

MadeRow = Callable[..., Row]
MadeReport = Callable[..., Report]


def _around(value: float | None, half: float) -> Interval | None:
    return None if value is None else Interval(max(0, value - half), value, min(1, value + half))


def _made_row(
    name: str = "csr",
    family: str = "csr",
    setting: str = "",
    *,
    k: int | None = None,
    size: float = 100,
    kept: float = 0,
    ms: float = 1.0,
    recall: float = 0.9,
    half: float = 0.01,
    ndcg: float | None = None,
    build: float = 1.0,
    drop: tuple[float, float] = (0, 0),
    slow: tuple[float, float] = (1, 1),
    **others: object,
) -> Row:
    """A row from a few numbers; ``drop`` and ``slow`` are what filters of 10% and 1% do to it."""
    values = {
        "name": name,
        "family": family,
        "setting": setting,
        "k": k,
        "bytes_per_vector": size,
        "retained_bytes": kept,
        "resident_bytes": 1.2 * (size - kept) + 20,
        "build_seconds": build,
        "ms_p50": ms,
        "ms_p95": 1.6 * ms,
        "recall10": _around(recall, half if recall < 1 else 0),
        "recall100": _around(recall**1.2, half if recall < 1 else 0),
        "worst": max(0.0, 2 * recall - 1) ** 2,
        "ndcg10": _around(ndcg, 0.014),
        "mrr10": _around(None if ndcg is None else ndcg - 0.02, 0.014),
        "accuracy": None,
        "filtered": (
            Filtered(0.1, recall - drop[0], ms * slow[0]),
            Filtered(0.01, recall - drop[1], ms * slow[1]),
        ),
        "posting_cost": None,
    }
    return Row(**{**values, **others})  # type: ignore[arg-type]


def _made_report(*rows: Row, **others: object) -> Report:
    values = {
        "title": "made up by hand",
        "n_docs": 20_000,
        "n_queries": 1_000,
        "dim": 768,
        "queries": "given",
        "seed": 0,
        "machine": MACHINE,
        "notes": ("These rows were made up by hand for the tests.",),
    }
    return Report(**{**values, "rows": rows, **others})  # type: ignore[arg-type]


@pytest.fixture
def made_row() -> MadeRow:
    return _made_row


@pytest.fixture
def made_report() -> MadeReport:
    return _made_report


# name, family, setting, bytes, retained, ms, recall, nDCG, build seconds, drops, slowdowns
_BASELINES = (
    ("float32 exact", "dense", "", 3080, 0, 2.9, 1.0, 0.564, 0.01, (0, 0), (0.12, 0.02)),
    ("float16", "dense", "", 1544, 0, 3.4, 0.999, 0.564, 0.02, (0, 0), (0.12, 0.02)),
    ("int8", "scalar", "", 784, 0, 1.9, 0.988, 0.563, 0.4, (0, 0), (0.12, 0.02)),
    ("binary", "binary", "", 104, 0, 0.21, 0.793, 0.551, 0.1, (0, 0), (0.3, 0.1)),
    (
        "binary + floats",
        "binary",
        "top 100",
        3176,
        3072,
        0.33,
        0.985,
        0.562,
        0.1,
        (0, 0),
        (0.4, 0.2),
    ),
    ("pca", "projection", "128 dims", 520, 0, 0.52, 0.80, 0.536, 0.9, (0, 0), (0.12, 0.03)),
    ("pca", "projection", "256 dims", 1032, 0, 1.0, 0.89, 0.553, 1.1, (0, 0), (0.12, 0.03)),
    ("truncation", "projection", "256 dims", 1032, 0, 1.0, 0.71, 0.501, 0.01, (0, 0), (0.12, 0.03)),
    ("pq", "product", "64 B", 72, 0, 0.61, 0.71, 0.505, 9.8, (0, 0), (0.2, 0.05)),
    ("pq", "product", "128 B", 136, 0, 1.1, 0.852, 0.543, 14.0, (0, 0), (0.2, 0.05)),
    ("pq", "product", "192 B", 200, 0, 1.7, 0.897, 0.554, 19.0, (0, 0), (0.2, 0.05)),
    ("opq", "product", "128 B", 136, 0, 1.15, 0.861, 0.546, 44.0, (0, 0), (0.2, 0.05)),
    ("rabitq", "product", "", 112, 0, 0.9, 0.805, 0.549, 0.5, (0, 0), (0.25, 0.06)),
    ("hnsw float32", "graph", "ef=64", 3352, 0, 0.17, 0.972, 0.558, 11.0, (0.02, 0.11), (1.9, 5)),
    ("hnsw int8", "graph", "ef=64", 1056, 0, 0.13, 0.958, 0.556, 7.0, (0.02, 0.14), (2.1, 6)),
    ("hnsw int8", "graph", "ef=128", 1056, 0, 0.21, 0.974, 0.560, 7.0, (0.01, 0.1), (2.1, 6)),
)

# name, bytes on top of 5 per latent, retained, added ms, recall and nDCG at k = 8, 16, 32, 64
_CSR = (
    ("csr", 0, 0, 0.0, (0.492, 0.602, 0.675, 0.717), (0.427, 0.492, 0.520, 0.530)),
    ("csr + codes", 0, 0, 0.3, (0.66, 0.711, 0.752, 0.756), (0.50, 0.52, 0.534, 0.535)),
    ("csr + bits", 100, 100, 0.34, (0.80, 0.874, 0.884, 0.892), (0.54, 0.550, 0.555, 0.556)),
    ("csr + dense", 3072, 3072, 0.12, (0.86, 0.956, 0.978, 0.991), (0.55, 0.56, 0.562, 0.563)),
)


@pytest.fixture
def realistic() -> Report:
    """About what an evaluation prints: 16 rows of baselines, 16 of CSR."""
    rows = [
        _made_row(
            name,
            family,
            setting,
            size=size,
            kept=kept,
            ms=ms,
            recall=recall,
            ndcg=ndcg,
            half=0.012 * (1 - recall) ** 0.5 * 2,
            build=build,
            drop=drop,
            slow=slow,
        )
        for name, family, setting, size, kept, ms, recall, ndcg, build, drop, slow in _BASELINES
    ]
    for name, more, kept, added, recalls, ndcgs in _CSR:
        for k, recall, ndcg, scan in zip(
            (8, 16, 32, 64), recalls, ndcgs, (0.05, 0.12, 0.31, 0.9), strict=True
        ):
            rows.append(
                _made_row(
                    name,
                    "csr",
                    f"k={k}" if name == "csr" else f"k={k}, 100 candidates",
                    k=k,
                    size=5 * k + 8 + more,
                    kept=kept,
                    ms=scan + added,
                    recall=recall,
                    ndcg=ndcg,
                    half=0.024 * (1 - recall) ** 0.5,
                    build=2.4,
                    slow=(0.5, 0.3),
                    posting_cost=0.01 * k**1.25,
                    code_bytes=5.0 * k,
                    shared_bytes=18.9e6,
                )
            )
    return _made_report(*rows, title="wordnet20k, made up by hand")
