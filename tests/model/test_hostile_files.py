"""Model folders that are not what they should be: everything that is refused."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import csrkit
from csrkit.errors import FormatError
from csrkit.model import CSRModel, load

MakeModel = Callable[..., CSRModel]

# -- config.json ----------------------------------------------------------------------


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


PROVENANCE = {"csrkit": "0", "rows": 1, "steps": 1}
CONFIG_EDITS: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "holds ['decoder', 'encoder', 'latent_bias', 'loads', 'pre_bias', 'scales'], "),
    ({"format": 3}, "has format 3, this csrkit reads up to 2: upgrade csrkit"),
    ({"format": 3, "new": 1}, "has format 3, this csrkit reads up to 2: upgrade csrkit"),
    ({"format": 0}, "is not a model config"),
    ({"format": "1"}, "is not a model config"),
    ({"activation": "gelu"}, "activation\n  Extra inputs are not permitted"),
    ({"provenance": {**PROVENANCE, "x": 1}}, "provenance.x\n  Extra inputs are not permitted"),
    ({"provenance": {**PROVENANCE, "recall": 1.5}}, "provenance.recall"),
    ({"provenance": {**PROVENANCE, "recall": float("nan")}}, "provenance.recall"),
    ({"provenance": None}, "provenance"),
    ({"dim": 12.0}, "is not a model config"),
    ({"dim": True}, "is not a model config"),
    ({"dim": 0}, "is not a model config"),
    ({"dim": 2**40}, "is not a model config"),
    ({"dim": 13}, "expected encoder to be F32 of shape (50, 13), got F32 of shape (50, 12)"),
    ({"n_latents": 2**24}, "expected encoder to be F32 of shape (16777216, 12)"),
    ({"n_latents": 2**24 + 1}, "is not a model config"),
    ({"n_latents": -1}, "is not a model config"),
    ({"ladder": [2, 5, 9]}, "expected scales to be F32 of shape (37,), got F32 of shape (21,)"),
    ({"ladder": [1, 5]}, "was not saved with the config.json beside it"),
    ({"ladder": [5, 2]}, "expected rungs rising from 1 to 50, got (5, 2)"),
    ({"ladder": []}, "expected rungs rising from 1 to 50, got ()"),
    ({"ladder": "25"}, "is not a model config"),
]


@pytest.mark.parametrize(("changes", "message"), CONFIG_EDITS)
def test_a_changed_config_is_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit(saved / "config.json", **changes)
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        load(saved)
    assert str(saved) in str(caught.value)


CONFIG_CONTENTS: list[tuple[bytes, str]] = [
    (b"", "is not JSON"),
    (b"[]", "is not a model config"),
    (b"null", "is not a model config"),
    (b"{}", "is not a model config"),
    (b'{"format": 1', "is not JSON"),
    (b"\xff\xfe{}", "is not JSON"),
    (b'{"format": ' + b"9" * 5000 + b"}", "is not JSON"),  # past Python's limit on digits
    (b"[" * 200_000, "is not JSON"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is not JSON"),
    (b" " * 10_000_000, "has 10000000 bytes, a config has about 2000"),
]


@pytest.mark.parametrize(
    ("content", "message"), CONFIG_CONTENTS, ids=[str(c[:12]) for c, _ in CONFIG_CONTENTS]
)
def test_a_config_that_is_none_is_refused(saved: Path, content: bytes, message: str) -> None:
    (saved / "config.json").write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(f"{saved / 'config.json'} {message}")):
        load(saved)


def test_nesting_within_the_parsers_limits_is_refused_by_the_model(saved: Path) -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    edit(saved / "config.json", deep=deep)
    with pytest.raises(FormatError, match="is not a model config"):
        load(saved)


# -- model.safetensors ------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change the arrays and keep the metadata."""
    header = path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path, json.loads(header)["__metadata__"])


def set_item(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = np.array(make(arrays[name]), order="C")

    return change


NAMES = "['decoder', 'encoder', 'latent_bias', 'loads', 'pre_bias', 'scales']"
WEIGHT_EDITS: list[tuple[Callable[..., object], str]] = [
    (lambda a: a.pop("loads"), f"expected {NAMES}"),
    (lambda a: a.update(more=np.ones(1)), f"'more', 'pre_bias', 'scales'], expected {NAMES}"),
    (
        set_item("encoder", lambda a: a.astype(np.float64)),
        "expected encoder to be F32 of shape (50, 12), got F64 of shape (50, 12)",
    ),
    (set_item("encoder", lambda a: a.astype(np.float16)), "got F16 of shape (50, 12)"),
    (set_item("encoder", lambda a: a.view(np.int32)), "got I32 of shape (50, 12)"),
    (set_item("encoder", lambda a: a.T), "got F32 of shape (12, 50)"),
    (set_item("scales", lambda a: a[:-1]), "expected scales to be F32 of shape (21,)"),
    (set_item("pre_bias", lambda a: np.float32(1).reshape(())), "got F32 of shape ()"),
    (set_item("decoder", lambda a: a * np.nan), "expected finite decoder, got NaN or Inf in it"),
    (set_item("loads", lambda a: a + np.inf), "expected finite loads, got NaN or Inf in it"),
]


@pytest.mark.parametrize(("change", "message"), WEIGHT_EDITS)
def test_changed_weights_are_refused(
    saved: Path, change: Callable[..., object], message: str
) -> None:
    rewrite(saved / "model.safetensors", change)
    with pytest.raises(FormatError, match=re.escape(message)):
        load(saved)


def test_rewriting_alone_is_not_what_is_refused(saved: Path) -> None:
    rewrite(saved / "model.safetensors", lambda arrays: None)
    assert load(saved).n_latents == 50


def test_every_truncation_is_refused(saved: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        content = (saved / name).read_bytes()
        for length in {0, 1, 8, 60, len(content) // 2, len(content) - 2}:
            (saved / name).write_bytes(content[:length])
            with pytest.raises(FormatError, match=re.escape(str(saved))):
                load(saved)
        (saved / name).write_bytes(content)
    assert load(saved).n_latents == 50


def test_missing_files_are_named(saved: Path, tmp_path: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(FormatError, match=re.escape(f"{saved} is not a readable model: ")):
        load(saved)
    (saved / "model.safetensors").mkdir()
    with pytest.raises(FormatError, match=re.escape(f"{saved} is not a readable model: ")):
        load(saved)
    for folder in (tmp_path / "nowhere", tmp_path, saved / "config.json"):
        with pytest.raises(FormatError) as caught:
            load(folder)
        assert str(caught.value) == (
            f"expected a model folder with a config.json, found none at {folder}"
        )


# -- nothing is ever unpickled ------------------------------------------------------------

RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def unsafe_calls(source: str) -> list[str]:
    """Return the imports and calls of a module through which a file could run code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [name for name in names if name.partition(".")[0] in RUNS_CODE]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            allowed = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("allow_pickle")
            if name in {"eval", "exec", "torch.load"}:
                found.append(name)
            elif allowed not in (None, "False") or (name == "np.load" and allowed is None):
                found.append(f"{name}(allow_pickle={allowed})")
    return found


def test_no_file_can_run_code() -> None:
    package = Path(csrkit.__file__).parent
    modules = list(package.rglob("*.py"))
    assert package / "model" / "files.py" in modules
    found = {str(path): unsafe_calls(path.read_text()) for path in modules}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import dill.source",
        "torch.load(p)",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "numpy.lib.format.read_array(f, allow_pickle=x)",
        "eval(t)",
    ],
)
def test_the_search_for_unsafe_calls_finds_them(source: str) -> None:
    assert unsafe_calls(source)
    assert not unsafe_calls("np.load(p, allow_pickle=False)\nimport json")
