"""What was found, as checks: each passed or failed, in a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from csrkit.collection.homes._points import names_of
from csrkit.collection.verdicts.verdict import CODED, CODES, Check
from csrkit.stores._ids import shown

if TYPE_CHECKING:
    from csrkit.collection.home import DenseVector, Description, Marker
    from csrkit.collection.jobs.manifest import Manifest
    from csrkit.collection.verdicts.baseline import Baseline
    from csrkit.collection.verdicts.contents import Compared, Coverage
    from csrkit.collection.verdicts.verdict import VerifyConfig

__all__ = [
    "NAMES",
    "has_vectors",
    "of_codes",
    "of_coverage",
    "of_marker",
    "of_noted",
    "of_settings",
    "subject",
]

MARKER, ORPHANS = "marker", "orphaned codes"
VECTORS, INDEXES, ALIASES = "vector settings", "payload indexes", "aliases"
DENSE, PAYLOADS = "dense vectors", "payloads"
NAMES = {MARKER, CODED, ORPHANS, CODES, VECTORS, INDEXES, ALIASES, DENSE, PAYLOADS}
_MOST = 0.9  # share of wrong codes from which chance is no explanation


def subject(manifest: Manifest, now: Description) -> dict[str, Any]:
    """Return what a verdict is about.

    Args:
        manifest: The job.
        now: What the collection is.

    Returns:
        Fields of `Verdict`.
    """
    from csrkit import __version__

    return {
        "job": manifest.job,
        "url": manifest.url,
        "vector": manifest.vector,
        "name": manifest.name,
        "k": manifest.k,
        "fingerprint": str(manifest.fingerprint),
        "engine": f"{now.engine} {now.version or ''}".strip(),
        "csrkit": __version__,
        "points": now.count,
    }


# -- whose it is --------------------------------------------------------------------


def has_vectors(manifest: Manifest, now: Description) -> bool:
    """Tell whether the vectors of a job are there.

    Args:
        manifest: The job.
        now: What the collection is.

    Returns:
        True if the sparse vector is, and the one of residuals if the job keeps them.
    """
    there = {*now.sparse, *(one.name for one in now.dense)}
    return there.issuperset(names_of(manifest.codes))


def of_marker(found: Marker | None, manifest: Manifest, now: Description) -> Check:
    """Check whose the codes are.

    Args:
        found: The marker in the collection.
        manifest: The job.
        now: What the collection is.

    Returns:
        The check.
    """
    want = manifest.marker
    words = f"job {want.job}, model {want.fingerprint[:12]}, k={want.k}"
    name = repr(manifest.name)
    if not has_vectors(manifest, now):
        return Check.of(
            MARKER, False, f"no vector {name}", words,
            f"The vector {name} or its residuals are not there any more: somebody dropped them. "
            "Roll this job back, and begin another.",
        )  # fmt: skip
    if found is None:
        return Check.of(
            MARKER, False, "none", words,
            f"The codes {name} carry no marker of csrkit any more: somebody removed it, and "
            "csrkit works only on what it has marked. Restore the collection's metadata.",
        )  # fmt: skip
    keys = found.unlike(want)
    if keys:
        other = ", ".join(f"{key}={_short(getattr(found, key))}" for key in keys)
        ours = ", ".join(f"{key}={_short(getattr(want, key))}" for key in keys)
        return Check.of(
            MARKER, False, other, ours,
            f"The marker of {name} says {other} and the job says {ours}: another job's codes, "
            "or somebody changed the marker.",
        )  # fmt: skip
    return Check.of(MARKER, True, words, words, f"The codes {name} are this job's and its model's.")


def _short(value: Any) -> str:
    text = str(value)
    return repr(text[:12] if len(text) == 64 else text)


# -- as it was ------------------------------------------------------------------------


def of_settings(before: Baseline, now: Description, manifest: Manifest) -> Iterator[Check]:
    """Check what the collection was before the job: what was there still has to be.

    Args:
        before: What was noted.
        now: What it is.
        manifest: The job; a copy gets the aliases only at the cutover.

    Yields:
        The checks of dense vectors' settings, payload indexes and aliases.
    """
    yield _kept(
        VECTORS,
        {one.name: _settings(one) for one in before.dense},
        {one.name: _settings(one) for one in now.dense},
        "csrkit changes no setting of a dense vector",
    )
    yield _kept(
        INDEXES,
        dict(before.payload_indexes),
        dict(now.payload_indexes),
        "filters on them are slow or refused without it: make it again",
    )
    if manifest.copy_of is not None and not now.aliases:
        return
    yield _kept(
        ALIASES,
        dict.fromkeys(before.aliases, ""),
        dict.fromkeys(now.aliases, ""),
        "whoever searches by it finds nothing, or another collection: make it again",
    )


def _settings(one: DenseVector) -> str:
    """Spell what a search depends on; where the vectors lie, and their copies, is no part."""
    return f"{one.dim} {one.datatype}, {one.distance}{', several rows' if one.is_multi else ''}"


def _kept(name: str, before: dict[str, str], now: dict[str, str], advice: str) -> Check:
    lost = [key for key in before if now.get(key) != before[key]]
    was = _listed(before, list(before))
    if not lost:
        return Check.of(name, True, was, was, f"The {name} are as they were before the job.")
    found = "; ".join(f"{k!r}: {now.get(k, 'gone')}" for k in lost)
    expected = _listed(before, lost)
    return Check.of(
        name, False, found, expected,
        f"Before the job the {name} had {expected}, now {found}. Csrkit makes no such change; "
        f"{advice}, or accept it as {name!r}.",
    )  # fmt: skip


def _listed(which: dict[str, str], keys: Sequence[str]) -> str:
    return "; ".join(f"{k!r}: {which[k]}" if which[k] else repr(k) for k in keys) or "none"


def of_noted(found: Compared, before: Baseline, config: VerifyConfig) -> Iterator[Check]:
    """Check the points that were noted before the job.

    Args:
        found: What became of them.
        before: What was noted.
        config: The gates.

    Yields:
        The checks of dense vectors and payloads.
    """
    gone = len(before.points) - found.noted
    for name, changed in ((DENSE, found.moved), (PAYLOADS, found.altered)):
        share = len(changed) / max(1, found.noted)
        passed = share <= config.max_changed
        told = f"{len(changed):,} of {found.noted:,} changed"
        sentence = (
            f"Of {len(before.points):,} points noted before the job {gone:,} are gone, and "
            f"{len(changed):,} have other {name} now"
        )
        if not changed:
            sentence += "."
        elif passed:
            sentence += f", such as {shown(changed, 3)}, as others write too: csrkit writes none."
        else:
            sentence += (
                f", such as {shown(changed, 3)}: more than max_changed={config.max_changed:g} "
                "allows. Csrkit writes none, and nobody can tell who did: if your own writers "
                f"do, allow more, or accept {name!r}."
            )
        yield Check.of(name, passed, told, f"at most {config.max_changed:.1%} changed", sentence)


# -- contents ---------------------------------------------------------------------------


def of_coverage(found: Coverage, compared: Compared, manifest: Manifest) -> Iterator[Check]:
    """Check that exactly the points that can have a code have one.

    Args:
        found: The two sets.
        compared: What reading points found besides.
        manifest: The job.

    Yields:
        The checks of points without a code and of codes without a dense vector.
    """
    name, vector = repr(manifest.name), repr(manifest.vector)
    bare = len(found.bare)
    rejected = f"{found.rejected:,} points have no usable {vector} and rightly no code"
    yield Check.of(
        CODED, not bare, f"{bare:,} without", "0 without",
        f"Every point with a usable {vector} has a code; {rejected}."
        if not bare
        else f"{_many(bare)} with a usable {vector} have no code {name}, such as "
        f"{shown(found.bare, 3)}: no search by the codes finds them. `csrkit sweep` encodes them.",
    )  # fmt: skip
    orphans = list(dict.fromkeys([*found.orphans, *compared.orphans]))
    yield Check.of(
        ORPHANS, not orphans, f"{len(orphans):,}", "0",
        f"No point has a code without a usable {vector}."
        if not orphans
        else f"{_many(len(orphans))} have a code {name} and no usable dense vector {vector} any "
        f"more, such as {shown(orphans, 3)}: searches find what nobody can check. Give them a "
        f"vector and run `csrkit sweep`, or delete their {name}.",
    )  # fmt: skip


def _many(count: int) -> str:
    return f"At least {count:,} points" if count >= 1000 else f"{count:,} points"


def of_codes(found: Compared, config: VerifyConfig, manifest: Manifest) -> Check:
    """Check that codes are those of their dense vectors.

    Args:
        found: What recomputing them found.
        config: The gates.
        manifest: The job.

    Returns:
        The check.
    """
    wrong, looked = sum(found.faults.values()), found.looked
    passed = wrong <= config.max_stale * looked
    told = f"{wrong:,} of {looked:,} differ"
    expected = f"at most {config.max_stale:.2%} differ" if config.max_stale else "0 differ"
    if not wrong:
        bound = 1 - 0.05 ** (1 / max(1, looked))
        is_all = config.full or looked < config.sample
        doubt = "" if is_all else f"; at most {bound:.2%} of all differ, with 95% confidence"
        words = (
            f"{'All ' if is_all else ''}{looked:,} codes were recomputed from their dense vectors "
            f"and are right{doubt}."
        )
        return Check.of(CODES, True, told, expected, words)
    sentence = (
        f"{wrong:,} of {looked:,} codes are not those of their dense vectors ({_kinds(found)}), "
        f"such as those of {shown(found.wrong, 3)}. {_cause(found, wrong, manifest)} "
        "`csrkit sweep` encodes anew what differs."
    )
    return Check.of(CODES, passed, told, expected, sentence)


def _kinds(found: Compared) -> str:
    words = {
        "values": "the latents are right and their values are not",
        "latents": "the latents are others",
        "residual": "the code is right and its residual is not",
    }
    return "; ".join(f"in {count:,} {words[kind]}" for kind, count in found.faults.most_common())


def _cause(found: Compared, wrong: int, manifest: Manifest) -> str:
    """Say what most likely happened, as far as what was noted before tells."""
    first, last = found.span
    if wrong >= _MOST * found.looked:
        return (
            "Nearly all of them: they look like the codes of another model than "
            f"{str(manifest.fingerprint)[:12]}, or all dense vectors were replaced."
        )
    where = ""
    if wrong >= 5 and wrong >= _MOST * (last - first + 1):
        where = f"They lie in one range, from {found.ends[0]!r} to {found.ends[1]!r}. "
    if found.stale > found.spoilt:
        return (
            f"{where}Stale: of those noted before the job {found.stale:,} have another dense "
            f"vector since, and {found.spoilt:,} the same."
        )
    if found.spoilt:
        return (
            f"{where}Spoilt: of those noted before the job {found.spoilt:,} have the same dense "
            f"vector as then, and {found.stale:,} another: somebody else wrote the codes."
        )
    return f"{where}Either their dense vectors were changed since, or somebody wrote the codes."
