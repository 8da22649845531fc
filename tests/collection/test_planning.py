"""`plan` on both homes: what it says, and that it reads only."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import QdrantClient

import csrkit
from csrkit.collection import compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.plans.facts import Plan
from csrkit.collection.plans.planning import plan
from csrkit.errors import ConfigError

from ..contract.rest_routes import Refused
from ..contract.rest_shim import RestShim, running
from .plan_data import DIM, N, fill_server, fill_shard, model, rows
from .shards import contents

READS = re.compile(
    r"GET /.*|POST /collections/docs/points(/count|/scroll|/query|/query/batch)?(\?.*)?"
)
QUICK = {"k": (4, 8), "n_queries": 40, "progress": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestShim]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RestShim) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go, to see that none is left."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Iterator[EdgeHome]:
    shard = fill_shard(tmp_path / "shard", rows())
    yield EdgeHome(tmp_path / "shard", shard=shard)
    shard.close()


def checked(found: Plan, points: int = N) -> None:
    """What holds of every plan."""
    assert found.collection.points == points
    assert [one.k for one in found.candidates] == [4, 8]
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["verdict"]
    text = str(found).splitlines()
    assert max(map(len, text[2:])) <= 100
    assert "VERDICT" in text
    for one in found.candidates:
        for expected in one.alone + one.beside:
            assert 0 <= expected.recall.low <= expected.sample <= expected.recall.high <= 1
        assert one.beside[-1].sample >= one.beside[0].sample  # accurate finds more than fast
    few, many = found.candidates
    assert 8 * 4 <= few.code <= many.code  # the engine stores codes in blocks
    assert few.postings < many.postings
    assert [one.effort for one in few.alone] == ["fast", "balanced", "accurate"]
    assert {one.rescore for one in few.alone} <= {"codes", None}
    assert {one.rescore for one in few.beside} <= {"dense", None}


def test_a_shard_is_planned_for_and_stays_as_it_was(home: EdgeHome, scratch: Path) -> None:
    before, described = contents(home.shard), home.describe()
    found = plan(home, model=model(), **QUICK)
    checked(found)
    assert contents(home.shard) == before
    assert home.describe() == described
    assert home.marker("csr") is None
    assert list(scratch.glob("csrkit*")) == []
    assert (found.sample.rows, found.sample.docs, found.sample.queries) == (N, N - 40, 40)
    assert (found.sample.is_whole, found.reach.ratio) == (True, 1.0)
    assert found.model.is_given
    assert found.headroom.free_disk is not None  # the shard's disk was asked
    assert found.backfill.write_rate is not None
    each = 1 / found.backfill.read_rate + 1 / found.backfill.encode_rate
    assert found.backfill.seconds == pytest.approx(N * (each + 1 / found.backfill.write_rate))
    rivals = {one.name: one for one in found.rivals}
    assert (rivals["int8"].copy, rivals["binary"].copy) == (DIM, DIM / 8)
    assert rivals["int8"].expected.sample > 0.98


def test_a_key_that_may_only_read_is_enough(
    server: RestShim, client: QdrantClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reset(tmp_path)
    fill_server(client, rows())
    before = contents(server["docs"].shard)
    answer = server.answer

    def guarded(method: str, path: str, body: bytes) -> Any:
        if not READS.fullmatch(f"{method} {path}"):
            raise Refused(403, "Forbidden: read-only access")
        return answer(method, path, body)

    monkeypatch.setattr(server, "answer", guarded)
    server.seen.clear()
    found = plan(client, "docs", model=model(), sample=450, free_disk=10, **QUICK)
    checked(found)
    assert server.seen
    assert not [one for one in server.seen if not READS.fullmatch(one)]
    assert contents(server["docs"].shard) == before
    assert (found.sample.rows, found.sample.docs, found.sample.is_whole) == (450, 410, False)
    assert found.reach.ratio == pytest.approx(N / 410, abs=1e-3)
    assert found.headroom.free_disk == 10
    assert any("Not enough disk" in one for one in found.verdict)
    with pytest.raises(csrkit.CsrkitError, match="403"):
        compress(client, "docs", model=model(), k=4, job=tmp_path / "job", progress=False)


def test_a_model_is_fitted_to_half_of_the_sample(home: EdgeHome, scratch: Path) -> None:
    config = csrkit.FitConfig(n_latents=128, ladder=(4,), steps=30)
    found = plan(home, k=(4, 8), config=config, sample=500, n_queries=40, progress=False)
    checked(found)
    assert (found.sample.fitted_on, found.sample.docs, found.sample.queries) == (250, 210, 40)
    assert found.model.n_latents == 128
    assert not found.model.is_given
    assert found.model.steps <= 30
    assert found.model.seconds > 0
    assert list(scratch.glob("csrkit*")) == []


def test_without_settings_the_fit_is_short(home: EdgeHome) -> None:
    with pytest.warns(UserWarning, match="are fewer than the 256 latents"):
        found = plan(home, k=4, sample=400, n_queries=30, progress=False)
    assert found.model.steps <= 100  # 20 passes would be fewer: it is the least
    assert found.model.n_latents == 200


def test_an_interrupt_of_the_fit_ends_the_plan(
    home: EdgeHome, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fit` keeps what it has and warns; a plan of half a fit would mislead."""

    def interrupted(*_: Any, **__: Any) -> Any:
        warnings.warn("fit was interrupted: returning the weights of step 9", stacklevel=2)
        return model()

    monkeypatch.setattr("csrkit.fitting.fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plan(home, k=4, n_queries=30, progress=False)
    assert list(scratch.glob("csrkit*")) == []


def test_real_queries_are_asked_if_they_are_given(home: EdgeHome) -> None:
    found = plan(home, model=model(), queries=rows(60, seed=5), **QUICK)
    assert (found.sample.queries_are, found.sample.queries, found.sample.docs) == ("given", 40, N)
    assert not any("stood in for queries" in one for one in found.notes)


def test_points_without_a_usable_vector_are_counted(home: EdgeHome) -> None:
    odd = [qe.Point(10**6 + i, {"dense": [0.0] * DIM}, {}) for i in range(60)]
    home.shard.update(qe.UpdateOperation.upsert_points(odd))
    found = plan(home, model=model(), **QUICK)
    checked(found, N + 60)
    assert found.sample.unusable == pytest.approx(60 / 660, abs=1e-4)
    assert any("9.1% of the points drawn have no usable vector" in one for one in found.notes)


def test_a_server_that_needs_a_copy_is_told(
    server: RestShim, client: QdrantClient, tmp_path: Path
) -> None:
    server.reset(tmp_path)
    fill_server(client, rows())
    server.version = "1.17.9"
    copied = plan(client, "docs", model=model(), **QUICK)
    largest = copied.candidates[-1]
    codes = largest.code + largest.postings + largest.residual
    assert copied.collection.adding == "copy"
    assert copied.headroom.disk == pytest.approx(
        N * (codes + copied.dense.vector + copied.dense.graph)
    )
    assert "cannot add a vector in place" in str(copied)


def test_codes_that_are_there_already_are_told(home: EdgeHome, tmp_path: Path) -> None:
    job = compress(home, model=model(), k=4, job=tmp_path / "job", progress=False)
    found = plan(home, model=model(), **QUICK)
    assert f"has codes 'csr' already, k=4, of the job {job.manifest.job}" in " ".join(found.notes)
    home.shard.update(qe.UpdateOperation.create_sparse_vector("other"))
    with pytest.raises(ConfigError, match="'other' that carries no marker of csrkit"):
        plan(home, name="other", model=model(), **QUICK)


def test_a_home_is_released_whatever_happens(tmp_path: Path) -> None:
    fill_shard(tmp_path / "shard", rows()).close()
    url = f"edge://{tmp_path / 'shard'}"
    with pytest.raises(ConfigError, match="no dense vector 'text'"):
        plan(url, vector="text")
    own = EdgeHome(tmp_path / "shard")  # nobody holds it
    with pytest.raises(ConfigError, match="no dense vector 'text'"):
        plan(own, vector="text")
    assert own.describe().count == N  # a home that was passed in stays open
    own.close()


def test_the_same_seed_gives_the_same_recall(home: EdgeHome) -> None:
    one, two = (plan(home, model=model(), sample=500, seed=3, **QUICK) for _ in range(2))
    assert [each.recalls for each in one.options] == [each.recalls for each in two.options]
    assert np.isclose(one.dense.vector, two.dense.vector, rtol=0.05)
