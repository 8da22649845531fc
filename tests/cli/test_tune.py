"""``csrkit tune`` measures what `csrkit.tune` measures, and keeps it with the codec."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import csrkit
from csrkit import CSRModel
from csrkit.model import Card
from csrkit.stores import EdgeStore, MemoryStore

FEW = ("--n-queries", 40, "--no-dense", "--store", "memory:")


@pytest.fixture(autouse=True)
def _few_queries_are_timed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("csrkit.tuning.measure.TIMED", 2)
    return


def timeless(rows: list[dict]) -> list[dict]:
    return [{name: row[name] for name in row.keys() - {"ms", "cost"}} for row in rows]


def test_it_measures_what_python_measures(
    run: Callable, codec: Path, embeddings: Path, model: CSRModel, rows: np.ndarray
) -> None:
    facts = json.loads(run("tune", codec, embeddings, *FEW, "--seed", 3, "--json").stdout)
    card = csrkit.load(codec).card
    assert card is not None
    options = {"n_queries": 40, "dense": False, "seed": 3, "store": MemoryStore()}
    expected = csrkit.tune(model, rows, progress=False, **options).card
    assert expected is not None
    measured = json.loads(card.model_dump_json())["measured"]
    again = json.loads(expected.model_dump_json())["measured"]
    assert timeless(measured) == timeless(again)
    assert card.calibrations == expected.calibrations
    for row, fact in zip(card.measured, facts["measured"], strict=True):
        low, value, high = row.recall
        assert (fact["low"], fact["recall"], fact["high"]) == pytest.approx((low, value, high))
        assert fact["k"] == row.setting.k
        assert fact["candidates"] == row.setting.candidates
        assert fact["rescore"] == row.setting.rescore
        for name in ("worst", "posting_cost", "ms", "cost", "short"):
            assert fact[name] == getattr(row, name)
    chosen = {one["effort"]: one for one in facts["efforts"]}
    assert chosen.keys() == {"fast", "balanced", "accurate"}
    for effort, one in chosen.items():
        row = card.effort(effort, rescore="codes")
        assert one["rescore"] == "codes"
        assert one["setting"] == facts["measured"][card.measured.index(row)]
    assert facts["codec"] == str(codec)
    assert (facts["n_docs"], facts["n_queries"], facts["queries"]) == (460, 40, "documents")
    assert (facts["k_doc"], facts["residuals"], facts["store"]) == (8, True, "MemoryStore")
    assert not facts["refitted"]
    assert facts["calibrations"][0]["mean_error"] == card.calibrations[0].mean_error


def test_options_reach_the_measurement(
    run: Callable, codec: Path, embeddings: Path, tmp_path: Path, rows: np.ndarray
) -> None:
    np.save(tmp_path / "queries.npy", rows[:30] + 0.1)
    more = ("--queries", tmp_path / "queries.npy", "--k-doc", 4, "--limit", 3, "--no-residuals")
    EdgeStore(tmp_path / "index").close()
    url = f"edge://{tmp_path / 'index'}"
    run("tune", codec, embeddings, "--store", url, *more)
    card = csrkit.load(codec).card
    assert card is not None
    assert (card.queries, card.n_queries, card.n_docs) == ("given", 30, 500)
    assert (card.k_doc, card.limit, card.residuals, card.store) == (4, 3, False, "EdgeStore")
    assert card.refitted
    assert {row.setting.rescore for row in card.measured} == {None, "codes", "dense"}


@pytest.mark.parametrize("dense", [False, True])
def test_the_tables_show_what_each_search_may_choose(
    dense: bool, run: Callable, codec: Path, embeddings: Path
) -> None:
    lines = run("tune", codec, embeddings, *FEW, *(["--dense"] if dense else [])).stdout.split("\n")
    card = csrkit.load(codec).card
    assert card is not None
    assert lines[0] == f"{codec}: {card.summary()}"
    heads = [at for at, line in enumerate(lines) if line.startswith("searches that rescore by")]
    assert len(heads) == 1 + dense
    for head, rescore in zip(heads, ("codes", "dense"), strict=False):
        assert f"by {'the stored codes' if rescore == 'codes' else 'dense vectors'}" in lines[head]
        assert lines[head + 1].split() == (
            ["k", "candidates", "recall", "interval", "worst", "5%", "ms", "effort"]
        )
        shown = lines[head + 2 : lines.index("", head)]
        recalls = [float(re.search(r" (0\.\d{3}|1\.000) ", line)[1]) for line in shown]
        rows = [one for one in card.measured if one.setting.rescore in (None, rescore)]
        assert recalls == sorted(recalls)
        assert recalls[-1] == round(max(row.recall.value for row in rows), 3)
        for name in ("fast", "balanced", "accurate"):
            (line,) = [line for line in shown if name in line]
            setting = card.effort(name, rescore=rescore).setting
            assert line.split()[:2] == [str(setting.k), str(setting.candidates or "-")]
    assert "intervals hold together" in lines[-4]
    assert lines[-3] == "ms: median of one query alone, BLAS on one thread, in MemoryStore"
    assert re.search(r"cosines off by 0\.\d{3} at k=4, 0\.\d{3} at k=8", lines[-2])


def test_what_was_measured_before_stays_when_a_run_fails(
    run: Callable, codec: Path, embeddings: Path, tmp_path: Path
) -> None:
    run("tune", codec, embeddings, *FEW)
    before = (codec / "card.json").read_bytes()
    calls: list[tuple[tuple[object, ...], int, str]] = [
        ((codec, tmp_path / "gone.npy"), 2, r"no file of embeddings at .*gone\.npy"),
        ((codec, embeddings, "--n-queries", 5), 2, r"expected at least 20 queries, got n_queries"),
        ((codec, embeddings, "--limit", 0), 2, r"expected limit from 1"),
        ((codec, embeddings, "--store", "nonsense"), 2, r"expected a URL with one of the schemes"),
        ((codec, embeddings, "--store", f"edge://{tmp_path / 'indx'}"), 3, r"no store at .*indx"),
        ((tmp_path, embeddings), 2, r"expected a model folder with a config\.json"),
    ]
    for arguments, code, message in calls:
        result = run("tune", *arguments, code=code)
        assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr
        assert result.stdout == ""
    assert (codec / "card.json").read_bytes() == before
    assert not (tmp_path / "indx").exists()
    assert isinstance(csrkit.load(codec).card, Card)
