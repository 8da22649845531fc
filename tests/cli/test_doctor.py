"""``csrkit doctor`` tells the truth about this machine, and notices a broken one."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

import csrkit
from csrkit import SparseVectors
from csrkit.stores import EdgeStore


def test_json_tells_what_is_installed(run: Callable) -> None:
    facts = json.loads(run("doctor", "--json").stdout)
    assert facts["ok"] is True
    assert (facts["csrkit"], facts["python"]) == (csrkit.__version__, platform.python_version())
    for name in ("numpy", "torch", "qdrant-client", "qdrant-edge-py"):
        assert facts["versions"][name] == importlib.metadata.version(name)
    assert [check["ok"] for check in facts["checks"]] == [True] * 3
    assert facts["store"] is None


def test_extras_are_those_of_the_package(run: Callable) -> None:
    facts = json.loads(run("doctor", "--json").stdout)
    declared = set(importlib.metadata.metadata("csrkit").get_all("Provides-Extra"))
    assert {one["name"] for one in facts["extras"]} == declared - {"bench", "dev", "docs"}
    for extra in facts["extras"]:
        assert extra["install"] == f'pip install "csrkit[{extra["name"]}]"'
        for missing in extra["missing"]:
            with pytest.raises(importlib.metadata.PackageNotFoundError):
                importlib.metadata.version(missing)
    assert [one["missing"] for one in facts["extras"] if one["name"] == "edge"] == [[]]


def test_text_names_versions_and_results(run: Callable) -> None:
    text = run("doctor").stdout
    assert f"csrkit {csrkit.__version__}, Python {platform.python_version()}" in text
    assert "64 codes stored, reopened and found" in text
    assert "FAILED" not in text


def test_a_store_is_reached(run: Callable, tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "index") as store:
        store.upsert([1, 2], SparseVectors([0, 1, 2], [0, 1], [1.0, 1.0], dim=5))
    url = f"edge://{tmp_path / 'index'}"
    facts = json.loads(run("doctor", url, "--json").stdout)
    assert facts["store"] == {"url": url, "codes": 2, "error": None}
    assert f"{url} reached: 2 codes" in run("doctor", url).stdout


def test_a_store_that_is_not_there_is_code_3_and_not_made(run: Callable, tmp_path: Path) -> None:
    url = f"edge://{tmp_path / 'index'}"
    facts = json.loads(run("doctor", url, "--json", code=3).stdout)
    assert facts["ok"] is True
    assert facts["store"]["codes"] is None
    assert f"no store at {tmp_path / 'index'}: check" in facts["store"]["error"]
    assert f"{url} FAILED: no store at" in run("doctor", url, code=3).stdout
    assert not (tmp_path / "index").exists()


def test_an_unknown_kind_of_store_is_code_2(run: Callable) -> None:
    result = run("doctor", "ftp://example", code=2)
    assert "expected a URL with one of the schemes" in result.stderr


def test_a_broken_library_is_code_1(start: Callable, tmp_path: Path) -> None:
    """A stand-in for the engine that cannot be used, before the real one on the path."""
    (tmp_path / "qdrant_edge.py").write_text("raise ImportError('half installed')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = start("doctor", "--json", env=os.environ | {"PYTHONPATH": path})
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert err == ""
    facts = json.loads(out)
    assert facts["ok"] is False
    assert [check["name"] for check in facts["checks"] if not check["ok"]] == ["edge store"]
