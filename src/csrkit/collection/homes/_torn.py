"""Shards of Qdrant's embedded engine that a kill left with a vector half added or half dropped.

To add or drop a vector the engine (0.9.0) changes ``segment.json`` of one segment after the
other, and ``edge_config.json`` last. It opens nothing as long as they differ, and looks at that
before its lock. A vector that is in some of them alone is taken out of all: it holds nothing
yet, or is on its way out, and what the engine's log still has of it is done again, whole, as
the shard opens.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from csrkit.errors import StoreError
from csrkit.stores._engine import check_opening

__all__ = ["loaded", "mended"]

_CONFIG = "edge_config.json"
_OF_SHARD = ("vectors", "sparse_vectors")
_OF_SEGMENT = ("vector_data", "sparse_vector_data")
_FILES = ("vector_storage", "vector_index")  # folders of a vector in a segment


class _Settings(NamedTuple):
    """A file of settings: that of the shard, or of a segment.

    Attributes:
        path: The file.
        whole: All that it holds.
        named: Its dense vectors, and its sparse ones, by name.
    """

    path: Path
    whole: dict[str, Any]
    named: tuple[dict[str, Any], dict[str, Any]]

    def write(self) -> None:
        draft = self.path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(self.whole, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


def loaded(load: Callable[[str], Any], shard: Path, names: Iterable[str]) -> Any:
    """Open a shard, mended if it must be.

    Args:
        load: The engine's own function.
        shard: Folder of the shard.
        names: As of `mended`; read only if the shard does not open.

    Returns:
        The shard; whatever else the engine raises passes through.

    Raises:
        StoreError: If it is open elsewhere, or in memory that is all but full.
    """
    check_opening(shard)
    try:
        return load(str(shard))
    except Exception as error:
        if "WouldBlock" in str(error):
            raise StoreError(
                f"shard {shard} is open elsewhere, and the engine lets one process have it at a "
                "time: wait for that one, or end it"
            ) from error
        if not mended(shard, names):
            raise
    return load(str(shard))


def mended(shard: Path, names: Iterable[str]) -> bool:
    """Take vectors out of a shard that some of its files have and others lack.

    Args:
        shard: Folder of the shard.
        names: Vectors that may be taken out; all others stay.

    Returns:
        Whether there were any: the shard may open now. False also while somebody has it open.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If one holds no JSON.
    """
    log = shard / "wal"
    try:
        import fcntl
    except ImportError:
        return False  # a system whose locks are others
    if not log.is_dir():
        return False
    lock = os.open(log, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as the engine does
        return any([_mended(shard, name) for name in sorted(set(names))])
    except BlockingIOError:
        return False
    finally:
        os.close(lock)


def _mended(shard: Path, name: str) -> bool:
    config = _read(shard / _CONFIG)
    segments = [_read(path) for path in sorted(shard.glob("segments/*/segment.json"))]
    torn = False
    for kind in range(len(_OF_SHARD)):
        has = [name in one.named[kind] for one in (config, *segments)]
        if all(has) or not any(has):
            continue
        torn = True
        for one in segments:  # in an order that a kill leaves torn until all is done
            for files in _FILES:
                shutil.rmtree(one.path.parent / f"{files}-{name}", ignore_errors=True)
            if one.named[kind].pop(name, None) is not None:
                one.write()
        if config.named[kind].pop(name, None) is not None:
            config.write()
    return torn


def _read(path: Path) -> _Settings:
    whole: dict[str, Any] = json.loads(path.read_bytes())
    found, keys = (whole, _OF_SHARD) if path.name == _CONFIG else (whole["config"], _OF_SEGMENT)
    dense, sparse = (found.setdefault(key, {}) for key in keys)
    return _Settings(path, whole, (dense, sparse))
