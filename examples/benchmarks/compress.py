"""What a backfill costs beside encoding, and how much memory it takes.

    python examples/benchmarks/compress.py         4,096 points of 768 dimensions; 100k and 1M

- **Time**: `Backfill.run` of a job on a shard of Qdrant's embedded engine, with a model of random
  weights, against encoding the same rows alone (residuals too where the job keeps them), in turns.
  "Engine" is what the vendor's code takes: the shard's calls, turning its records into Python
  lists, and "of it objects": turning lists of codes into its own points, by its constructors.
  The rest is csrkit's own: listing, turning lists into arrays, encoding, codes as lists, the
  ledger. All are processor time of the one thread that works: waits for the disk and for other
  programs are no work. "Share" is encoding alone over csrkit's own; 100% would be a backfill that
  costs nothing besides. "With objects" counts the constructors as csrkit's.
- **Memory**: the most that a process held which compresses a collection of so many points. Their
  vectors are drawn when they are read and given as lists of Python floats, as both engines give
  them; codes are counted and thrown away. Each size has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is loaded: what others do is not counted

import numpy as np
import qdrant_edge as qe
from _common import heading, table, unit_rows
from _simulated import Simulated

from csrkit.collection import CodeVector, compress
from csrkit.collection.homes.edge import EdgeHome
from csrkit.collection.jobs.backfill import Backfill, Coder
from csrkit.collection.jobs.ledger import Ledger
from csrkit.collection.jobs.pace import Pace
from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes
from csrkit.vectors import SparseVectors

K = 32
SIZES = (100_000, 1_000_000)
MB = 1e6
CLOCK = time.thread_time
COLUMNS = ("encode ms", "csrkit's own ms", "engine ms", "of it objects", "share", "with objects")


class Shape(NamedTuple):
    """Rows of a width, and latents of the model."""

    rows: int
    dim: int
    latents: int


FULL = (Shape(4096, 768, 3072), Shape(4096, 384, 1536))
TOY = (Shape(300, 32, 64),)


class Timed:
    """A shard that adds up how long the vendor's code takes: calls, and reading its answers.

    Attributes:
        seconds: What the vendor's code took.
        besides: What measuring took: a record turns its vector into a list whenever it is asked,
            so all are asked once more, one after the other as csrkit does it.
    """

    def __init__(self, shard: Any) -> None:
        self._shard = shard
        self.seconds = self.besides = 0.0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._shard, name)

        def timed(*arguments: Any) -> Any:
            start = CLOCK()
            try:
                answer = call(*arguments)
            finally:
                self.seconds += CLOCK() - start
            if name == "retrieve" and arguments[-1]:  # with vectors
                self._asked(answer)
            return answer

        return timed

    def _asked(self, records: list[Any]) -> None:
        start = CLOCK()
        for one in records:
            _ = one.vector
        taken = CLOCK() - start
        self.seconds += taken
        self.besides += taken


def spelled(codes: SparseVectors, residuals: Any) -> float:
    """Measure how long the vendor takes to make its objects of codes that are lists already."""
    indices, values = codes.indices.tolist(), codes.values.tolist()
    spans = [slice(*pair) for pair in pairwise(codes.indptr.tolist())]
    lists = [(indices[span], values[span]) for span in spans]
    rows = [None] * len(codes) if residuals is None else residuals.tolist()
    rests: list[dict[str, Any]] = [{"csr_residual": row} if row else {} for row in rows]
    start, points = CLOCK(), []
    for number, ((latents, weights), rest) in enumerate(zip(lists, rests, strict=True)):
        rest["csr"] = qe.SparseVector(latents, weights)
        points.append(qe.PointVectors(number, rest))
    qe.UpdateOperation.update_vectors(points)
    return CLOCK() - start


def random_model(shape: Shape) -> CSRModel:
    """Make a model of unit rows; neither time nor memory depends on training."""
    config = ModelConfig(
        dim=shape.dim,
        n_latents=shape.latents,
        ladder=(min(K, shape.latents),),
        provenance=Provenance(csrkit="benchmark", rows=0, steps=0),
    )
    arrays: dict[str, Any] = {
        name: np.zeros(size, np.float32) for name, size in array_shapes(config).items()
    }
    atoms = unit_rows(shape.latents, shape.dim, 2)
    arrays |= {"encoder": atoms, "decoder": atoms, "scales": np.ones(len(arrays["scales"]))}
    return CSRModel(config=config, **arrays)


class Turn(NamedTuple):
    """Seconds of one turn.

    Attributes:
        alone: Encoding the rows, and nothing else.
        own: The backfill without `engine`.
        engine: The vendor's code.
        objects: Of it, its constructors of the points to write.
    """

    alone: float
    own: float
    engine: float
    objects: float


def times(shape: Shape, folder: Path, repeats: int) -> Iterator[list[str]]:
    """Measure a backfill with and without residuals, in turns with encoding alone."""
    model, rows = random_model(shape), unit_rows(shape.rows, shape.dim)
    shard = Timed(filled(folder / "shard", rows))
    home = EdgeHome(folder / "shard", shard=shard)  # type: ignore[arg-type]
    found: dict[str, list[Turn]] = {"codes": [], "codes and residuals": []}
    model.encode_residuals(rows[:9], model.encode(rows[:9], k=K))  # what is loaded at first use
    for turn in range(repeats):
        for name, turns in found.items():
            width = model.residual_bytes if "residuals" in name else 0
            start = CLOCK()
            codes = model.encode(rows, k=K)
            residuals = model.encode_residuals(rows, codes) if width else None
            alone = CLOCK() - start
            objects = spelled(codes, residuals)
            vector = CodeVector("csr", shape.latents, width)
            home.add(vector)
            ledger = Ledger(folder / f"{turn}-{width}.db")
            work = Backfill(home, Coder(model, "dense", vector, K), ledger, pace())
            start, shard.seconds, shard.besides = CLOCK(), 0.0, 0.0
            work.run()
            engine = shard.seconds + objects
            own = CLOCK() - start - engine - shard.besides
            turns.append(Turn(alone, own, engine, objects))
            assert ledger.tally().written == shape.rows
            ledger.close()
            home.drop(vector)
    for name, turns in found.items():
        shares = (
            median(one.alone / one.own for one in turns),
            median(one.alone / (one.own + one.objects) for one in turns),
        )
        cells = [f"{1e3 * median(column):.0f}" for column in zip(*turns, strict=True)]
        yield [name, *cells, *(f"{share:.0%}" for share in shares)]


def pace() -> Pace:
    """Return the pace of a job whose batches have grown."""
    return Pace(size=1024)


def filled(folder: Path, rows: Any) -> qe.EdgeShard:
    """Make a shard of the rows."""
    folder.mkdir()
    dense = qe.EdgeVectorParams(size=rows.shape[1], distance=qe.Distance.Cosine)
    shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(vectors={"dense": dense}))
    for start in range(0, len(rows), 4096):
        points = [
            qe.Point(start + i, {"dense": row}, {})
            for i, row in enumerate(rows[start : start + 4096].tolist())
        ]
        shard.update(qe.UpdateOperation.upsert_points(points))
    return shard


def resident_peak() -> int:
    """Return the most memory this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says there begins with what the parent held
        return 1024 * int(re.findall(r"VmHWM:\s*(\d+)", status.read_text())[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def memory(points: int, shape: Shape) -> dict[str, float]:
    """Compress a simulated collection and return what it took; for a process of its own."""
    libraries, start = resident_peak(), time.perf_counter()
    home, model = Simulated(points, shape.dim), random_model(shape)
    with tempfile.TemporaryDirectory() as folder:
        job = compress(home, k=K, model=model, job=Path(folder) / "job", progress=False)
        assert job.status().written == home.written == points
        job.close()
    return {
        "points": points,
        "libraries": libraries,
        "peak": resident_peak(),
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="tiny sizes: does it run at all")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shapes = TOY if options.toy else FULL
    if options.memory:
        print(json.dumps(memory(options.memory, shapes[-1])))
        return
    heading("A backfill beside encoding alone", f"k={K}, medians of rounds", toy=options.toy)
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            lines = list(times(shape, Path(folder), 1 if options.toy else options.repeats))
        first = f"{shape.rows} x {shape.dim} -> {shape.latents}"
        print(table([first, *COLUMNS], lines), "\n")
    rows = []
    for points in (500, 1000) if options.toy else SIZES:
        command = [sys.executable, __file__, "--memory", str(points)]
        command += ["--toy"] if options.toy else []
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        one = json.loads(done.stdout.splitlines()[-1])
        peaks = [f"{one[name] / MB:.0f}" for name in ("peak", "libraries")]
        rows.append([f"{points:,}", *peaks, f"{one['seconds']:.0f}"])
    first = f"points of {shapes[-1].dim} dimensions"
    print(table([first, "peak MB", "of it libraries", "seconds"], rows))


if __name__ == "__main__":
    main()
