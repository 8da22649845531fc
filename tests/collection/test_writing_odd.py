"""Whatever is given to a `DualWriter` is written as it should be, or refused by a clear error."""

from __future__ import annotations

import datetime
import decimal
import math
import random
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from csrkit.collection import DualWriter, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.errors import CsrkitError

from .models import random_model
from .shards import DIM, contents, make_shard

N = 20
ROW = np.random.default_rng(0).normal(size=DIM)
HALF = ROW.astype(np.float16)
CYCLE: dict[str, Any] = {}
CYCLE["a"] = CYCLE
NEST: list[Any] = []
NEST.append(NEST)
ONE = uuid.UUID(int=7)
IDS: list[Any] = [
    *(1, 0, -1, 2**64, 2**64 - 1, True, None, "x", "", str(ONE), ONE, 1.5, math.nan, b"x", (1,)),
    *([1], {}, "\ud800", f"urn:uuid:{ONE}", f"{{{ONE}}}", np.int64(5), np.uint64(2**63), object()),
]
VECTORS: list[Any] = [
    *(ROW.tolist(), ROW, HALF, tuple(ROW), ROW[:5].tolist(), [], None, "abc", 5, math.nan),
    *([None] * DIM, ["a"] * DIM, [[1.0] * DIM], [0.0] * DIM, [1e400] * DIM, [10**400] * DIM),
    *([True] * DIM, [1j] * DIM, np.array([object()] * DIM), object(), {"a": 1}, iter([1.0]), NEST),
    *([math.inf] * DIM, [1e-46] * DIM, [1e-40] * DIM, [3e38] * DIM, range(DIM), bytearray(DIM)),
    *([decimal.Decimal("1.5")] * DIM, np.array(["1.5"] * DIM), np.arange(DIM).astype("M8[s]")),
]
PAYLOADS: list[Any] = [
    *(None, {}, {"a": 1}, {"a": math.nan}, {"a": object()}, {"a": {1, 2}}, {1: 2}, {None: 1}, 5),
    *({"a": 10**30}, {"a": b"\xff"}, {"a": "\ud800"}, {"\ud800": 1}, CYCLE, NEST, "x", [1]),
    *({"a": datetime.datetime(2026, 1, 1)}, {"a": decimal.Decimal(1)}, {"a": np.int64(1)}),
    *({"a": np.arange(3)}, {"a": {"b": [1, {"c": (1, 2)}]}}, {"": 1}, {("x",): 1}, {"a": print}),
    *({"csrkit_id": 5}, {"a": ONE}, {"a": "x" * 10**5}, {"a.b": 1}, {"a[]": 1}, {"a": "\x00"}),
]
NAMES = ["csr", "csr_residual", "x", "", 1, None, "dense "]


def odd_vectors(rng: random.Random) -> Any:
    kind, base = rng.random(), {"dense": rng.choice(VECTORS)}
    if kind < 0.6:
        return base
    if kind < 0.75:
        return {**base, rng.choice(NAMES): rng.choice(VECTORS)}
    return rng.choice([*VECTORS, {}, {1: 2}, {None: ROW}, [("dense", ROW)]])


def odd_points(rng: random.Random, first: int) -> Any:
    if rng.random() < 0.05:
        return rng.choice([[5], [None], [object()], 5, None, "x", {"a": 1}])
    return [
        SimpleNamespace(
            id=rng.choice(IDS) if rng.random() < 0.3 else first + i,
            vector=odd_vectors(rng) if rng.random() < 0.6 else {"dense": ROW.tolist()},
            payload=rng.choice(PAYLOADS),
        )
        for i in range(rng.choice([1, 1, 2, 3]))
    ]


@pytest.mark.parametrize("seed", range(2))
def test_odd_points_are_written_or_refused(seed: int, tmp_path: Path) -> None:
    make_shard(tmp_path / "shard", N).close()
    home = EdgeHome(tmp_path / "shard")
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    writer, rng = DualWriter.of(job), random.Random(seed)
    written, refusals = 0, []
    for turn in range(250):
        points = odd_points(rng, 100 + 3 * turn)
        try:
            rng.choice([writer.upsert, writer.coded])(points)
            written += 1
        except CsrkitError as error:
            refusals.append(str(error))
    assert min(written, len(refusals)) > 20
    assert max(map(len, refusals)) < 600
    assert job.sweep().written == 0  # codes are those of what is stored
    before = contents(home.shard)
    home.close()
    home = EdgeHome(tmp_path / "shard")  # its log holds nothing that cannot be read back
    assert contents(home.shard) == before
    home.close()
