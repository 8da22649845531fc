"""Rows of quality measurements as tables and files; see `quality.py` for what is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import provenance, table

COLUMNS = {
    "recall": "recall@10",
    "ndcg": "nDCG@10",
    "accuracy": "1-NN",
    "cost": "cost",
    "busiest": "busiest",
    "dead": "dead",
    "decoded_recall": "decoded recall@10",
    "decoded_ndcg": "decoded nDCG@10",
}


class Row(NamedTuple):
    """One model measured at one k.

    Attributes:
        data: Name of the data set.
        recipe: "csr", "csrv2" or "csrkit"; or "dense", the embeddings themselves.
        k: Active latents of query and document.
        trained: The rungs that the model was trained for.
        seed: Of the training.
        values: Keys of COLUMNS to numbers; what the data cannot tell is left out.
    """

    data: str
    recipe: str
    k: int
    trained: tuple[int, ...]
    seed: int
    values: dict[str, float]


def summary(rows: list[Row]) -> str:
    """Format one data set's rows as a table: mean ± standard deviation over the seeds."""
    columns = [name for name in COLUMNS if any(name in row.values for row in rows)]
    groups: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.k, row.recipe), []).append(row)
    lines = []
    for (k, recipe), group in sorted(groups.items(), key=lambda item: item[0][0]):
        trained = group[0].trained
        name = f"{k}" if k in trained or len(trained) != 1 else f"{k} ({trained[0]})"
        lines.append([name if k else "all", recipe, *(_cell(group, name) for name in columns)])
    return table(["k", "recipe", *(COLUMNS[name] for name in columns)], lines)


def _cell(group: list[Row], column: str) -> str:
    values = [row.values[column] for row in group if column in row.values]
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}" if values else ""


def report(rows: list[Row], settings: str, out: Path | None) -> None:
    """Print the tables; with ``out`` write them to out.md and every row to out.json."""
    parts = [
        f"{name}\n\n{summary([row for row in rows if row.data == name])}\n"
        for name in dict.fromkeys(row.data for row in rows)
    ]
    print("\n".join(parts))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        source = f"`{command()}`\n\n{settings}\n\n{provenance()}\n"
        out.with_suffix(".md").write_text("\n".join([source, *parts]))
        record = {
            "command": command(),
            "settings": settings,
            "run": provenance(),
            "rows": [r._asdict() for r in rows],
        }
        out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


def command() -> str:
    """Spell this call without the folders of this machine."""
    words = [word.replace("\\", "/").rstrip("/").rpartition("/")[2] for word in sys.argv[1:]]
    return " ".join(["python examples/benchmarks/quality.py", *words])
