"""The benchmark of residual bits: what its columns are, on data where the answer is known."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from csrkit.metrics import exact_top
from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes
from csrkit.vectors import SparseVectors

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module("residual")
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def data(bench: ModuleType) -> Any:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    docs, queries = rows[:120], rows[120:]
    truth = exact_top(queries, docs, 10)
    return importlib.import_module("_datasets").Dataset(
        "rows", docs, queries, truth, truth[:, 0], None
    )


@pytest.fixture
def model() -> CSRModel:
    made = Provenance(csrkit="0", rows=1, steps=1)
    config = ModelConfig(dim=24, n_latents=60, ladder=(2, 6), provenance=made)
    rng = np.random.default_rng(1)
    atoms = rng.normal(size=(60, 24)) / 5
    arrays = {name: np.zeros(shape) for name, shape in array_shapes(config).items()}
    arrays |= {"encoder": atoms, "decoder": atoms, "scales": arrays["scales"] + 0.7}
    return CSRModel(config=config, **arrays)


def test_values_have_one_byte_and_none_is_lost(bench: ModuleType) -> None:
    codes = SparseVectors([0, 3], [1, 4, 9], [0.9, 0.4, 1e-4], 10)
    values = bench.rounded(codes).values * 255
    np.testing.assert_allclose(values, [round(0.9 * 255), 102, 1], rtol=1e-6)


def test_columns_are_what_they_say(bench: ModuleType, data: Any, model: CSRModel) -> None:
    at = bench.stage(model, data, 6, 6, refit=False)
    assert at.near.shape == (30, 100)
    held = [np.isin(best, near).mean() for best, near in zip(data.truth, at.near, strict=True)]
    assert at.dense()[0] == pytest.approx(np.mean(held))
    fine = replace(at, model=bench.with_bits(model, data.docs, 7 * 24))
    sparse, codes, bits = at.ranked(at.scores), at.by_codes(), at.with_bits()
    assert sparse[0] < codes[0] < bits[0] <= fine.with_bits()[0] <= at.dense()[0]
    assert fine.with_bits()[0] > at.dense()[0] - 0.02


def test_rabitq_of_residuals_is_its_estimator(
    bench: ModuleType, data: Any, model: CSRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = bench.stage(model, data, 6, 6, refit=False)
    found: list[np.ndarray] = []
    monkeypatch.setattr(bench.Stage, "ranked", lambda self, scores: found.append(scores))
    bench.rabitq_of_residuals(at)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0]
    left = data.docs - model.decode(at.stored)
    for query, doc in [(0, 0), (3, 77), (29, 119)]:
        o = rotation.T @ left[doc] / np.linalg.norm(left[doc])  # the paper's o', of norm 1
        bar = np.sign(o) / np.sqrt(24)
        q = rotation.T @ data.queries[query]
        estimate = np.linalg.norm(left[doc]) * (bar @ q) / (bar @ o)
        expected = data.queries[query] @ (data.docs[doc] - left[doc]) + estimate
        assert found[0][query, doc] == pytest.approx(expected, abs=1e-5)
