"""The other side of `resident`: run as a program, it opens a store and weighs itself.

    python -m csrkit.evaluation._weigh FOLDER QUERIES

It prints a `Resident` as one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from csrkit.evaluation.resident import SMAPS, Resident
from csrkit.stores import EdgeStore
from csrkit.vectors import SparseVectors

_LIMIT = 100  # hits per query, which are then fetched


def _weighed(folder: str, queries: str) -> Resident:
    codes = SparseVectors.load(queries)
    with TemporaryDirectory(prefix="csrkit-evaluate-") as scratch, EdgeStore(scratch) as empty:
        empty.search(codes[:1])
        before = _own_bytes()
        with EdgeStore(folder) as store:
            ids = [[hit.id for hit in store.search(code, limit=_LIMIT)[0]] for code in codes]
            marks = [_own_bytes() + _mapped_bytes(folder)]
            for fetch in (store.fetch, store.fetch_both):
                for found in filter(None, ids):
                    fetch(found)
                marks.append(_own_bytes() + _mapped_bytes(folder))
    return Resident(*(max(0, mark - before) for mark in marks))


def _own_bytes() -> int:
    """Return the bytes of memory of this process that belong to no file."""
    return sum(size for name, size in _mappings() if not name.startswith("/"))


def _mapped_bytes(folder: str) -> int:
    """Return the bytes of memory that map the vectors and ids of a store."""
    sizes: dict[str, int] = {}
    for name, size in _mappings():
        if name.startswith(f"{folder}/engine/segments/") and "/payload" not in name:
            sizes[name] = sizes.get(name, 0) + size
    return sum(min(size, 512 * os.stat(name).st_blocks) for name, size in sizes.items())


def _mappings() -> Iterator[tuple[str, int]]:
    """Yield the file, or another name, and the bytes in memory of every mapping."""
    name = ""
    for line in SMAPS.read_text().splitlines():
        if line.startswith("Rss:"):
            yield name, 1024 * int(line.split()[1])
        elif "-" in line.partition(" ")[0]:  # addresses, permissions, ..., name
            name = line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else ""


if __name__ == "__main__":
    print(json.dumps(_weighed(*sys.argv[1:])._asdict()))
