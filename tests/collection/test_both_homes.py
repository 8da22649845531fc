"""Dense vectors that were rewritten alone, and how they are found; and distances, on both homes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import QdrantClient, models

from csrkit.collection import Job, VerifyConfig, compress
from csrkit.collection.home import Home
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.collection.jobs.compressing import foreseen
from csrkit.errors import ConfigError

from ..contract.rest_shim import QUICK, RestShim
from .models import random_model
from .shards import DIM, embeddings

N = 120
LOOSE = VerifyConfig(min_recall=0.3, n_queries=30)  # the model's weights are random
Rewrite = Callable[[dict[int, Any]], None]


class Lent(NamedTuple):
    """A collection, and how its owner sets dense vectors and codes past the job."""

    home: Home
    rewrite: Rewrite
    recode: Rewrite


Lend = Callable[..., Lent]


@pytest.fixture(params=["edge", "server"])
def lend(request: pytest.FixtureRequest, rest: RestShim, tmp_path: Path) -> Iterator[Lend]:
    """A collection of given rows and distance, on either home."""
    client = QdrantClient(url=rest.url, check_compatibility=False)

    def lent(rows: Any, distance: str = "Cosine") -> Lent:
        if request.param == "edge":
            return _shard(tmp_path / "shard", rows.tolist(), distance)
        rest.reset(tmp_path)
        return _server(client, rows.tolist(), distance)

    yield lent
    client.close()


def _shard(folder: Path, rows: list[Any], distance: str) -> Lent:
    folder.mkdir()
    kind = qe.EdgeVectorParams(size=DIM, distance=getattr(qe.Distance, distance))
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": kind}))
    points = [qe.Point(i, {"dense": row}, {}) for i, row in enumerate(rows)]
    shard.update(qe.UpdateOperation.upsert_points(points))

    def sets(name: str) -> Rewrite:
        def rewrite(rows: dict[int, Any]) -> None:
            new = [qe.PointVectors(one, {name: row}) for one, row in rows.items()]
            shard.update(qe.UpdateOperation.update_vectors(new))

        return rewrite

    recode = sets("csr")
    return Lent(
        EdgeHome(folder, shard=shard),
        sets("dense"),
        lambda rows: recode({one: qe.SparseVector(*code) for one, code in rows.items()}),
    )


def _server(client: QdrantClient, rows: list[Any], distance: str) -> Lent:
    params = models.VectorParams(size=DIM, distance=models.Distance(distance))
    client.create_collection("docs", vectors_config={"dense": params})
    points = [models.PointStruct(id=i, vector={"dense": row}) for i, row in enumerate(rows)]
    client.upsert("docs", points, wait=True)

    def sets(name: str) -> Rewrite:
        def rewrite(rows: dict[int, Any]) -> None:
            new = [models.PointVectors(id=one, vector={name: row}) for one, row in rows.items()]
            client.update_vectors("docs", new, wait=True)

        return rewrite

    recode = sets("csr")
    return Lent(
        QdrantHome(client, "docs", retry=QUICK),
        sets("dense"),
        lambda rows: recode(
            {
                one: models.SparseVector(indices=code[0], values=code[1])
                for one, code in rows.items()
            }
        ),
    )


# -- vectors that were rewritten alone ------------------------------------------------


def assert_coded(job: Job) -> None:
    page = job.home.read(list(range(N)), vector="dense", codes=job.manifest.codes)
    assert page.codes is not None
    assert page.vectors is not None
    want = job.model.encode(page.vectors, k=8)
    np.testing.assert_allclose(page.codes.to_dense(), want.to_dense(), atol=1e-6)
    np.testing.assert_array_equal(page.residuals, job.model.encode_residuals(page.vectors, want))


def test_a_code_of_a_vector_that_is_no_more_is_found(lend: Lend, tmp_path: Path) -> None:
    home, rewrite, _ = lend(embeddings(N))
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    rows = embeddings(N, seed=4).tolist()

    rewrite({i: rows[i] for i in range(0, 27, 3)})
    full = VerifyConfig(min_recall=0.3, n_queries=30, full=True)
    (found,) = job.verify(full).failed
    assert found.found.startswith("9 of 120")
    assert job.sweep(stale=False).written == 0  # no engine tells which vectors were changed
    assert job.sweep().written == 9
    assert_coded(job)
    assert job.verify(full).passed

    rewrite({i: rows[i] for i in range(1, 13, 3)})
    assert job.cutover(verify=LOOSE).swept.written == 4
    assert_coded(job)
    rewrite({50: rows[50]})
    assert job.cutover(verify=False).swept.written == 1  # again, and without a verification
    assert_coded(job)
    job.close()


def test_what_is_no_code_of_the_model_is_named_and_replaced(lend: Lend, tmp_path: Path) -> None:
    home, _, recode = lend(embeddings(N))
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    recode({3: ([5, 10**6], [0.5, 0.5]), 4: ([7], [-2.0]), 5: ([], [])})
    if isinstance(home, EdgeHome):  # HTTP has no words for them
        recode({6: ([1, 2], [np.nan, 1.0]), 7: ([1], [np.inf])})
    many = 5 if isinstance(home, EdgeHome) else 3
    full = VerifyConfig(min_recall=0.3, n_queries=30, full=True)
    (found,) = job.verify(full).failed
    assert found.found.startswith(f"{many} of 120")
    assert job.sweep().written == many
    assert_coded(job)
    assert job.verify(full).passed
    job.close()


# -- distances ------------------------------------------------------------------------


def unit(n: int) -> Any:
    """Rows of length 1, which any distance ranks alike."""
    rows = embeddings(n)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def stretched(by: float) -> Any:
    """Rows whose lengths differ by a factor of up to ``exp(by)``."""
    lengths = np.exp(by * np.random.default_rng(0).random((200, 1)))
    return (unit(200) * lengths).astype(np.float32)


@pytest.mark.parametrize("distance", ["Dot", "Euclid"])
def test_a_collection_that_ranks_otherwise_is_refused_before_anything_is_written(
    lend: Lend, tmp_path: Path, distance: str
) -> None:
    home, *_ = lend(stretched(3.0), distance)
    before, folder = home.describe(), tmp_path / "job"
    why = f"by {distance}, [0-8].* so codes cannot find .* keep {distance} and quantise"
    with pytest.raises(ConfigError, match=why):
        compress(home, model=random_model(), k=8, job=folder, progress=False)
    with pytest.raises(ConfigError, match=why):
        foreseen(home, k=8)
    assert (home.describe(), folder.exists()) == (before, False)


def test_a_collection_that_ranks_alike_is_compressed(lend: Lend, tmp_path: Path) -> None:
    home, *_ = lend(7 * unit(N), "Dot")
    assert foreseen(home, k=8).warning is None
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    assert job.status().written == N
    job.close()


def test_a_collection_that_ranks_nearly_alike_is_compressed_with_a_warning(lend: Lend) -> None:
    home, *_ = lend(stretched(0.02), "Dot")
    warning = foreseen(home, k=8).warning
    assert warning is not None
    assert "of the nearest 10 by Dot, 9." in warning


def test_few_points_have_no_other_ranking(lend: Lend, tmp_path: Path) -> None:
    home, *_ = lend(stretched(3.0)[:9], "Dot")
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    assert job.status().written == 9
    job.close()
