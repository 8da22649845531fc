"""Peak memory of `csrkit.fit` on a memory-mapped file larger than its budget.

    python examples/benchmarks/memory.py         5 GB of 768 float32 dimensions (needs the disk)

The file is written in blocks to a temporary folder and deleted afterwards. A process of its own
opens it as a memory map and fits 64 steps of 4,096 rows, which reads six shuffled blocks; nothing
of the memory depends on the number of steps after that. Peak is the resident set as the system
counts it, so pages of the file that were mapped count as well. "Above model and optimiser"
subtracts weights and Adam's two moments only: gradients, batches, the libraries and Python stay in.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _common import heading, table

DIM, LATENTS, LADDER = 768, 3072, (8, 16, 32)
GB = 1e9


def write_rows(path: Path, n: int, dim: int) -> None:
    """Write random float32 rows (n, dim) as a ``.npy`` file, 64 MB at a time."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (n, dim)}
    rng = np.random.default_rng(0)
    mean, step = rng.standard_normal(dim, dtype=np.float32), max(1, (64 << 20) // (4 * dim))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, step):
            rows = rng.standard_normal((min(step, n - start), dim), dtype=np.float32)
            (rows + mean).tofile(file)


def resident_peak() -> int:
    """Return the most memory this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(path: str, steps: int, *, toy: bool) -> dict[str, float]:
    """Fit on the file and return what it took, in bytes; for a process of its own."""
    import torch  # noqa: F401  # its size belongs to the libraries

    import csrkit
    from csrkit.sources import open_source
    from csrkit.training import run as _loaded  # noqa: F401

    libraries = resident_peak()
    rows = np.load(path, mmap_mode="r")
    latents, batch = (64, 64) if toy else (LATENTS, 4096)
    config = csrkit.FitConfig(n_latents=latents, ladder=LADDER, batch_size=batch, steps=steps)
    # a toy file would be loaded whole: say that it must not be
    source = open_source(rows, memory=0) if toy else rows
    model = csrkit.fit(source, config=config, progress=False)
    arrays = (model.encoder, model.decoder, model.latent_bias, model.pre_bias)
    weights = sum(array.nbytes for array in arrays)
    return {"libraries": libraries, "model and optimiser": 3 * weights, "peak": resident_peak()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="tiny sizes: does it run at all")
    parser.add_argument("--gb", type=float, default=5.0, help="size of the file, 1e9 bytes each")
    parser.add_argument("--steps", type=int, default=64, help="training steps, 10.7 to a block")
    parser.add_argument("--folder", type=Path, help="where to write it, instead of TMPDIR")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.steps, toy=options.toy)))
        return
    dim, size = (32, 2e6) if options.toy else (DIM, options.gb * GB)
    n = int(size / (4 * dim))
    heading("Peak memory of fit", f"{n} x {dim} float32, {size / GB:g} GB", toy=options.toy)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, n, dim)
        command = [sys.executable, __file__, "--measure", str(path), "--steps", str(options.steps)]
        command += ["--toy"] if options.toy else []
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    above = found["peak"] - found["model and optimiser"]
    found |= {"peak above model and optimiser": above, "of it libraries": found.pop("libraries")}
    print(table(["memory", "GB"], [(name, f"{value / GB:.3f}") for name, value in found.items()]))


if __name__ == "__main__":
    main()
