"""``csrkit doctor``: what is installed, and whether it works on this machine."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from csrkit import __version__
from csrkit.cli.codes import ExitCode
from csrkit.cli.options import Json
from csrkit.cli.output import show, table
from csrkit.cli.stores import opened
from csrkit.errors import StoreError

__all__ = ["Check", "DoctorFacts", "Extra", "Reached", "doctor"]

VERSIONS = ("numpy", "scipy", "torch", "qdrant-client", "qdrant-edge-py", "safetensors", "pydantic")
FOR_DEVELOPERS = {"bench", "dev", "docs"}  # extras of who works on csrkit itself


@dataclass(frozen=True)
class Extra:
    """An extra of csrkit, what of it is missing, and the line that installs it."""

    name: str
    missing: list[str]
    install: str


@dataclass(frozen=True)
class Check:
    """A self-test: its name, whether it passed (None: not run), and what was seen."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class Reached:
    """A store: the number of its codes, or why it could not be reached."""

    url: str
    codes: int | None
    error: str | None


@dataclass(frozen=True)
class DoctorFacts:
    """What `csrkit doctor` reports.

    Attributes:
        ok: Whether no self-test failed.
        csrkit: Version of csrkit.
        python: Version of Python.
        platform: Operating system and processor.
        versions: Version of each library; None where it is not installed.
        cpus: Processors that this process may use.
        blas: Linear algebra behind numpy, and its threads as far as they are known.
        extras: Extras of csrkit.
        checks: Self-tests.
        store: The store that was asked for, None without one.
    """

    ok: bool
    csrkit: str
    python: str
    platform: str
    versions: dict[str, str | None]
    cpus: int
    blas: str
    extras: list[Extra]
    checks: list[Check]
    store: Reached | None


def doctor(
    store: Annotated[
        str | None,
        typer.Argument(help="A store to reach: edge://FOLDER or qdrant://HOST:PORT/COLLECTION."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is installed and test it.

    Versions, extras and a small self-test: code 1 if it fails. With a store, also
    whether that can be reached: code 3 if not.
    """  # noqa: DOC501  # the docstring is the help
    from csrkit.cli.selftest import run_checks

    reached = None if store is None else _reach(store)
    checks = run_checks()
    facts = DoctorFacts(
        ok=all(check.ok is not False for check in checks),
        csrkit=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions={name: _version(name) for name in VERSIONS},
        cpus=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        blas=_blas(),
        extras=_extras(),
        checks=checks,
        store=reached,
    )
    show(facts, _lines(facts), as_json=as_json)
    if not facts.ok:
        raise typer.Exit(ExitCode.GATE)
    if reached is not None and reached.error is not None:
        raise typer.Exit(ExitCode.STORE)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blas() -> str:
    """Name numpy's BLAS and its threads: as the library says, else as the environment asks."""
    import numpy as np

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()
    try:
        pools = importlib.import_module("threadpoolctl").threadpool_info()  # scikit-learn brings it
    except ImportError:
        asked = [f"{key}={value}" for key, value in os.environ.items() if "NUM_THREADS" in key]
        return f"{name}, threads: {', '.join(sorted(asked)) or 'as it likes'}"
    counts = {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}
    return f"{name}, threads: {', '.join(map(str, sorted(counts))) or 'unknown'}"


def _extras() -> list[Extra]:
    """List the extras in csrkit's own metadata and what each lacks."""
    wanted: dict[str, list[str]] = {}
    try:
        requirements = importlib.metadata.requires("csrkit") or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        requirements = []
    for line in requirements:
        match = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"]", line)
        if match and match[2] not in FOR_DEVELOPERS:
            wanted.setdefault(match[2], []).append(match[1])
    return [
        Extra(
            name=extra,
            missing=[name for name in names if _version(name) is None],
            install=f'pip install "csrkit[{extra}]"',
        )
        for extra, names in wanted.items()
    ]


def _reach(url: str) -> Reached:
    try:
        with opened(url, must_exist=True) as store:
            return Reached(url, store.count(), None)
    except StoreError as error:
        return Reached(url, None, str(error))


def _lines(facts: DoctorFacts) -> Iterator[str]:
    yield f"csrkit {facts.csrkit}, Python {facts.python}, {facts.platform}, {facts.cpus} CPUs"
    yield f"BLAS {facts.blas}"
    yield ""
    versions = [[name, found or "not installed"] for name, found in facts.versions.items()]
    yield from table(["library", "version"], versions)
    yield ""
    rows = [
        [extra.name, "installed" if not extra.missing else f"missing: {extra.install}"]
        for extra in facts.extras
    ]
    yield from table(["extra", "state"], rows)
    yield ""
    words = {True: "ok", False: "FAILED", None: "not run"}
    checks = [[check.name, words[check.ok], check.detail] for check in facts.checks]
    yield from table(["self-test", "result", "detail"], checks)
    if facts.store is not None:
        yield ""
        yield _store_line(facts.store)


def _store_line(store: Reached) -> str:
    if store.error is not None:
        return f"{store.url} FAILED: {store.error}"
    return f"{store.url} reached: {store.codes} codes"
