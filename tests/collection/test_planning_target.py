"""What may not be planned, with the remedy; the distance; the k that make sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe

from csrkit import FitConfig
from csrkit.collection.plans.facts import Collection
from csrkit.collection.plans.planning import plan
from csrkit.collection.plans.target import agreement, check_distance, chosen_ks, outlined
from csrkit.errors import ConfigError

from .models import random_model
from .plan_data import DIM, fill_shard, model, rows

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(vectors: Any, **settings: Any) -> str:
        fill_shard(tmp_path / "shard", vectors, **settings).close()
        return f"edge://{tmp_path / 'shard'}"

    return make


def refused(target: str, why: str, **options: Any) -> None:
    with pytest.raises(ConfigError, match=why):
        plan(target, progress=False, **{"k": 4, **options})


def test_an_empty_collection(make: Make) -> None:
    refused(make(rows(1)[:0]), "holds no points, so there is nothing to compress")


def test_too_few_points(make: Make) -> None:
    refused(make(rows(399)), "got 399 of 399 drawn from 399.*searched exactly in no time")


def test_vectors_that_cannot_be_encoded(make: Make) -> None:
    bad = rows(450).copy()
    bad[:200] = 0
    bad[200:420] = np.nan
    refused(make(bad), "got 30 of 450 drawn from 450: the other vectors are missing, zero, or hold")


def test_no_such_vector_and_several_rows_per_point(make: Make, tmp_path: Path) -> None:
    refused(make(rows(1)), "no dense vector 'text', its dense vectors: 'dense'", vector="text")
    fill_shard(tmp_path / "two" / "shard", rows(3), multi=True).close()
    refused(f"edge://{tmp_path / 'two' / 'shard'}", "holds several rows per point")


def test_names_that_are_taken(make: Make, tmp_path: Path) -> None:
    url = make(rows(20))
    shard = qe.EdgeShard.load(str(tmp_path / "shard"))
    shard.update(qe.UpdateOperation.create_sparse_vector("csr"))
    shard.close()
    refused(url, "'csr' that carries no marker of csrkit and is never taken over: choose another")
    refused(url, "a name for the codes other than 'dense'", name="dense")
    refused(url, "a name for the codes other than 'dense'", name="")


def test_settings_out_of_range(make: Make) -> None:
    url = make(rows(450))
    why = "a model of 64 dimensions, as the vector .dense. has them, got one of 24"
    refused(url, why, model=random_model())
    refused(url, "expected a sample of at least 400 points, got sample=399", sample=399)
    refused(url, "expected a sample of at least 400 points, got sample=True", sample=True)
    refused(url, "at least 20 queries, got n_queries=19", n_queries=19)
    refused(url, "expected a seed from 0, got seed=-1", seed=-1)
    refused(url, "expected k from 1 to 31 for 64 dimensions of float32, got k=32", k=32)
    refused(url, "up to the model's 160 latents, got k=200|from 1 to 31", k=200, model=model())
    for k in (0, -3, 4.0, True, (), (4, "8")):
        refused(url, "expected k", k=k)
    with pytest.raises(ConfigError, match="a URL names its own collection"):
        plan(url, "docs")


SOURCE = Collection(
    url="edge:///x",
    engine="Qdrant",
    version="1.17.1",
    vector="dense",
    name="csr",
    points=2_000_000,
    dim=384,
    distance="Dot",
    datatype="float32",
    quantization=None,
    on_disk=False,
    adding="copy",
)


def test_the_k_that_make_sense() -> None:
    assert chosen_ks(None, SOURCE, None) == (16, 32, 64)
    assert chosen_ks(None, SOURCE, 40) == (16, 32)
    assert chosen_ks([64, 8, 8], SOURCE, None) == (8, 64)
    assert chosen_ks(191, SOURCE, None) == (191,)  # 1,528 of 1,536 bytes
    with pytest.raises(ConfigError, match="a code takes 8 bytes per latent"):
        chosen_ks(192, SOURCE, None)
    with pytest.raises(ConfigError, match="up to the model's 40 latents, got k=41"):
        chosen_ks(41, SOURCE, 40)
    small = Collection(**{**vars(SOURCE), "dim": 100, "datatype": "uint8"})
    with pytest.raises(
        ConfigError, match="take 100 bytes, too few for codes to save any: quantise"
    ):
        chosen_ks(None, small, None)


def test_a_dry_run_says_what_is_known_without_reading() -> None:
    size, copy = outlined(SOURCE, 32, residuals=True)
    assert "a vector takes 1,536 bytes, a code about 304 and its postings up to 384 more" in size
    assert "up to 1.4 GB on disk for all points" in size
    assert "Qdrant 1.17.1 cannot add a vector in place" in copy
    plain = Collection(**{**vars(SOURCE), "distance": "Cosine", "adding": "in place"})
    assert len(list(outlined(plain, 32, residuals=False))) == 1
    assert "no smaller than the vectors" in list(outlined(plain, 192, residuals=False))[1]


@pytest.mark.parametrize("distance", ["Dot", "Euclid"])
def test_vectors_of_one_length_rank_as_the_cosine(distance: str) -> None:
    assert agreement(rows(300), distance) == 1.0
    assert agreement(7.5 * rows(300), distance) == 1.0


def test_agreement_by_hand() -> None:
    """Lengths that differ by a factor of 20 at random: long vectors win every inner product."""
    rng = np.random.default_rng(0)
    stretched = rows(400) * np.exp(rng.normal(size=(400, 1))).astype(np.float32)
    query, docs = stretched[:50], stretched[50:]
    unit = docs / np.linalg.norm(docs, axis=1, keepdims=True)
    want = np.mean(
        [
            len(set(np.argsort(-docs @ one)[:10]) & set(np.argsort(-unit @ one)[:10])) / 10
            for one in query
        ]
    )
    assert agreement(stretched, "Dot") == pytest.approx(want)
    assert want < 0.9
    assert agreement(stretched, "Cosine") == 1.0
    assert agreement(stretched, "Euclid") < 0.9
    assert agreement(stretched, "Manhattan") < 0.9
    assert 0.3 < agreement(rows(300), "Manhattan") <= 1.0


def test_a_distance_that_ranks_otherwise_is_refused(make: Make) -> None:
    rng = np.random.default_rng(0)
    stretched = rows(450) * np.exp(rng.normal(size=(450, 1))).astype(np.float32)
    url = make(stretched, distance="Dot")
    refused(url, "'dense' ranks by Dot and codes by the cosine: of the nearest 10 by Dot, [0-8]")


def test_a_distance_that_ranks_nearly_alike_is_a_warning() -> None:
    rng = np.random.default_rng(0)
    slightly = rows(450) * (1 + 0.01 * rng.random((450, 1))).astype(np.float32)
    warned = check_distance(Collection(**{**vars(SOURCE), "dim": DIM}), slightly)
    assert warned is not None
    assert "9." in warned
    assert warned.endswith("recall here is against the cosine.")


def test_lengths_that_do_not_differ_are_planned_for(make: Make) -> None:
    config = FitConfig(n_latents=128, ladder=(4,), steps=5)
    url = make(3 * rows(420), distance="Dot")
    found = plan(url, k=4, n_queries=25, config=config, progress=False)
    assert found.collection.distance == "Dot"
    assert not any("ranks by Dot" in one for one in found.notes)
