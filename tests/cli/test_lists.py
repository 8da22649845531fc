"""Files that people write by hand or with Excel: ids, payloads, judgements."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from typer.testing import Result

Run = Callable[..., Result]
MARK = b"\xef\xbb\xbf"  # what Windows puts at the start of a text


@pytest.fixture
def few(rows: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "few.npy", rows[:3])
    return tmp_path / "few.npy"


def stored(run: Run, codec: Path, few: Path, *options: Any) -> list[tuple[Any, Any]]:
    """Fill a store, and return ids with payloads."""
    folder = few.parent / "index"
    run("encode", codec, few, "--store", f"edge://{folder}", *options)
    everything = ("--limit", 3, "--k", 96, "--rescore", "none", "--json")
    found = json.loads(run("search", codec, f"edge://{folder}", few, *everything).stdout)
    return sorted((one["id"], one["payload"]) for one in found["results"][0]["hits"])


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (MARK + b"7\r\n8\r\n9\r\n", [7, 8, 9]),
        (b"007\n008\n010\n", ["007", "008", "010"]),
        (b"0\n1\n2\n", [0, 1, 2]),
    ],
)
def test_ids_are_what_was_written(
    text: bytes, ids: list[Any], run: Run, codec: Path, few: Path
) -> None:
    """Regression: with a mark all became text, the first with the mark; without, 007 became 7."""
    path = few.parent / "ids.txt"
    path.write_bytes(text)
    assert [one for one, _ in stored(run, codec, few, "--ids", path)] == ids


def test_payloads_may_begin_with_a_mark(run: Run, codec: Path, few: Path) -> None:
    path = few.parent / "payloads.jsonl"
    path.write_bytes(MARK + b'{"a": 1}\r\n{"a": 2}\r\n{"a": 3}\r\n')
    found = stored(run, codec, few, "--payloads", path)
    assert found == [(0, {"a": 1}), (1, {"a": 2}), (2, {"a": 3})]


@pytest.fixture
def verified(run: Run, codec: Path, rows: np.ndarray, tmp_path: Path) -> tuple[Any, ...]:
    """A verification of a job on a shard, with queries."""
    (tmp_path / "shard").mkdir()
    dense = qe.EdgeVectorParams(size=rows.shape[1], distance=qe.Distance.Cosine)
    config = qe.EdgeConfig(vectors={"dense": dense})
    shard = qe.EdgeShard.create(str(tmp_path / "shard"), config)
    points = [qe.Point(i, {"dense": rows[i].tolist()}, {}) for i in range(60)]
    shard.update(qe.UpdateOperation.upsert_points(points))
    shard.close()
    job = tmp_path / "job"
    run("compress", f"edge://{tmp_path / 'shard'}", "--model", codec, "--k", 8, "--job", job)
    np.save(tmp_path / "queries.npy", rows[:2])
    return ("verify", job, "--min-recall", 0, "--queries", tmp_path / "queries.npy", "--qrels")


def test_judgements_with_a_mark_lose_no_line(
    verified: tuple[Any, ...], run: Run, tmp_path: Path
) -> None:
    """Regression: the first judgement was taken for a header."""
    found = []
    for text in (b"0 50 1\n1 1 1\n", MARK + b"0 50 1\n1 1 1\n", b"query id gain\n0 50 1\n1 1 1\n"):
        (tmp_path / "qrels.tsv").write_bytes(text)
        told = json.loads(run(*verified, tmp_path / "qrels.tsv", "--json").stdout)
        found.append([one["exact_ndcg"] for one in told["searches"]])
    assert found[0] == found[1] == found[2]
    assert found[0][0]["value"] < 1  # that of the second query alone


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"0 0 1\n-1 1 1\n", "line 2: expected query row, .* from 0 to 1, got '-1 1 1'"),
        (b"-1 1 1\n", "line 1: expected query row"),
        (b"2 1 1\n", "line 1: expected query row"),
        (b"\xff\xfe0\x00", "is not text of judgements: .*utf-8"),
    ],
)
def test_judgements_of_no_query_are_refused(
    text: bytes, told: str, verified: tuple[Any, ...], run: Run, tmp_path: Path
) -> None:
    """Regression: row -1 was the last query, and other text a traceback."""
    (tmp_path / "qrels.tsv").write_bytes(text)
    assert re.search(told, run(*verified, tmp_path / "qrels.tsv", code=2).stderr)


def test_what_is_given_for_a_store_is_told_apart(
    verified: tuple[Any, ...], run: Run, codec: Path, few: Path
) -> None:
    folder = few.parent / "index"
    told = run("search", codec, folder, few, code=2).stderr
    assert f"a folder is edge://{folder}" in told
    told = run("search", codec, f"edge://{few.parent / 'shard'}", few, code=3).stderr
    assert "It is a shard, whose codes `csrkit compress` adds" in told
    assert not folder.exists()
