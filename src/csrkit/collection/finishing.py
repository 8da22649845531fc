"""The end of a job: what becomes of the dense vector, and what that saved."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from csrkit.collection.backfill import Swept
from csrkit.collection.home import Home
from csrkit.collection.manifest import Manifest
from csrkit.errors import ConfigError, JobError

__all__ = ["Cutover", "Dense", "Saving", "finish_dense"]

Dense: TypeAlias = Literal["keep", "disk", "drop"]


class Cutover(NamedTuple):
    """A job that was cut over.

    Attributes:
        swept: What the last sweep wrote, missing codes and old ones.
        using: Name of the vector that searches are to use from now on.
    """

    swept: Swept
    using: str


class Saving(NamedTuple):
    """What became of the dense vector.

    Attributes:
        dense: "keep", "disk" or "drop".
        snapshot: Name of the snapshot that was taken before; None if none was.
        bytes_before: Bytes on disk; None if the engine does not tell.
        bytes_after: The same afterwards. The engine frees space when it next optimises.
    """

    dense: Dense
    snapshot: str | None
    bytes_before: int | None
    bytes_after: int | None


def finish_dense(home: Home, manifest: Manifest, dense: Dense, confirm: str | None) -> Saving:
    """Keep the dense vector, keep it on disk, or drop it.

    Args:
        home: The collection.
        manifest: The job, whose codes are complete.
        dense: What is to become of it.
        confirm: Name of the collection as its description gives it, typed by a person;
            needed to drop.

    Returns:
        What was done.

    Raises:
        ConfigError: If dropping is not confirmed, or the engine cannot keep it on disk.
        JobError: If points would be left that no search finds.
    """
    if dense not in ("keep", "disk", "drop"):
        raise ConfigError(f"expected dense to be 'keep', 'disk' or 'drop', got {dense!r}")
    before, snapshot = home.disk_bytes(), None
    if dense == "disk" and not home.move_to_disk(manifest.vector):
        raise ConfigError(f"{home.url}: this engine cannot move a vector that exists to disk")
    if dense == "drop":
        _check_drop(home, manifest, confirm)
        snapshot = home.snapshot()
        home.drop_dense(manifest.vector)
    return Saving(dense, snapshot, before, home.disk_bytes())


def _check_drop(home: Home, manifest: Manifest, confirm: str | None) -> None:
    title = home.describe().title
    if confirm != title:
        raise ConfigError(
            f"dropping {manifest.vector!r} of {home.url} cannot be undone: to do it, pass the "
            f"name of the collection, confirm={title!r}, got {confirm!r}"
        )
    bare = next(home.missing(manifest.name, size=10), [])
    if bare:
        raise JobError(
            f"{home.url} has points without a code, such as {bare}, which nothing would find "
            f"without {manifest.vector!r}: repair or delete them, then `csrkit sweep`"
        )
