"""A copy on a server that cannot add a vector: the real client over HTTP to the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from csrkit.collection import Job, compress
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.errors import ConfigError

from ..contract.rest_shim import QUICK, RestShim, running
from .copies import fill_richly, records, settings
from .models import random_model

N = 150
OLD = "1.17.3"


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
def shim(server: RestShim, client: QdrantClient, tmp_path: Path) -> RestShim:
    server.reset(tmp_path)
    server.version = OLD
    fill_richly(server, client, N)
    return server


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit.collection.backfill.RANGE_POINTS", 48)
    monkeypatch.setattr("csrkit.collection.pace.time.sleep", lambda seconds: None)


def copied(client: QdrantClient, tmp_path: Path, target: str = "live", **options: Any) -> Job:
    home = QdrantHome(client, target, retry=QUICK)
    options = {"model": random_model(), "k": 8, "job": tmp_path / "job", **options}
    return compress(home, progress=False, **options)


def title(job: Job) -> str:
    return f"docs__csrkit_{job.manifest.job}"


def assert_equal(shim: RestShim, job: Job) -> None:
    """The copy has every point of the original as it is, and the code of its dense vector."""
    copies = records(shim, title(job))
    own = {one: {name: row.pop(name, None) for name in ("csr", "csr_residual")}
           for one, (_, row) in copies.items()}  # fmt: skip
    assert copies == records(shim, "docs")
    bare = {one for one, codes in own.items() if codes["csr"] is None}
    assert bare == {str(one) for one in dict(job.status().reasons)}
    ids = [one for page in job.home.ids() for one in page if str(one) not in bare]
    page = job.home.read(ids, vector="dense", codes=job.manifest.codes)
    assert page.vectors is not None
    assert page.codes is not None
    want = job.model.encode(page.vectors, k=8)
    np.testing.assert_allclose(page.codes.to_dense(), want.to_dense(), atol=1e-6)
    np.testing.assert_array_equal(page.residuals, job.model.encode_residuals(page.vectors, want))


def test_a_server_that_cannot_add_a_vector_gets_a_copy(
    shim: RestShim, client: QdrantClient, tmp_path: Path
) -> None:
    before, metadata = records(shim, "docs"), dict(shim["docs"].metadata)
    job = copied(client, tmp_path)
    assert job.manifest.strategy == "copy"
    assert_equal(shim, job)
    assert len(before) == N + 2  # one without a dense vector, one of zeros
    assert job.status().written == N
    assert settings(client, title(job)) == settings(client, "docs")
    info = client.get_collection(title(job)).config.params
    assert info.vectors["csr_residual"].hnsw_config.m == 0
    assert set(info.sparse_vectors) == {"csr", "bm25"}
    assert shim.aliases == {"live": "docs", "ändere": "docs"}
    assert (records(shim, "docs"), shim["docs"].metadata) == (before, metadata)
    assert shim[title(job)].metadata["owner"] == "search team"
    marker = job.home.marker("csr")
    assert marker is not None
    assert marker.job == job.manifest.job


def test_a_server_that_can_gets_codes_in_place_unless_told_otherwise(
    shim: RestShim, client: QdrantClient, tmp_path: Path
) -> None:
    shim.version = "1.18.0"
    assert copied(client, tmp_path).manifest.strategy == "in_place"
    assert "csr" in (client.get_collection("docs").config.params.sparse_vectors or {})
    other = copied(client, tmp_path, job=tmp_path / "other", strategy="copy", name="csr2")
    assert other.manifest.copy_of == "docs"
    with pytest.raises(ConfigError, match="begun with strategy='copy', got 'in_place'"):
        copied(client, tmp_path, job=tmp_path / "other", strategy="in_place", name="csr2")
