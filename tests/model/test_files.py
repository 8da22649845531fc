"""Model folders: exact bytes, the way back, and everything that is refused."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import json
import os
import pickle
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import csrkit
from csrkit.errors import FormatError
from csrkit.metrics import Interval
from csrkit.model import (
    Card,
    CSRModel,
    Measured,
    ModelConfig,
    Provenance,
    Setting,
    array_shapes,
    load,
)

MakeModel = Callable[..., CSRModel]


@pytest.fixture
def saved(make_model: MakeModel, tmp_path: Path) -> Path:
    make_model().save(tmp_path / "codec")
    return tmp_path / "codec"


def golden(*, tied: bool) -> CSRModel:
    """Return a model of exact binary fractions, the same on every machine."""
    config = ModelConfig(
        dim=3,
        n_latents=4,
        ladder=(1, 2),
        provenance=Provenance(
            csrkit="0.0.1", rows=5, steps=2, recall=0.5, fit={"seed": 0, "tied": None}
        ),
    )
    arrays = {
        name: (np.arange(np.prod(shape)).reshape(shape) - 3) / 8
        for name, shape in array_shapes(config).items()
    }
    if not tied:
        arrays["decoder"] = arrays["decoder"][::-1]
    return CSRModel(config=config, **arrays)


# -- golden bytes: a change here is a new format ------------------------------------

CONFIG_TEXT = """{
  "format": FORMAT,
  "dim": 3,
  "n_latents": 4,
  "ladder": [
    1,
    2
  ],
  "provenance": {
    "csrkit": "0.0.1",
    "rows": 5,
    "steps": 2,
    "recall": 0.5,
    "fit": {
      "seed": 0,
      "tied": null
    }
  }
}
"""


GOLDEN = {  # SHA-256 of model.safetensors, and the fingerprint
    1: (
        "90958bbc3d0e85d82562f4ec406a41142834ff52eed67a55047ac6ff136c2015",
        "4ec8e8a05e4f74182c36772d66bf3befaf87ed2ffbddc45fbff106941fa48fb0",
    ),
    2: (
        "ddd4e04f7c17ac77fa55adc79aa98f3953c094190c7fedbeafa2d41135663fe7",
        "15d7e8bbc84e491171e5507cd8ec8b2b8d58a9fc57e4eec8c4650e35099c51af",
    ),
}
BEFORE_FORMAT_2 = "c27784a4ecad6a005c2f5870f32e57b891360258dc77c5c2a67c04466bd1ed17"


@pytest.mark.parametrize("tied", [False, True])
def test_golden_bytes(tied: bool, tmp_path: Path) -> None:
    golden(tied=tied).save(tmp_path)
    number = 2 if tied else 1
    text = CONFIG_TEXT.replace("FORMAT", str(number))
    assert (tmp_path / "config.json").read_text() == text
    weights = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert (weights, golden(tied=tied).fingerprint) == GOLDEN[number]
    assert load(tmp_path).fingerprint == golden(tied=tied).fingerprint


def test_a_tied_model_of_format_1_is_read_as_the_same_model(tmp_path: Path) -> None:
    """Folders of before hold the one matrix twice."""
    model, text = golden(tied=True), CONFIG_TEXT.replace("FORMAT", "1")
    arrays = {name: getattr(model, name) for name in array_shapes(model.config)}
    paired = {"config_sha256": hashlib.sha256(text.encode()).hexdigest()}
    (tmp_path / "config.json").write_text(text)
    save_file(arrays, tmp_path / "model.safetensors", paired)
    before = (tmp_path / "model.safetensors").read_bytes()
    assert hashlib.sha256(before).hexdigest() == BEFORE_FORMAT_2
    back = load(tmp_path)
    assert back.fingerprint == model.fingerprint == GOLDEN[2][1]
    assert back.config == model.config
    back.save(tmp_path)
    assert len((tmp_path / "model.safetensors").read_bytes()) < len(before)
    assert load(tmp_path).fingerprint == model.fingerprint


def test_a_tied_model_has_one_matrix_on_disk_and_in_memory(
    make_model: MakeModel, tmp_path: Path
) -> None:
    model = make_model()
    tied = dataclasses.replace(model, decoder=model.encoder.copy())
    tied.save(tmp_path)
    assert sorted(load_file(tmp_path / "model.safetensors")) == sorted(
        {*array_shapes(tied.config)} - {"decoder"}
    )
    for one in (tied, load(tmp_path), pickle.loads(pickle.dumps(tied)), tied.with_card(None)):
        assert one.decoder is one.encoder
        assert one.fingerprint == tied.fingerprint
        assert (one.config.format, one.decoder.shape) == (2, (50, 12))
    free = dataclasses.replace(tied, decoder=model.decoder)
    assert (free.fingerprint, free.config) == (model.fingerprint, model.config)
    assert free.config.format == 1


def test_equal_numbers_of_other_bits_are_two_matrices(make_model: MakeModel) -> None:
    model = make_model()
    zero, minus = np.zeros((50, 12)), -np.zeros((50, 12))
    almost = dataclasses.replace(model, encoder=zero, decoder=minus)
    assert almost.decoder is not almost.encoder
    assert np.signbit(almost.decoder).all()


def test_files_bring_back_the_same_model(make_model: MakeModel, saved: Path) -> None:
    model, x = make_model(), np.random.default_rng(0).normal(size=(9, 12))
    for back in (load(saved), load(str(saved)), csrkit.load(saved)):
        assert back.config == model.config
        assert back.fingerprint == model.fingerprint
        for name in array_shapes(model.config):
            array = getattr(back, name)
            np.testing.assert_array_equal(array, getattr(model, name))
            assert not array.flags.writeable
        assert back.encode(x) == model.encode(x)
    assert sorted(p.name for p in saved.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    card = (saved / "README.md").read_text()
    assert model.fingerprint in card
    assert "| held-out recall@10 | not measured |" in card


def test_saving_again_replaces_the_model_and_leaves_other_files(
    make_model: MakeModel, saved: Path
) -> None:
    (saved / "notes.txt").write_text("mine")
    make_model(seed=1).save(saved)
    assert load(saved).fingerprint == make_model(seed=1).fingerprint
    assert (saved / "notes.txt").read_text() == "mine"


def test_a_failed_save_leaves_the_old_model(make_model: MakeModel, saved: Path) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    large = make_model(seed=1, n_latents=2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # what a full disk does
    try:
        with pytest.raises(OSError, match="too large"):
            large.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_save_cut_short_between_two_files_is_noticed(
    make_model: MakeModel, saved: Path, tmp_path: Path
) -> None:
    other = make_model(seed=1)
    config = other.config.model_copy(update={"ladder": (3, 5)})  # all shapes as before
    CSRModel(config=config, **{name: getattr(other, name) for name in array_shapes(config)}).save(
        tmp_path / "new"
    )
    (tmp_path / "new" / "model.safetensors").replace(saved / "model.safetensors")
    with pytest.raises(FormatError, match=r"was not saved with the config\.json beside it"):
        load(saved)


def card_of(model: CSRModel) -> Card:
    row = Measured(
        setting=Setting(2),
        recall=Interval(0.5, 0.75, 1.0),
        worst=0.5,
        posting_cost=1.0,
        ms=1.0,
        cost=1.0,
        short=0.0,
    )
    return Card(
        csrkit="0",
        fingerprint=model.fingerprint,
        k_doc=5,
        residuals=False,
        n_docs=9,
        n_queries=3,
        queries="given",
        limit=10,
        store="MemoryStore",
        seed=0,
        measured=(row,),
    )


@pytest.mark.parametrize("moved", range(4))
@pytest.mark.parametrize("cards", [(True, True), (True, False), (False, True)])
def test_a_save_that_dies_between_files_never_mixes_two_models(
    moved: int,
    cards: tuple[bool, bool],
    make_model: MakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = make_model(seed=1), make_model(seed=2)
    if moved % 2:  # the same sizes and provenance, or others
        steps = new.config.provenance.model_copy(update={"steps": 4})
        new = dataclasses.replace(new, config=new.config.model_copy(update={"provenance": steps}))
    old, new = (
        one.with_card(card_of(one)) if has else one
        for one, has in zip((old, new), cards, strict=True)
    )
    old.save(tmp_path)
    left, move = [moved], os.replace

    def dying(source: Path, target: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        move(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with contextlib.suppress(KeyboardInterrupt):  # without a card there are three moves
        new.save(tmp_path)
    try:
        found = load(tmp_path)
    except FormatError:
        assert moved
        return
    assert found.fingerprint in (old.fingerprint, new.fingerprint)
    expected = old if found.fingerprint == old.fingerprint else new
    assert found.card in (None, expected.card)


def test_a_file_is_no_folder(make_model: MakeModel, saved: Path) -> None:
    path = saved / "config.json"
    with pytest.raises(
        FormatError, match=f"^expected a folder to save the model to, got the file {path}$"
    ):
        make_model().save(path)


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
