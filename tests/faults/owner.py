"""Somebody who uses the collection while a job works on it, and knows what has to be in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import qdrant_edge as qe

from csrkit.collection.home import CodeVector
from csrkit.model import CSRModel

from ..collection.shards import contents, embeddings

Change = qe.UpdateOperation


class Owner:
    """Inserts, updates and deletes in the engine itself, by a seed."""

    def __init__(self, shard: qe.EdgeShard, seed: int) -> None:
        self._shard, self._rng = shard, np.random.default_rng(seed)
        self._rows = embeddings(500, seed=seed + 100)
        self.payloads = {one: load for one, (load, _) in contents(shard).items()}
        self.writes = 0

    def write(self) -> None:
        """Do one thing, two times of three."""
        act = self._rng.integers(9)
        if act < 6:
            self.writes += 1
            (self._insert, self._replace, self._move, self._label, self._delete, self._insert)[
                act
            ]()

    def _any(self) -> int | str:
        ids = sorted(self.payloads)
        one = ids[self._rng.integers(len(ids))]
        return int(one) if one.isdigit() else one

    def _row(self) -> list[float]:
        row: list[float] = self._rows[self._rng.integers(len(self._rows))].tolist()
        return row

    def _put(self, one: int | str, payload: dict[str, Any]) -> None:
        point = qe.Point(one, {"dense": self._row()}, payload)
        self._shard.update(Change.upsert_points([point]))
        self.payloads[str(one)] = payload

    def _insert(self) -> None:
        self._put(int(self._rng.integers(10**6)), {"cat": 100, "written": self.writes})

    def _replace(self) -> None:
        self._put(self._any(), {"cat": 200, "written": self.writes})

    def _move(self) -> None:
        """Change the dense vector alone, so that the code stays."""
        row = qe.PointVectors(self._any(), {"dense": self._row()})
        self._shard.update(Change.update_vectors([row]))

    def _label(self) -> None:
        one, payload = self._any(), {"label": self.writes}
        self._shard.update(Change.overwrite_payload([one], payload))
        self.payloads[str(one)] = payload

    def _delete(self) -> None:
        one = self._any()
        self._shard.update(Change.delete_points([one]))
        del self.payloads[str(one)]

    def check(self, model: CSRModel, codes: CodeVector, k: int) -> None:
        """Compare: the points that have to be there, their payloads, the code of each vector."""
        found = contents(self._shard)
        assert {one: load for one, (load, _) in found.items()} == self.payloads
        rows = np.array([vectors["dense"] for _, vectors in found.values()], np.float32)
        want = model.encode(rows, k=k)
        have = np.zeros((len(rows), codes.n_latents), np.float32)
        for row, (_, vectors) in zip(have, found.values(), strict=True):
            for latent, value in vectors[codes.name]:
                row[latent] = value
        np.testing.assert_allclose(have, want.to_dense(), atol=1e-5)
        rests = [vectors[f"{codes.name}_residual"] for _, vectors in found.values()]
        np.testing.assert_array_equal(rests, model.encode_residuals(rows, want))
