"""Whose vector it is: nothing is adopted, overwritten or dropped but what a job added itself."""

from __future__ import annotations

from csrkit.collection.home import Description, Home, Marker
from csrkit.collection.jobs.manifest import Manifest
from csrkit.errors import ConfigError, JobError
from csrkit.stores._points import residual_name

__all__ = ["checked_own", "claim", "refuse_fixed", "refuse_taken", "release"]


def claim(home: Home, manifest: Manifest) -> None:
    """Mark the collection as this job's, and add its vectors; goes on after a kill.

    The marker comes first: a vector without one is somebody else's.

    Args:
        home: The collection.
        manifest: The job.

    Raises:
        ConfigError: If the engine cannot add a vector to the collection.
        JobError: If there is such a vector already, or another job's marker.
    """
    found = home.marker(manifest.name)
    if found is None:
        now = home.describe()
        refuse_taken(now, manifest)
        refuse_fixed(now)
        home.mark(manifest.marker)
        found = home.marker(manifest.name)  # another job may have been as quick
    _refuse_other(found, manifest)
    home.add(manifest.codes)


def refuse_fixed(now: Description) -> None:
    """Refuse a collection to which no vector can be added.

    Args:
        now: The collection.

    Raises:
        ConfigError: If the engine is too old.
    """
    if not now.can_add_in_place:
        raise ConfigError(
            f"{now.engine} {now.version} cannot add a vector to a collection that exists, which "
            "1.18 and later can: upgrade the server, or let the job make a copy with "
            "strategy='copy' (--strategy copy)"
        )


def refuse_taken(now: Description, manifest: Manifest) -> None:
    """Refuse a collection that has vectors of the names that a job would add.

    Args:
        now: The collection.
        manifest: The job.

    Raises:
        JobError: If it has one.
    """
    taken = {*now.sparse, *(one.name for one in now.dense)}
    for name in (manifest.name, residual_name(manifest.name)):
        if name in taken:
            raise JobError(
                f"{manifest.url} has a vector {name!r} that carries no marker of csrkit and is "
                "never taken over: choose another name= for the codes"
            )


def _refuse_other(found: Marker | None, manifest: Manifest) -> None:
    if found is None or found.job != manifest.job:
        whose = f"of the job {found.job}" if found else "that carries no marker of csrkit"
        raise JobError(
            f"{manifest.url} has codes {manifest.name!r} {whose}, and this is the job "
            f"{manifest.job}: go on with that job's folder, roll it back first, or choose "
            "another name= for the codes"
        )


def checked_own(home: Home, manifest: Manifest) -> Marker:
    """Refuse to work on a vector that is not this job's.

    Args:
        home: The collection.
        manifest: The job.

    Returns:
        The marker.

    Raises:
        JobError: If the vector is another job's, or gone.
    """
    found = home.marker(manifest.name)
    if manifest.name not in home.describe().sparse and (found is None or found.job == manifest.job):
        raise JobError(
            f"{home.url} has no vector {manifest.name!r} any more: somebody dropped it, or made "
            "the collection anew. Roll this job back, and begin another"
        )
    _refuse_other(found, manifest)
    assert found is not None  # or it was refused
    for key in found.unlike(manifest.marker)[:1]:
        have, want = (str(getattr(one, key))[:12] for one in (found, manifest.marker))
        raise JobError(
            f"the codes {manifest.name!r} of {home.url} were begun with {key}={have}, and the job "
            f"folder says {want}: the job folder was changed; restore it"
        )
    return found


def release(home: Home, manifest: Manifest) -> None:
    """Drop the vectors of this job and its marker; goes on after a kill.

    Args:
        home: The collection.
        manifest: The job.

    Raises:
        JobError: If the vectors that are there are not this job's.
    """
    found = home.marker(manifest.name)
    if found is None:
        now = home.describe()
        if manifest.name in now.sparse:
            _refuse_other(found, manifest)
        return  # nothing was added, or all of it is dropped
    _refuse_other(found, manifest)
    home.drop(manifest.codes)
    home.unmark(manifest.name)
