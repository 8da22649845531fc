"""What counts as the same code, and how ids are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit.collection import VerifyConfig, compress
from csrkit.collection.home import Page
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.verdicts.baseline import (
    Baseline,
    Noted,
    _sketch,
    dense_digest,
    payload_digest,
)
from csrkit.collection.verdicts.contents import _faults
from csrkit.collection.verdicts.drawing import draw
from csrkit.errors import FormatError
from csrkit.vectors import SparseVectors

from .models import random_model
from .shards import make_shard, point_ids

N = 300


def code(**values: float) -> SparseVectors:
    row = np.zeros((1, 8), np.float32)
    for latent, value in values.items():
        row[0, int(latent[1:])] = value
    return SparseVectors.from_dense(row)


def fault(new: SparseVectors, stored: SparseVectors) -> Any:
    rest = np.zeros((1, 100), np.uint8)
    pages = (Page([1], codes=one, residuals=rest) for one in (new, stored))
    return next(iter(_faults(*pages)), (0, None))[1]


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (code(a1=0.8, a2=0.6), None),
        (code(a1=0.800001, a2=0.599999), None),  # another processor
        (code(a1=0.8, a3=0.6), None),  # two latents of one value at the end of the code
        (code(a1=0.8, a3=0.6, a2=0.6), "latents"),
        (code(a1=0.8, a3=0.5), "latents"),
        (code(a1=0.79, a2=0.6), "values"),
        (code(a3=0.8, a2=0.6), "latents"),
        (code(a1=0.8), "latents"),
        (code(), "latents"),
    ],
)
def test_only_arithmetic_is_forgiven(stored: SparseVectors, found: str | None) -> None:
    assert fault(code(a1=0.8, a2=0.6), stored) == found


def test_a_residual_may_differ_in_a_step_or_two() -> None:
    rng = np.random.default_rng(0)
    codes = SparseVectors.concat([code(a1=1.0)] * 4)
    new = rng.integers(0, 256, (4, 100), dtype=np.uint8)
    stored = new.copy()
    stored[1, :2] ^= 1  # across a step
    stored[2, :3] ^= 1
    stored[3] = rng.integers(0, 256, 100, dtype=np.uint8)
    pages = (Page([0, 1, 2, 3], codes=codes, residuals=rest) for rest in (new, stored))
    assert list(_faults(*pages)) == [(2, "residual"), (3, "residual")]


def test_payloads_are_the_same_in_any_order_and_nothing_else() -> None:
    one = {"a": [1, 2.5, None, {"x": "ü"}], "b": "\ud800"}
    assert payload_digest(one) == payload_digest(dict(reversed(one.items())))
    for other in ({**one, "c": None}, {**one, "a": [1, 2.5]}, {"b": one["b"]}, {}):
        assert payload_digest(other) != payload_digest(one)


def test_a_copy_may_be_rounded_and_no_more() -> None:
    row = np.random.default_rng(0).normal(size=384).astype(np.float32)
    noted = Noted(1, dense_digest(row), "", _sketch(row))
    assert noted.is_near(row.astype(np.float16).astype(np.float32))
    assert noted.is_near(row * np.float32(1 + 1e-6))
    other = row.copy()
    other[7] += 1.0
    assert not noted.is_near(other)
    assert not noted.is_near(np.full_like(row, np.nan))


def test_draws_are_uniform_and_of_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shard(tmp_path / "shard", N).close()
    home = EdgeHome(tmp_path / "shard")

    def drawn(seed: int, **options: Any) -> list[Any]:
        return draw(home, 60, "dense", count=N, seed=seed, **options)

    assert drawn(1) == drawn(1) != drawn(2)
    counts = {one: 0 for one in point_ids(N)}
    for seed in range(100):
        for one in drawn(seed):
            counts[one] += 1
    expected = 100 * 60 / N
    chi = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi < 380  # of 299 degrees of freedom; 379 is exceeded once in a thousand
    only = drawn(0, filter=home.matching("cat", 3))
    assert only == point_ids(N)[3::7]
    monkeypatch.setattr("csrkit.collection.verdicts.drawing._LISTED", 10)
    assert set(drawn(0)) < set(point_ids(N))  # the engine draws
    home.close()


def test_a_baseline_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    make_shard(tmp_path / "shard", 9).close()
    home = EdgeHome(tmp_path / "shard")
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    found = Baseline.read(tmp_path / "job")
    assert found is not None
    assert (found.count, [one.id for one in found.points]) == (9, point_ids(9))
    (tmp_path / "job" / "baseline.json").write_text("{")
    with pytest.raises(
        FormatError, match=r"(?s)baseline.json cannot be read.*move it away to go on"
    ):
        job.verify(VerifyConfig(min_recall=0))
    home.close()
