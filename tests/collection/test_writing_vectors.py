"""`DualWriter` and the vectors of a shard: as they are stored, unnamed, and others beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import models

from csrkit.collection import DualWriter, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.errors import ShapeError
from csrkit.model import CSRModel

from .models import random_model
from .shards import DIM, contents
from .test_writing import NEW, fresh


@pytest.fixture(scope="module")
def model() -> CSRModel:
    return random_model()


KINDS = {None: "Float32", "float16": "Float16", "uint8": "Uint8"}


@pytest.mark.parametrize("datatype", KINDS)
@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
def test_codes_are_those_of_the_vector_as_the_engine_keeps_it(
    datatype: str | None,
    distance: str,
    tmp_path: Path,
    model: CSRModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit: a residual that differs in one bit would be found by the sweep."""
    # rows of such lengths are refused, and rows of one length would test less
    monkeypatch.setattr("csrkit.collection.jobs.compressing.ranked_alike", lambda *_: None)
    kind = getattr(qe.VectorStorageDatatype, KINDS[datatype])
    params = qe.EdgeVectorParams(size=DIM, distance=getattr(qe.Distance, distance), datatype=kind)
    (tmp_path / "shard").mkdir()
    shard = qe.EdgeShard.create(str(tmp_path / "shard"), qe.EdgeConfig(vectors={"dense": params}))
    rows = np.abs(fresh(120) * 20) + 1 if datatype == "uint8" else fresh(120)
    points = [qe.Point(i, {"dense": row.tolist()}, {}) for i, row in enumerate(rows)]
    shard.update(qe.UpdateOperation.upsert_points(points[:20]))
    home = EdgeHome(tmp_path / "shard", shard=shard)
    job = compress(home, model=model, k=8, job=tmp_path / "job", progress=False)
    DualWriter.of(job).upsert(points[20:])
    assert job.sweep().written == 0
    shard.close()


def test_other_vectors_pass_through(tmp_path: Path, model: CSRModel) -> None:
    folder = tmp_path / "shard"
    folder.mkdir()
    cosine, dot = qe.Distance.Cosine, qe.Distance.Dot
    config = qe.EdgeConfig(
        vectors={
            "dense": qe.EdgeVectorParams(size=DIM, distance=cosine),
            "image": qe.EdgeVectorParams(size=3, distance=dot),
        },
        sparse_vectors={"bm25": qe.EdgeSparseVectorParams()},
    )
    shard = qe.EdgeShard.create(str(folder), config)
    home, row = EdgeHome(folder, shard=shard), fresh(1)[0].tolist()
    shard.update(qe.UpdateOperation.upsert_points([qe.Point(1, {"dense": row}, {})]))
    job = compress(home, model=model, k=8, job=tmp_path / "job", progress=False)
    words = models.SparseVector(indices=[4, 9], values=[0.5, 1.5])
    vectors = {"dense": row, "image": [1.0, 2.0, 3.0], "bm25": words}
    writer = DualWriter.of(job)
    writer.upsert([models.PointStruct(id=NEW, vector=vectors, payload={"a": 1})])
    stored = contents(shard)[str(NEW)][1]
    assert stored["image"] == [1.0, 2.0, 3.0]
    assert stored["bm25"] == [(4, 0.5), (9, 1.5)]
    assert sorted(stored) == ["bm25", "csr", "csr_residual", "dense", "image"]
    for image, words_ in (([1.0, 2.0], r"shape \(2,\)"), ([1.0, np.nan, 0], "got NaN")):
        with pytest.raises(ShapeError, match=words_):
            writer.upsert(
                [
                    qe.Point(
                        NEW, {**vectors, "bm25": qe.SparseVector([1], [1.0]), "image": image}, {}
                    )
                ]
            )
    shard.close()


def test_an_unnamed_vector_is_encoded(tmp_path: Path, model: CSRModel) -> None:
    (tmp_path / "shard").mkdir()
    params = qe.EdgeVectorParams(size=DIM, distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(tmp_path / "shard"), qe.EdgeConfig(vectors=params))
    first, *rows = fresh(3).tolist()
    shard.update(qe.UpdateOperation.upsert_points([qe.Point(1, first, {})]))
    home = EdgeHome(tmp_path / "shard", shard=shard)
    job = compress(home, vector="", model=model, k=8, job=tmp_path / "job", progress=False)
    writer = DualWriter.of(job)
    writer.upsert([qe.Point(NEW, rows[0], {}), qe.Point(NEW + 1, {"": rows[1]}, {})])
    assert sorted(contents(shard)[str(NEW)][1]) == ["", "csr", "csr_residual"]
    assert job.sweep().written == 0
    shard.close()
