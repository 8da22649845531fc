"""Fit and encode embeddings that do not fit into memory: from a file, and from batches.

    python examples/02_larger_than_memory.py

Anything `csrkit.fit` takes may be larger than memory: a `.npy` file, a folder of them, Parquet,
or an iterator. What is beyond a budget stays on disk and is read in shuffled blocks.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import csrkit
from csrkit.sources import open_source

TOY = os.environ.get("CSRKIT_TOY") == "1"
N, DIM, STEPS = (2_000, 32, 5) if TOY else (400_000, 256, 300)
BUDGET = 64 << 10 if TOY else 64 << 20  # bytes to load at once; csrkit's own choice is 512 MB
CONFIG = csrkit.FitConfig(n_latents=4 * DIM, ladder=(8, 16), steps=STEPS)
MIXING = np.random.default_rng(0).normal(size=(16, DIM))


def batches() -> Iterator[np.ndarray]:
    """Make embeddings a batch at a time, as a model or a database would give them."""
    rng = np.random.default_rng(1)
    for _ in range(0, N, 1000):
        yield rng.normal(size=(1000, 16)) @ MIXING + 0.1 * rng.normal(size=(1000, DIM))


def write(path: Path) -> None:
    """Fill a .npy file without ever holding all of it."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(N, DIM))
    for number, batch in enumerate(batches()):
        rows[number * 1000 : (number + 1) * 1000] = batch
    rows.flush()


def encode_in_blocks(model: csrkit.CSRModel, path: Path, rows: int = 4096) -> int:
    """Encode a mapped file block by block and return the number of latents used."""
    mapped = np.load(path, mmap_mode="r")
    return sum(model.encode(mapped[a : a + rows], k=8).nnz for a in range(0, len(mapped), rows))


with TemporaryDirectory() as folder:
    path = Path(folder) / "embeddings.npy"
    write(path)
    source = open_source(path, memory=BUDGET)
    print(f"{source.n} x {source.dim}, {path.stat().st_size / 1e6:.1f} MB, ", end="")
    print("in memory" if source.in_memory else "read from disk in shuffled blocks")
    from_file = csrkit.fit(source, config=CONFIG, progress=not TOY)
    print(f"fitted from the file:    {from_file}")
    print(f"latents per code at k=8: {encode_in_blocks(from_file, path) / N:.2f}")

# An iterator is written to a temporary file once, since training reads every row many times.
from_batches = csrkit.fit(batches(), config=CONFIG, progress=not TOY)
print(f"fitted from batches:     {from_batches}")
