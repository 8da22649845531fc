"""``csrkit search`` finds what the inner products of the codes say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from csrkit import CSRModel, SparseVectors
from csrkit.stores import EdgeStore

QUERIES = 4


@pytest.fixture
def url(model: CSRModel, rows: np.ndarray, tmp_path: Path) -> str:
    """A store with a long, hostile text for every row."""
    text = "\x1b[31mred\nalert\x07 " + "long " * 60
    with EdgeStore(tmp_path / "index") as store:
        ids = [f"doc-{i}" for i in range(len(rows))]
        store.upsert(ids, model.encode(rows), [{"text": f"{i} {text}"} for i in range(len(rows))])
    return f"edge://{tmp_path / 'index'}"


@pytest.fixture
def queries(rows: np.ndarray, tmp_path: Path) -> Path:
    near = rows[:QUERIES] + np.random.default_rng(5).normal(scale=0.1, size=(QUERIES, 16))
    np.save(tmp_path / "queries.npy", near)
    return tmp_path / "queries.npy"


@pytest.mark.parametrize("k", [None, 2])
def test_json_is_the_exact_ranking(
    k: int | None,
    run: Callable,
    codec: Path,
    url: str,
    queries: Path,
    model: CSRModel,
    rows: np.ndarray,
) -> None:
    options = () if k is None else ("--k", k)
    result = run("search", codec, url, queries, "--limit", 5, "--json", *options)
    facts = json.loads(result.stdout)
    assert (facts["store"], facts["k"], facts["limit"]) == (url, k or 8, 5)
    scores = model.encode(np.load(queries), k=k).to_dense() @ model.encode(rows).to_dense().T
    assert [found["query"] for found in facts["results"]] == list(range(QUERIES))
    for found, expected in zip(facts["results"], scores, strict=True):
        best = np.argsort(-expected)[:5]
        assert [hit["id"] for hit in found["hits"]] == [f"doc-{i}" for i in best]
        assert [hit["score"] for hit in found["hits"]] == pytest.approx(expected[best], abs=1e-5)
        assert [hit["payload"]["text"].split()[0] for hit in found["hits"]] == list(map(str, best))


def test_text_is_one_safe_line_per_hit(run: Callable, codec: Path, url: str, queries: Path) -> None:
    lines = run("search", codec, url, queries, "--limit", 3).stdout.splitlines()
    assert len(lines) == QUERIES * 4
    assert lines[0] == "query 0, k = 8"
    assert re.fullmatch(r"  [01]\.\d{3}  doc-\d+ +\d+ \[31mred alert long .*…", lines[1])
    assert max(map(len, lines)) <= 100
    assert all(line.isprintable() for line in lines)


def test_another_field_can_be_shown(run: Callable, codec: Path, url: str, queries: Path) -> None:
    lines = run("search", codec, url, queries, "--limit", 1, "--text-field", "none").stdout
    assert "alert" not in lines
    assert "doc-0" in lines


def test_a_query_without_hits_says_what_to_do(
    run: Callable, codec: Path, model: CSRModel, queries: Path, tmp_path: Path
) -> None:
    used = set(model.encode(np.load(queries)).indices.tolist())
    other = min(set(range(96)) - used)
    with EdgeStore(tmp_path / "far") as store:
        store.upsert([1], SparseVectors([0, 1], [other], [1.0], dim=96))
    result = run("search", codec, f"edge://{tmp_path / 'far'}", queries)
    assert result.stdout.count("no document shares a latent with this query") == QUERIES


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("{t}/gone", "{url}", "{q}"), 2, r"expected a model folder with a config\.json"),
        (("{c}", "edge://{t}/gone", "{q}"), 3, r"no store at edge://.*/gone: make one with"),
        (("{c}", "edge://{t}/empty", "{q}"), 3, r"edge://.*/empty is empty: fill it with"),
        (("{c}", "edge://{c}", "{q}"), 3, r"is not empty and no csrkit store"),
        (("{c}", "http//nonsense", "{q}"), 2, r"expected a URL with one of the schemes"),
        (("{c}", "{url}", "{t}/gone.npy"), 2, r"no file of embeddings at .*gone\.npy"),
        (("{c}", "{url}", "{t}/wide.npy"), 2, r"of shape \(n, 16\).*got \(2, 17\)"),
        (("{c}", "{url}", "{q}", "--k", "0"), 2, r"expected k from 1 to n_latents=96"),
        (("{c}", "{url}", "{q}", "--limit", "0"), 2, r"expected a limit of at least 1 hit"),
        (("{c}", "edge://{t}/narrow", "{q}"), 2, r"expected codes over 5 latents.*got 96"),
    ],
)
def test_bad_calls_are_told_in_one_line(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    run: Callable,
    codec: Path,
    url: str,
    queries: Path,
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "wide.npy", np.ones((2, 17)))
    EdgeStore(tmp_path / "empty").close()
    with EdgeStore(tmp_path / "narrow") as store:
        store.upsert([1], SparseVectors([0, 1], [0], [1.0], dim=5))
    filled = [one.format(t=tmp_path, c=codec, url=url, q=queries) for one in arguments]
    result = run("search", *filled, "--json", code=code)
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "gone").exists()
