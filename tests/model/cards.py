"""Cards and their rows, made by hand."""

from __future__ import annotations

from typing import Any

from csrkit.metrics import Interval
from csrkit.model import Calibration, Card, Measured, Setting

OTHER = "0" * 64


def row(setting: Setting, low: float, cost: float = 1.0, value: float | None = None) -> Measured:
    value = low if value is None else value
    return Measured(
        setting=setting,
        recall=Interval(low, value, 1.0),
        worst=0.25,
        posting_cost=0.5,
        ms=0.75,
        cost=cost,
        short=0.0,
    )


def calibration(k: int, scores: tuple[float, ...], cosines: tuple[float, ...]) -> Calibration:
    return Calibration(
        k=k, rescore=None, scores=scores, cosines=cosines, pairs=8, mean_error=0.5, p95_error=0.75
    )


def make_card(*rows: Measured, fingerprint: str = OTHER, **changes: Any) -> Card:
    fields: dict[str, Any] = {
        "csrkit": "0.1.0",
        "fingerprint": fingerprint,
        "k_doc": 32,
        "residuals": False,
        "n_docs": 900,
        "n_queries": 100,
        "queries": "documents",
        "limit": 10,
        "store": "MemoryStore",
        "seed": 0,
        "measured": rows or (row(Setting(8), 0.5),),
    }
    return Card(**{**fields, **changes})
