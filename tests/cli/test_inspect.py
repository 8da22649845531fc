"""``csrkit inspect`` against figures worked out from the loads by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from csrkit import CSRModel


def test_json_is_what_the_loads_say(run: Callable, codec: Path, model: CSRModel) -> None:
    facts = json.loads(run("inspect", codec, "--json").stdout)
    assert facts["fingerprint"] == model.fingerprint
    assert (facts["dim"], facts["n_latents"], facts["ladder"]) == (16, 96, [4, 8])
    assert facts["disk_bytes"] == sum(file.stat().st_size for file in codec.iterdir())
    assert facts["provenance"]["recall"] == 0.5
    assert facts["provenance"]["fit"] == {"recipe": "csr"}
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
    dead = (model.loads == 0).mean(axis=1)
    for k, share in zip((4, 8), dead, strict=True):
        assert re.search(rf"^ ?{k} +[\d.]+ +{share:.1%} ", text, re.MULTILINE), text


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
