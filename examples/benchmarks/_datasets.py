"""Embeddings to measure quality on, as `quality.py` takes them from disk.

An array is two files, ``X.npy`` (int8) and ``X.scale.npy`` (float32, one per row); the data is
their product. A plain float ``X.npy`` without a scale is taken as it is. Two layouts:

    folder   docs, queries, relevant.npy (one row of docs per query), labels.npy (of docs) if any
    array    ``folder/embeddings`` or the path of any ``X.npy``: equal rows are dropped but one, and
             1,000 random rows become the queries; labels.npy (or category.npy) beside it is
             used if it fits
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import csrkit
from csrkit.metrics import exact_top

Floats = NDArray[np.float32]


class Labels(NamedTuple):
    """Classes of documents int64 (n,) and of queries int64 (q,)."""

    docs: NDArray[np.int64]
    queries: NDArray[np.int64] | None


class Dataset(NamedTuple):
    """Unit rows to compress, queries that no model is trained on, and what is known of them.

    Attributes:
        name: Folder or file name, never a path.
        docs: float32 (n, dim).
        queries: float32 (q, dim).
        truth: int64 (q, 10), the exact dense top 10.
        relevant: int64 (q,), the one relevant row, or None.
        labels: Classes, or None.
    """

    name: str
    docs: Floats
    queries: Floats
    truth: NDArray[np.int64]
    relevant: NDArray[np.int64] | None
    labels: Labels | None


def load(path: Path, n_queries: int, n_docs: int | None = None) -> Dataset:
    """Load a folder or an array, with at most so many queries and documents.

    Args:
        path: See the module.
        n_queries: The first rows of queries, or how many rows to draw as queries.
        n_docs: The first documents of a folder; those relevant to a query stay as well.
    """
    path = path.resolve()
    if (path / "docs.npy").exists():
        return _folder(path, n_queries, n_docs)
    return _split(path / "embeddings.npy" if path.is_dir() else path, n_queries)


def fit_or_load(data: Dataset, config: csrkit.FitConfig, models: Path | None) -> csrkit.CSRModel:
    """Fit the documents, or take the model that a run before left under ``models``.

    Scripts that look at one model from several sides share a folder, and with it the fits. Its
    names hold the data, the steps and the seed: settings beyond those want a folder of their own.
    """
    if models is None:
        return csrkit.fit(data.docs, config=config, progress=False)
    folder = models / f"{data.name.replace('/', '-')}-{config.steps}-{config.seed}"
    if not folder.exists():
        csrkit.fit(data.docs, config=config, progress=False).save(folder)
    return csrkit.load(folder)


def _folder(path: Path, n_queries: int, n_docs: int | None) -> Dataset:
    docs, queries = _unit(path / "docs.npy"), _unit(path / "queries.npy")[:n_queries]
    relevant, labels = _optional(path / "relevant.npy"), _optional(path / "labels.npy")
    kept = np.arange(len(docs))[:n_docs]
    if relevant is not None:
        kept = np.union1d(kept, relevant[:n_queries])
        relevant = np.searchsorted(kept, relevant[:n_queries])
    docs, classes = docs[kept], None if labels is None else Labels(labels[kept], None)
    name = path.name if path.name != "data" else f"{path.parent.name}/data"
    return Dataset(name, docs, queries, exact_top(queries, docs, 10), relevant, classes)


def _split(path: Path, n_queries: int) -> Dataset:
    rows, labels = _unit(path), _optional(path.parent / "labels.npy")
    if labels is None:
        labels = _optional(path.parent / "category.npy")
    _, first = np.unique(rows, axis=0, return_index=True)
    order = np.random.default_rng(0).permutation(np.sort(first))  # the split is no seed's
    asked, kept = order[:n_queries], np.sort(order[n_queries:])
    classes = None
    if labels is not None and len(labels) == len(rows):
        classes = Labels(labels[kept], labels[asked])
    name = f"{path.parent.name}/{path.stem}"
    truth = exact_top(rows[asked], rows[kept], 10)
    return Dataset(name, rows[kept], rows[asked], truth, None, classes)


def _unit(path: Path) -> Floats:
    rows = np.load(path).astype(np.float32)
    scale = path.with_suffix(".scale.npy")
    if scale.exists():
        rows *= np.load(scale)[:, None]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _optional(path: Path) -> NDArray[np.int64] | None:
    return np.load(path).astype(np.int64) if path.exists() else None
