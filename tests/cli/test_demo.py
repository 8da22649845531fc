"""``csrkit demo`` on a small folder: its figures are recomputed here, the plain way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import csrkit
from csrkit.cli.demodata import default_folder, load_data
from csrkit.stores import EdgeStore

N, Q, DIM = 300, 40, 16


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    docs = rng.integers(-127, 128, size=(N, DIM), dtype=np.int8)
    np.save(folder / "docs.npy", docs)
    np.save(folder / "docs.scale.npy", rng.uniform(0.001, 0.01, size=N).astype(np.float32))
    relevant = rng.integers(N, size=Q)
    np.save(folder / "relevant.npy", relevant)
    np.save(folder / "queries.npy", docs[relevant] + rng.normal(scale=60, size=(Q, DIM)))
    np.save(folder / "questions.npy", docs[:2].astype(np.float64))
    lines = [{"text": f"gloss {i} " * 30, "words": [f"word{i}", "other"]} for i in range(N)]
    (folder / "docs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "questions.jsonl").write_text('{"text": "what?"}\n{"text": "who?"}\n')
    return folder


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def plain_figures(scores: np.ndarray, truth: np.ndarray, relevant: np.ndarray) -> list[float]:
    """Recall@10 and nDCG@10 of scores (q, n), where a score of 0 is no hit."""
    recall, ndcg = [], []
    for row, exact, wanted in zip(scores, truth, relevant, strict=True):
        found = [doc for doc in np.argsort(-row)[:10] if row[doc] > 0]
        recall.append(len(set(found) & set(exact)) / 10)
        ndcg.append(1 / np.log2(found.index(wanted) + 2) if wanted in found else 0)
    return [float(np.mean(recall)), float(np.mean(ndcg))]


def test_the_table_is_right(run: Callable, data: Path) -> None:
    result = run("demo", "--data", data, "--steps", 4, "--k", "2,64", "--json")
    facts = json.loads(result.stdout)
    docs = unit(np.load(data / "docs.npy").astype(np.float32))
    queries, relevant = unit(np.load(data / "queries.npy")), np.load(data / "relevant.npy")
    cosines = queries @ docs.T
    truth = np.argsort(-cosines, axis=1)[:, :10]
    dense, *rows = facts["rows"]
    assert (dense["k"], dense["candidates"]) == (None, None)
    assert dense["vector_bytes"] == 4 * DIM
    assert [1.0, dense["ndcg"]] == pytest.approx(
        plain_figures(cosines + 2, truth, relevant), abs=1e-4
    )
    scaled = load_data(data).docs  # to the last bit what the demo fits on
    model = csrkit.fit(scaled, config=csrkit.FitConfig(steps=4), progress=False)
    codes = model.encode(scaled)
    stored, bits = codes.to_dense(), model.encode_residuals(scaled, codes)
    estimates = model.estimate_cosines(queries, codes, bits)
    assert (facts["documents"], facts["k_stored"], facts["n_latents"]) == (N, 64, model.n_latents)
    settings = [(2, None), (64, None), (2, 100), (64, 100)]
    for row, (k, candidates) in zip(rows, settings, strict=True):
        asked = model.encode_query(queries, k=k).to_dense()
        scores = asked @ stored.T
        if candidates is not None:
            least = np.sort(scores, axis=1)[:, [-candidates]]  # estimates are above -2
            scores = np.where((scores >= least) & (scores > 0), estimates + 2, 0)
        figures = plain_figures(scores, truth, relevant)
        assert (row["k"], row["candidates"]) == (k, candidates)
        assert [row["recall"], row["ndcg"]] == pytest.approx(figures, abs=0.005)  # near-ties
        cost = ((asked > 0).mean(axis=0) * (stored > 0).mean(axis=0)).sum()
        assert row["posting_cost"] == pytest.approx(cost, abs=1e-3)
        extra = 0 if candidates is None else bits.shape[1]
        assert row["vector_bytes"] == pytest.approx(8 * (stored > 0).sum() / N + extra, abs=1e-3)
        assert row["ms"] > 0
    assert rows[0]["recall"] < rows[1]["recall"] < rows[3]["recall"]


def test_text_tells_the_story_in_100_columns(run: Callable, data: Path) -> None:
    text = run("demo", "--data", data, "--steps", 2, "--k", "2,8").stdout
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    for question in ("what?", "who?"):
        start = lines.index(question)
        assert re.match(r"  k = 2    \d\.\d\d  word\d+: gloss \d+ ", lines[start + 1])
        assert re.match(r"  k = 8    \d\.\d\d  word\d+: gloss \d+ ", lines[start + 3])
        assert re.match(r"  k = 2 \*  -?\d\.\d\d  word\d+: gloss \d+ ", lines[start + 5])
    assert "* 100 candidates of k = 2, rescored by their codes" in lines
    table = next(i for i, line in enumerate(lines) if line.startswith("k "))
    cells = [line.split()[:2] for line in lines[table + 1 : table + 6]]
    assert cells == [["dense", "-"], ["2", "-"], ["8", "-"], ["2", "100"], ["8", "100"]]


def test_the_codes_can_be_kept(run: Callable, data: Path, tmp_path: Path) -> None:
    run("demo", "--data", data, "--steps", 2, "--k", "4", "--store", f"edge://{tmp_path}/kept")
    with EdgeStore(tmp_path / "kept") as store:
        assert store.count() == N
        assert store.residual_bytes >= DIM // 8
        hits = store.search(store.fetch([17]), limit=1)
    assert hits[0][0].payload["text"].startswith("word17: gloss 17 ")


def test_shipped_data_is_found_and_whole() -> None:
    data = load_data(default_folder())
    np.testing.assert_allclose(np.linalg.norm(data.docs, axis=1), 1, atol=1e-6)
    assert len(data.payloads) == len(data.docs) > 10_000
    best = (data.asked @ data.docs.T).argmax(axis=1)
    words = [data.payloads[row]["text"].partition(":")[0] for row in best]
    assert words == ["penguin", "nostalgia", "beacon"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("docs.npy", None, r"the demo data lacks .*docs\.npy"),
        ("queries.npy", "hello", r"queries\.npy is not a readable \.npy file"),
        ("docs.jsonl", None, r"the demo data lacks .*docs\.jsonl"),
        ("docs.jsonl", '{"text": "one"}\n', r"expected 300 rows in .*docs\.jsonl, got 1"),
        ("questions.jsonl", '{"txt": "?"}\n', r"every line of .*questions\.jsonl to be an object"),
        ("questions.jsonl", "what?\n", r"questions\.jsonl is not one JSON object per line"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(
    name: str, content: str | None, message: str, run: Callable, data: Path
) -> None:
    (data / name).unlink()
    if content is not None:
        (data / name).write_text(content)
    result = run("demo", "--data", data, code=2)
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "queries",
            lambda a: a[:0],
            r"one or more non-zero rows in .*queries\.npy, got shape \(0, 16",
        ),
        ("questions", lambda a: a[:, :9], r"questions\.npy of 16 dimensions, as docs\.npy, got 9"),
        ("relevant", lambda a: a + N, r"whole numbers from 0 to 299, in .*relevant\.npy"),
        ("relevant", lambda a: a / 2, r"whole numbers from 0 to 299, in .*relevant\.npy"),
    ],
)
def test_data_that_does_not_fit_together_is_refused(
    name: str, change: Callable, message: str, run: Callable, data: Path
) -> None:
    """Regression: no queries gave a table of NaN, a wrong row the wrong figures."""
    changed = change(np.load(data / f"{name}.npy"))
    np.save(data / f"{name}.npy", changed)
    if name == "queries":
        np.save(data / "relevant.npy", np.zeros(0, dtype=np.int64))
    result = run("demo", "--data", data, code=2)
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--k", "4,x"), 2, r"expected whole numbers from 1 .* --k '4,x'"),
        (("--steps", "0"), 2, r"bad setting steps=0"),
        (("--store", "paper"), 2, r"expected a URL with one of the schemes"),
        (("--steps", "1", "--k", "999"), 2, r"expected k from 1 to n_latents=64, got .*k=999"),
    ],
)
def test_bad_calls_are_told_in_one_line(
    options: tuple[str, ...], code: int, message: str, run: Callable, data: Path
) -> None:
    result = run("demo", "--data", data, *options, code=code)
    assert re.search(rf"^csrkit: .*{message}.*\n\Z", result.stderr, re.MULTILINE), result.stderr
