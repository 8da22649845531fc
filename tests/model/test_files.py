"""Model folders: exact bytes, the way back, and saves cut short."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pickle
import resource
from collections.abc import Callable
from pathlib import Path

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


def test_a_folder_that_cannot_be_is_told(make_model: MakeModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "below", tmp_path / ("x" * 5000)):
        with pytest.raises(FormatError, match=r"cannot make the folder .* to save the model to: "):
            make_model().save(path)
        with pytest.raises(FormatError, match=r"expected a model folder with a config\.json"):
            load(path)
