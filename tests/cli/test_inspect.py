"""``csrkit inspect`` against figures worked out from the loads by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from csrkit import CSRModel
from csrkit.stores import EdgeStore


def test_json_is_what_the_loads_say(run: Callable, codec: Path, model: CSRModel) -> None:
    facts = json.loads(run("inspect", codec, "--json").stdout)
    assert facts["fingerprint"] == model.fingerprint
    assert (facts["dim"], facts["n_latents"], facts["ladder"]) == (16, 96, [4, 8])
    assert facts["disk_bytes"] == sum(file.stat().st_size for file in codec.iterdir())
    assert facts["provenance"]["recall"] == 0.5
    assert facts["provenance"]["fit"] == {"recipe": "csr"}
    assert facts["card"] is None
    for rung, k, loads in zip(facts["rungs"], (4, 8), model.loads.tolist(), strict=True):
        assert rung["k"] == k
        assert rung["mean_latents"] == pytest.approx(sum(loads), abs=1e-3)
        assert rung["dead_share"] == pytest.approx(loads.count(0) / 96, abs=1e-6)
        assert rung["busiest_load"] == max(loads)
        assert rung["posting_cost"] == pytest.approx(sum(p * p for p in loads), abs=1e-5)
        assert rung["balanced_cost"] == pytest.approx(sum(loads) ** 2 / 96, abs=1e-5)
        assert rung["code_bytes"] == pytest.approx(8 * sum(loads), abs=0.05)


def test_posting_cost_is_that_of_the_codes(run: Callable, tmp_path: Path, rows: np.ndarray) -> None:
    """The figure from the loads of a fit equals counting postings in the index itself."""
    import csrkit

    config = csrkit.FitConfig(n_latents=64, ladder=(4, 8), steps=5, holdout=0)
    fitted = csrkit.fit(rows, config=config, progress=False)
    fitted.save(tmp_path / "codec")
    facts = json.loads(run("inspect", tmp_path / "codec", "--json").stdout)
    for rung in facts["rungs"]:
        active = fitted.encode(rows, k=rung["k"]).to_dense() > 0
        lists = active.sum(axis=0)  # length of every posting list
        visited = np.mean([lists[row].sum() for row in active])
        assert rung["posting_cost"] == pytest.approx(visited / len(rows), abs=1e-5)


def test_busiest_latents_come_first(run: Callable, codec: Path, model: CSRModel) -> None:
    busiest = json.loads(run("inspect", codec, "--json").stdout)["busiest"]
    assert busiest[0] == {"latent": 3, "load": 0.75}
    assert [one["load"] for one in busiest] == pytest.approx(sorted(model.loads[1])[:-6:-1])
    for one in busiest:
        assert one["load"] == pytest.approx(model.loads[1, one["latent"]], abs=1e-6)


def test_the_text_has_a_row_per_k(run: Callable, codec: Path, model: CSRModel) -> None:
    text = run("inspect", codec).stdout
    assert "recipe csr, 7 steps, held-out recall@10 0.500" in text
    assert model.fingerprint in text
    assert "\nsettings of a search: not measured, see csrkit tune\n" in text
    dead = (model.loads == 0).mean(axis=1)
    for k, share in zip((4, 8), dead, strict=True):
        assert re.search(rf"^ ?{k} +[\d.]+ +{share:.1%} ", text, re.MULTILINE), text


@pytest.fixture
def url(model: CSRModel, rows: np.ndarray, tmp_path: Path) -> str:
    with EdgeStore(tmp_path / "index") as store:
        texts = [{"text": f"text {row}"} for row in range(len(rows))]
        store.upsert([f"doc-{row}" for row in range(len(rows))], model.encode(rows), texts)
    return f"edge://{tmp_path / 'index'}"


def test_a_latent_is_shown_by_its_strongest_documents(
    run: Callable, codec: Path, url: str, model: CSRModel, rows: np.ndarray
) -> None:
    codes = model.encode(rows).to_dense()
    latent = int(np.argsort((codes > 0).sum(axis=0))[-10])
    options = ("--latent", latent, "--store", url, "--limit", 6)
    facts = json.loads(run("inspect", codec, *options, "--json").stdout)
    assert (facts["latent"], facts["store"]) == (latent, url)
    assert facts["loads"] == pytest.approx(model.loads[:, latent], abs=1e-6)
    best = np.argsort(-codes[:, latent])[:6]
    assert [one["id"] for one in facts["strongest"]] == [f"doc-{row}" for row in best]
    assert len({one["id"] for one in facts["random"]}) == 6
    for one in facts["strongest"] + facts["random"]:
        row = int(one["id"].removeprefix("doc-"))
        assert one["score"] == pytest.approx(codes[row, latent], abs=1e-5)
        assert one["payload"] == {"text": f"text {row}"}
    text = run("inspect", codec, *options).stdout.splitlines()
    assert text[0].startswith(f"latent {latent} fires in {model.loads[0, latent]:.2%} at k = 4, ")
    assert text[1].startswith("strongest documents of edge://")
    assert re.fullmatch(rf"  \d\.\d{{3}}  doc-{best[0]} +text {best[0]}", text[2])
    assert text[8].startswith("random documents of edge://")
    assert len(text) == 16


def test_random_documents_are_like_all_documents(
    run: Callable, codec: Path, url: str, model: CSRModel, rows: np.ndarray
) -> None:
    codes = model.encode(rows).to_dense()
    draws: list[list[int]] = []
    for seed in (0, 1, 2, 3, 0):
        options = ("--latent", 3, "--store", url, "--limit", 60, "--seed", seed, "--json")
        found = json.loads(run("inspect", codec, *options).stdout)["random"]
        draws.append([int(one["id"].removeprefix("doc-")) for one in found])
    assert draws[0] == draws[4]
    assert all(len(set(rows)) == 60 for rows in draws)
    drawn = np.concatenate(draws[:4])
    assert len({*drawn.tolist()}) > 150  # of 240 draws from 500, some of which repeat
    lengths = (codes > 0).sum(axis=1)
    shares = codes[drawn].sum(axis=0) / codes[drawn].sum()
    assert np.abs(shares - codes.sum(axis=0) / codes.sum()).max() < 0.02
    assert lengths[drawn].mean() == pytest.approx(lengths.mean(), abs=0.2)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--latent", "3"), 2, "expected --latent and --store together"),
        (("--store", "{url}"), 2, "expected --latent and --store together"),
        (("--latent", "96", "--store", "{url}"), 2, "expected --latent from 0 to 95, got 96"),
        (("--latent", "-1", "--store", "{url}"), 2, "expected --latent from 0 to 95, got -1"),
        (("--latent", "3", "--store", "{url}", "--limit", "0"), 2, "limit of at least 1 hit"),
        (("--latent", "3", "--store", "edge://{t}/gone"), 3, "no store at"),
    ],
)
def test_bad_calls_for_a_latent_are_told_in_one_line(
    options: tuple[str, ...],
    code: int,
    message: str,
    run: Callable,
    codec: Path,
    url: str,
    tmp_path: Path,
) -> None:
    filled = [one.format(t=tmp_path, url=url) for one in options]
    result = run("inspect", codec, *filled, code=code)
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr


@pytest.mark.parametrize("what", ["missing", "empty", "file", "garbage"])
def test_what_is_no_codec_is_refused(what: str, run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "codec"
    if what == "file":
        path.write_text("hello")
    elif what != "missing":
        path.mkdir()
    if what == "garbage":
        (path / "config.json").write_text('{"format": 1, "dim": "wide"}')
    result = run("inspect", path, "--json", code=2)
    expected = "is not a model config" if what == "garbage" else "expected a model folder with a"
    assert re.fullmatch(rf"csrkit: .*{expected}.*\n", result.stderr), result.stderr
    assert "errors.pydantic.dev" not in result.stderr
    assert result.stdout == ""
