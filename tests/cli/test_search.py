"""``csrkit search`` finds what the inner products of the codes say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from csrkit import CSRModel, SparseVectors
from csrkit.metrics import Interval
from csrkit.model.card import Calibration, Card, Measured, Setting
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
    result = run(
        "search", codec, url, queries, "--limit", 5, "--rescore", "none", "--json", *options
    )
    facts = json.loads(result.stdout)
    assert (facts["store"], facts["k"], facts["limit"]) == (url, k or 8, 5)
    assert (facts["candidates"], facts["rescore"], facts["promised"]) == (None, None, None)
    scores = model.encode_query(np.load(queries), k=k).to_dense() @ model.encode(rows).to_dense().T
    assert [found["query"] for found in facts["results"]] == list(range(QUERIES))
    for found, expected in zip(facts["results"], scores, strict=True):
        best = np.argsort(-expected)[:5]
        assert [hit["id"] for hit in found["hits"]] == [f"doc-{i}" for i in best]
        assert [hit["score"] for hit in found["hits"]] == pytest.approx(expected[best], abs=1e-5)
        assert [hit["payload"]["text"].split()[0] for hit in found["hits"]] == list(map(str, best))


def test_candidates_are_rescored_by_their_codes(
    run: Callable, codec: Path, url: str, queries: Path, model: CSRModel, rows: np.ndarray
) -> None:
    options = ("--effort", "fast", "--candidates", 30, "--limit", 4, "--json")
    facts = json.loads(run("search", codec, url, queries, *options).stdout)
    assert (facts["k"], facts["candidates"], facts["rescore"]) == (4, 30, "codes")
    asked, codes = np.load(queries), model.encode(rows)
    sparse = model.encode_query(asked, k=4).to_dense() @ codes.to_dense().T
    cosines = unit(asked) @ unit(model.decode(codes)).T
    for found, first, second in zip(facts["results"], sparse, cosines, strict=True):
        candidates = [row for row in np.argsort(-first)[:30] if first[row] > 0]
        best = sorted(candidates, key=lambda row: -second[row])[:4]
        assert [hit["id"] for hit in found["hits"]] == [f"doc-{row}" for row in best]
        scores = [hit["score"] for hit in found["hits"]]
        assert scores == pytest.approx(second[best], abs=1e-5)


def unit(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


@pytest.mark.parametrize("column", ["", ":rows"])
def test_candidates_are_rescored_by_a_file(
    column: str,
    run: Callable,
    codec: Path,
    queries: Path,
    model: CSRModel,
    rows: np.ndarray,
    tmp_path: Path,
) -> None:
    with EdgeStore(tmp_path / "numbered") as store:
        store.upsert(range(len(rows)), model.encode(rows))
    np.save(tmp_path / "rows.npy", rows)
    save_file({"rows": rows, "other": rows[:, :3].copy()}, tmp_path / "rows.safetensors")
    file = tmp_path / ("rows.safetensors" + column if column else "rows.npy")
    options = ("--dense", file, "--candidates", 500, "--score-threshold", 0.5, "--json")
    result = run("search", codec, f"edge://{tmp_path / 'numbered'}", queries, *options)
    facts = json.loads(result.stdout)
    assert (facts["k"], facts["candidates"], facts["rescore"]) == (8, 500, "dense")
    cosines = unit(np.load(queries)) @ unit(rows).T
    for found, exact in zip(facts["results"], cosines, strict=True):
        best = [int(row) for row in np.argsort(-exact)[:10] if exact[row] >= 0.5]
        assert [hit["id"] for hit in found["hits"]] == best  # near ones share a latent
        assert best


def test_an_explanation_adds_up(
    run: Callable, codec: Path, url: str, queries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # wide enough that no line is cut
    arguments = ("search", codec, url, queries, "--k", 8, "--rescore", "none", "--explain")
    facts = json.loads(run(*arguments, "--json").stdout)
    lines = iter(run(*arguments).stdout.splitlines())
    assert next(lines) == "k = 8"
    for found in facts["results"]:
        assert next(lines) == f"query {found['query']}"
        for hit, why in zip(found["hits"], found["explanations"], strict=True):
            parts = [one["query"] * one["document"] for one in why["shared"]]
            assert [one["contribution"] for one in why["shared"]] == pytest.approx(parts)
            assert (
                sum(parts) == pytest.approx(why["score"]) == pytest.approx(hit["score"], abs=1e-5)
            )
            assert hit["id"] in next(lines)
            first = why["shared"][0]
            start = f"sparse score {why['score']:.3f}, latents {first['latent']} ("
            line = next(lines)
            assert line.strip().startswith(start)
            more = len(parts) - line.count("(")
            assert line.endswith(f" and {more} more" if more else ")")


def test_a_recall_is_chosen_from_the_card(
    run: Callable, codec: Path, url: str, queries: Path, model: CSRModel
) -> None:
    missing = run("search", codec, url, queries, "--recall", 0.8, code=2).stderr
    assert "expected a card that says what gives recall=0.8, but this model has none" in missing
    interval = Interval(0.81, 0.82, 0.83)
    row = Measured(
        setting=Setting(4, 40, "codes"),
        recall=interval,
        worst=0.5,
        posting_cost=0.1,
        ms=1,
        cost=1,
        short=0,
    )
    card = Card(
        csrkit="0",
        fingerprint=model.fingerprint,
        k_doc=8,
        residuals=False,
        n_docs=500,
        n_queries=100,
        queries="given",
        limit=10,
        store="EdgeStore",
        seed=0,
        measured=(row,),
        calibrations=(
            Calibration(
                k=4,
                rescore=None,
                scores=(0, 1),
                cosines=(0, 0.5),
                pairs=9,
                mean_error=0,
                p95_error=0,
            ),
        ),
    )
    model.with_card(card).save(codec)
    told = run("inspect", codec).stdout
    assert "settings of a search: 1 measured with 100 queries over 500 documents at k=8: " in told
    facts = json.loads(run("search", codec, url, queries, "--recall", 0.8, "--json").stdout)
    assert (facts["k"], facts["candidates"]) == (4, 40)
    assert facts["promised"] == interval._asdict()
    text = run("search", codec, url, queries, "--recall", 0.8).stdout
    assert "scores are those of codes" not in text
    assert text.startswith(
        "k = 4, 40 candidates rescored by codes, measured recall@10 0.820 (0.810 to 0.830)\n"
    )
    by_codes = ("--rescore", "none", "--k", 4, "--score-threshold", 0.25)
    lines = run("search", codec, url, queries, *by_codes).stdout.splitlines()
    assert "scores are those of codes; the cosines that they stand for are 0.25 or more" in lines
    assert all(float(line.split()[0]) >= 0.5 for line in lines if line.startswith("  0."))


def test_text_is_one_safe_line_per_hit(run: Callable, codec: Path, url: str, queries: Path) -> None:
    lines = run(
        "search", codec, url, queries, "--limit", 3, "--rescore", "none"
    ).stdout.splitlines()
    assert len(lines) == 1 + QUERIES * 4
    assert lines[:2] == ["k = 8", "query 0"]
    assert re.fullmatch(r"  [01]\.\d{3}  doc-\d+ +\d+ \[31mred alert long .*…", lines[2])
    assert max(map(len, lines)) <= 100
    assert all(line.isprintable() for line in lines)


def test_another_field_can_be_shown(run: Callable, codec: Path, url: str, queries: Path) -> None:
    options = ("--limit", 1, "--rescore", "none", "--text-field", "none")
    lines = run("search", codec, url, queries, *options).stdout
    assert "alert" not in lines
    assert "doc-0" in lines


def test_a_query_without_hits_says_what_to_do(
    run: Callable, codec: Path, model: CSRModel, queries: Path, tmp_path: Path
) -> None:
    used = set(model.encode_query(np.load(queries)).indices.tolist())
    other = min(set(range(96)) - used)
    with EdgeStore(tmp_path / "far") as store:
        store.upsert([1], SparseVectors([0, 1], [other], [1.0], dim=96))
    result = run("search", codec, f"edge://{tmp_path / 'far'}", queries)
    assert result.stdout.count("no document shares a latent with this query") == QUERIES
    assert f"{QUERIES} of {QUERIES} queries have fewer than 10 hits: --fill, or" in result.stdout
    result = run("search", codec, f"edge://{tmp_path / 'far'}", queries, "--score-threshold", 0.9)
    assert result.stdout.count("no document found has a cosine of 0.9 or more") == QUERIES


def test_queries_that_fall_short_are_filled(
    run: Callable, codec: Path, model: CSRModel, queries: Path, rows: np.ndarray, tmp_path: Path
) -> None:
    codes = model.encode(rows[:12], k=1)
    with EdgeStore(tmp_path / "few") as store:
        store.upsert(range(12), codes)
    arguments = ("search", codec, f"edge://{tmp_path / 'few'}", queries, "--k", 1, "--limit", 9)
    short, filled = (
        json.loads(run(*arguments, *options, "--json").stdout) for options in ((), ("--fill",))
    )
    found = {  # documents that share a latent, by k and query
        k: (model.encode_query(np.load(queries), k=k).to_dense() @ codes.to_dense().T > 0).sum(
            axis=1
        )
        for k in (1, 4, 8, 16, 32)
    }
    assert [len(one["hits"]) for one in short["results"]] == np.minimum(found[1], 9).tolist()
    assert (short["short"], short["filled"]) == ((found[1] < 9).sum(), 0)
    assert short["short"] > 0
    assert [len(one["hits"]) for one in filled["results"]] == [9] * QUERIES
    assert (filled["short"], filled["filled"]) == (0, short["short"])
    assert (found[32] >= 9).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("{t}/gone", "{url}", "{q}"), 2, r"expected a model folder with a config\.json"),
        (("{c}", "edge://{t}/gone", "{q}"), 3, r"no store at .*/gone: check the path"),
        (("{c}", "edge://{t}/empty", "{q}"), 3, r"edge://.*/empty is empty: fill it with"),
        (("{c}", "edge://{c}", "{q}"), 3, r"is not empty and no csrkit store"),
        (("{c}", "http//nonsense", "{q}"), 2, r"expected a URL with one of the schemes"),
        (("{c}", "{url}", "{t}/gone.npy"), 2, r"no file of embeddings at .*gone\.npy"),
        (("{c}", "{url}", "{t}/wide.npy"), 2, r"of shape \(n, 16\).*got \(2, 17\)"),
        (("{c}", "{url}", "{q}", "--k", "0"), 2, r"expected k from 1 to n_latents=96"),
        (
            ("{c}", "{url}", "{q}", "--k", "4", "--effort", "fast"),
            2,
            r"one of k, effort and recall",
        ),
        (("{c}", "{url}", "{q}", "--rescore", "dense"), 2, r"rescore='dense', got no dense="),
        (
            ("{c}", "{url}", "{q}", "--rescore", "codes", "--dense", "d"),
            2,
            r"got dense= of type str",
        ),
        (("{c}", "{url}", "{q}", "--dense", "{q}"), 2, r"ids that are row numbers .* from 0 to 3"),
        (("{c}", "{url}", "{q}", "--dense", "{t}/wide.npy"), 2, r"of shape \(n, 16\).*\(2, 17\)"),
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
