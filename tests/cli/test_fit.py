"""``csrkit fit`` trains what `csrkit.fit` trains, and says what is wrong before it starts."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import csrkit
from csrkit import FitConfig

SMALL = ("--n-latents", 64, "--ladder", "4,8", "--steps", 6, "--batch-size", 32)


def config(**more: object) -> FitConfig:
    return FitConfig(n_latents=64, ladder=(4, 8), steps=6, batch_size=32, **more)


def test_it_fits_the_same_model_as_python(run: Callable, embeddings: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "codec"
    result = run("fit", embeddings, "-o", out, *SMALL, "--seed", 3, "--json")
    facts = json.loads(result.stdout)
    expected = csrkit.fit(np.load(embeddings), config=config(seed=3), progress=False)
    assert facts.pop("seconds") > 0
    assert facts == {
        "codec": str(out),
        "fingerprint": expected.fingerprint,
        "dim": 16,
        "n_latents": 64,
        "ladder": [4, 8],
        "rows": 500,
        "steps": 6,
        "recall": expected.config.provenance.recall,
        "interrupted": False,
    }
    assert csrkit.load(out).fingerprint == expected.fingerprint


def test_queries_positives_and_labels_reach_the_fit(
    run: Callable, embeddings: Path, rows: np.ndarray, tmp_path: Path
) -> None:
    labels = np.arange(500) % 5
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "other.npy", rows[::-1])
    for name, option, given in [
        ("labels", tmp_path / "labels.npy", labels),
        ("queries", tmp_path / "other.npy", rows[::-1]),
        ("positives", tmp_path / "other.npy", rows[::-1]),
    ]:
        run("fit", embeddings, "-o", tmp_path / name, *SMALL, f"--{name}", option)
        expected = csrkit.fit(rows, config=config(), progress=False, **{name: given})
        assert csrkit.load(tmp_path / name).fingerprint == expected.fingerprint, name


def test_options_win_over_the_file_of_settings(
    run: Callable, embeddings: Path, tmp_path: Path
) -> None:
    settings = {"recipe": "csrv2", "steps": 500, "ladder": [2, 4], "load_cap": 9.0, "seed": 5}
    (tmp_path / "fit.json").write_text(json.dumps(settings))
    run("fit", embeddings, "-o", tmp_path / "c", *SMALL, "--config", tmp_path / "fit.json")
    found = csrkit.load(tmp_path / "c").config.provenance.fit
    expected = config(recipe="csrv2", load_cap=9.0, seed=5).model_dump(mode="json")
    for name in ("recipe", "steps", "ladder", "load_cap", "seed", "aux_weight", "anneal_from"):
        assert found[name] == expected[name], name


def test_a_codec_is_replaced_and_said_so(run: Callable, embeddings: Path, codec: Path) -> None:
    before = csrkit.load(codec).fingerprint
    result = run("fit", embeddings, "-o", codec, *SMALL)
    assert f"{codec} holds a codec, which will be replaced" in result.stderr
    assert csrkit.load(codec).fingerprint != before
    assert csrkit.load(codec).fingerprint[:16] in result.stdout


def test_a_warning_is_one_line(run: Callable, embeddings: Path, tmp_path: Path) -> None:
    few = ("--n-latents", 600, "--ladder", "4", "--steps", 1, "--batch-size", 32)
    result = run("fit", embeddings, "-o", tmp_path / "c", *few)
    assert re.fullmatch(r"warning: fitting n_latents=600 on 500 embeddings: .*\n", result.stderr), (
        result.stderr
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "best"), r"bad setting recipe='best': Input should be 'csr', 'csrkit' or"),
        (("--steps", "0"), r"bad setting steps=0: Input should be greater than or equal to 1"),
        (("--ladder", "8,4"), r"bad setting .*expected a rising ladder of k.* got \(8, 4\)"),
        (("--ladder", "8;16"), r"expected whole numbers from 1 between commas.* --ladder '8;16'"),
        (("--ladder", "0,8"), r"expected whole numbers from 1 .* got --ladder '0,8'"),
        (("--device", "abacus"), r"expected a device of this machine, got --device 'abacus'"),
        (("--labels", "nowhere.npy"), r"no file of labels at nowhere\.npy"),
        (("--config", "nowhere.json"), r"no file of settings at nowhere\.json"),
        (("--labels", "{rows}"), r"expected one label per embedding, \(500,\), got \(500, 16\)"),
        (("--labels", "{text}"), r"text\.npy is not a readable \.npy file of labels"),
        (("--config", "{text}"), r"text\.npy is not JSON"),
        (("--config", "{list}"), r"expected .*list\.json to hold a JSON object, got list"),
        (("--config", "{unknown}"), r"bad setting stepps=5: Extra inputs are not permitted"),
        (("--positives", "{rows}", "--labels", "{labels}"), r"expected positives or labels"),
    ],
)
def test_bad_settings_are_told_in_one_line(
    options: tuple[str, ...],
    message: str,
    run: Callable,
    embeddings: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "unknown.json").write_text('{"stepps": 5}')
    np.save(tmp_path / "labels.npy", np.arange(500))
    files = {
        "{rows}": embeddings,
        "{text}": tmp_path / "text.npy",
        "{list}": tmp_path / "list.json",
        "{unknown}": tmp_path / "unknown.json",
        "{labels}": tmp_path / "labels.npy",
    }
    arguments = [files.get(option, option) for option in options]
    result = run("fit", embeddings, "-o", tmp_path / "codec", *arguments, code=2)
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "codec" / "config.json").exists()


@pytest.mark.parametrize("kind", ["file", "other folder", "below a file", "kernel's"])
def test_an_output_that_cannot_be_is_refused_before_the_fit(
    kind: str, run: Callable, embeddings: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    output, message = {
        "file": (embeddings, "expected a folder to write the codec to, got the file"),
        "other folder": (tmp_path / "photos", "is not empty and holds no codec"),
        "below a file": (embeddings / "codec", "Not a directory"),
        "kernel's": (Path("/proc/codec"), "No such file or directory"),
    }[kind]
    result = run("fit", tmp_path / "not-even-there.npy", "-o", output, code=2)
    assert message in result.stderr
    assert list((tmp_path / "photos").iterdir()) == [tmp_path / "photos" / "cat.jpg"]


def wait_for(text: str, process: subprocess.Popen[str]) -> None:
    """Read the progress on stderr until a text shows up in it."""
    assert process.stderr is not None
    seen = ""
    while text not in seen:
        char = process.stderr.read(1)
        assert char, f"ended without {text!r}: {seen}"
        seen += char


def test_ctrl_c_keeps_the_best_weights(start: Callable, embeddings: Path, tmp_path: Path) -> None:
    endless = ("--n-latents", 32, "--ladder", "4", "--steps", 10**6, "--batch-size", 16)
    process = start("fit", embeddings, "-o", tmp_path / "codec", *endless, "--progress", "--json")
    wait_for("recall 0.", process)
    process.send_signal(2)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    facts = json.loads(out)
    assert facts["interrupted"] is True
    kept = csrkit.load(tmp_path / "codec")
    assert kept.fingerprint == facts["fingerprint"]
    assert kept.config.provenance.steps == facts["steps"]
    assert facts["steps"] >= 250
    assert f"holds the best weights so far, of step {facts['steps']}" in err
    assert "Traceback" not in err


def test_ctrl_c_before_anything_was_measured_keeps_nothing(start: Callable, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(4000, 64)))
    slow = ("--n-latents", 512, "--steps", 10**6, "--batch-size", 2048)  # 250 steps take long
    process = start("fit", tmp_path / "rows.npy", "-o", tmp_path / "codec", *slow, "--progress")
    wait_for("fit:", process)
    process.send_signal(2)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert out == ""
    assert "csrkit: interrupted; nothing was kept" in err
    assert "Traceback" not in err
    assert list((tmp_path / "codec").iterdir()) == []
