"""Cards: the file, and what is refused of it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csrkit.errors import ConfigError, FormatError
from csrkit.metrics import Interval
from csrkit.model import CSRModel, Setting, load

from .cards import calibration, make_card, row

MakeModel = Callable[..., CSRModel]


@pytest.fixture
def carded(make_model: MakeModel) -> CSRModel:
    model = make_model()
    maps = (calibration(8, (0.25, 0.5), (0.125, 0.75)),)
    rows = (row(Setting(8), 0.5), row(Setting(8, 20, "codes"), 0.75))
    return model.with_card(make_card(*rows, fingerprint=model.fingerprint, calibrations=maps))


# -- the file ---------------------------------------------------------------------------

GOLDEN = """{
 "format": 1,
 "csrkit": "0.1.0",
 "fingerprint": "FINGERPRINT",
 "k_doc": 32,
 "residuals": false,
 "refitted": false,
 "n_docs": 900,
 "n_queries": 100,
 "queries": "documents",
 "limit": 10,
 "store": "MemoryStore",
 "seed": 0,
 "measured": [
  {
   "setting": {
    "k": 8,
    "candidates": 20,
    "rescore": "codes"
   },
   "recall": [
    0.75,
    0.75,
    1.0
   ],
   "worst": 0.25,
   "posting_cost": 0.5,
   "ms": 0.75,
   "cost": 1.0,
   "short": 0.0
  }
 ],
 "calibrations": [
  {
   "k": 8,
   "rescore": null,
   "scores": [
    0.25
   ],
   "cosines": [
    0.5
   ],
   "pairs": 8,
   "mean_error": 0.5,
   "p95_error": 0.75
  }
 ]
}
"""


def test_golden_text(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model()
    measured = row(Setting(8, 20, "codes"), 0.75)
    maps = (calibration(8, (0.25,), (0.5,)),)
    card = make_card(measured, fingerprint=model.fingerprint, calibrations=maps)
    model.with_card(card).save(tmp_path)
    text = (tmp_path / "card.json").read_text()
    assert text == GOLDEN.replace("FINGERPRINT", model.fingerprint)
    assert load(tmp_path).card == card


def test_a_card_travels_with_its_model_and_changes_nothing_else(
    make_model: MakeModel, carded: CSRModel, tmp_path: Path
) -> None:
    model = make_model()
    assert model.card is None
    assert carded.fingerprint == model.fingerprint
    carded.save(tmp_path)
    for back in (load(tmp_path), pickle.loads(pickle.dumps(carded))):
        assert back.card == carded.card
        assert back.fingerprint == model.fingerprint
        assert isinstance(back.card.measured[1].recall, Interval)
        assert hash(back.card.measured[1].setting) == hash(Setting(8, 20, "codes"))
    assert carded.card is not None
    assert f"| settings | {carded.card.summary()} |" in (tmp_path / "README.md").read_text()
    assert carded.card.summary() == (
        "2 measured with 100 documents as queries over 900 documents at k=32: "
        "recall@10 0.500 to 0.750"
    )


def test_saving_a_model_without_a_card_removes_the_old_one(
    make_model: MakeModel, carded: CSRModel, tmp_path: Path
) -> None:
    carded.save(tmp_path)
    carded.with_card(None).save(tmp_path)
    assert not (tmp_path / "card.json").exists()
    assert load(tmp_path).card is None
    carded.save(tmp_path)
    make_model(seed=1).save(tmp_path)
    assert load(tmp_path).fingerprint == make_model(seed=1).fingerprint


def test_a_card_of_another_model_is_refused(
    make_model: MakeModel, carded: CSRModel, tmp_path: Path
) -> None:
    other = make_model(seed=1)
    message = (
        f"expected a card of the model {other.fingerprint[:12]}, got one measured with "
        f"{carded.fingerprint[:12]}: tune this model"
    )
    with pytest.raises(ConfigError, match=message):
        other.with_card(carded.card)
    carded.save(tmp_path / "old")
    other.save(tmp_path / "new")
    (tmp_path / "old" / "card.json").rename(tmp_path / "new" / "card.json")
    with pytest.raises(FormatError, match=message):
        load(tmp_path / "new")


ROW = json.loads(row(Setting(8), 0.5).model_dump_json())
MAP = json.loads(calibration(8, (0.25, 0.5), (0.125, 0.75)).model_dump_json())
EDITS: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "has format 2, this csrkit reads up to 1: upgrade csrkit"),
    ({"format": 2, "new": 1}, "has format 2, this csrkit reads up to 1: upgrade csrkit"),
    ({"format": "1"}, "is not a model card"),
    ({"gpu": True}, "gpu\n  Extra inputs are not permitted"),
    ({"fingerprint": "abc"}, "fingerprint\n  String should match pattern"),
    ({"k_doc": 32.0}, "k_doc\n  Input should be a valid integer"),
    ({"residuals": True, "refitted": True}, "refitted codes without residual bits, got both"),
    ({"k_doc": True}, "k_doc\n  Input should be a valid integer"),
    ({"n_docs": 0}, "n_docs\n  Input should be greater than or equal to 1"),
    ({"queries": "users"}, "queries\n  Input should be 'given' or 'documents'"),
    ({"seed": -1}, "seed\n  Input should be greater than or equal to 0"),
    ({"measured": []}, "measured\n  Tuple should have at least 1 item"),
    ({"measured": [ROW] * 10_001}, "measured\n  Tuple should have at most 10000 items"),
    ({"measured": [ROW, ROW]}, "expected each setting and each kind of score once"),
    ({"measured": [{**ROW, "p99": 1}]}, "measured.0.p99\n  Extra inputs"),
    ({"measured": [{**ROW, "ms": float("nan")}]}, "measured.0.ms\n  Input should be a finite"),
    ({"measured": [{**ROW, "ms": float("inf")}]}, "measured.0.ms\n  Input should be a finite"),
    ({"measured": [{**ROW, "cost": -1}]}, "measured.0.cost"),
    ({"measured": [{**ROW, "worst": 1.5}]}, "measured.0.worst"),
    ({"measured": [{**ROW, "recall": [0.5, 0.4, 0.6]}]}, "expected 0 <= low <= value <= high <= 1"),
    ({"measured": [{**ROW, "recall": [0.5, 0.5, 1.1]}]}, "expected 0 <= low <= value <= high <= 1"),
    ({"measured": [{**ROW, "recall": [0.5, 0.5]}]}, "measured.0.recall"),
    ({"measured": [{**ROW, "recall": [0, float("nan"), 1]}]}, "measured.0.recall"),
    ({"measured": [{**ROW, "setting": {"k": 0}}]}, "expected k and candidates of at least 1"),
    ({"measured": [{**ROW, "setting": {"k": 8.0}}]}, "measured.0.setting.k"),
    ({"measured": [{**ROW, "setting": {"k": 8, "x": 1}}]}, "measured.0.setting.x"),
    ({"measured": [{**ROW, "setting": {"k": 8, "candidates": 9}}]}, "expected candidates with"),
    (
        {"measured": [{**ROW, "setting": {"k": 8, "candidates": 9, "rescore": "float"}}]},
        "measured.0.setting.rescore\n  Input should be 'codes' or 'dense'",
    ),
    ({"calibrations": [MAP, MAP]}, "expected each setting and each kind of score once"),
    ({"calibrations": [{**MAP, "scores": []}]}, "calibrations.0.scores"),
    ({"calibrations": [{**MAP, "scores": [0.5]}]}, "expected 1 cosines, got 2"),
    ({"calibrations": [{**MAP, "scores": [0.5, 0.5]}]}, "expected scores that rise"),
    ({"calibrations": [{**MAP, "cosines": [0.5, 0.25]}]}, "expected cosines that never fall"),
    ({"calibrations": [{**MAP, "cosines": [0.5, 1.25]}]}, "expected cosines that never fall"),
    ({"calibrations": [{**MAP, "cosines": [-1.25, 0]}]}, "expected cosines that never fall"),
    ({"calibrations": [{**MAP, "scores": list(range(1001))}]}, "at most 1000 items"),
    ({"calibrations": [{**MAP, "rescore": "dense"}]}, "calibrations.0.rescore"),
]


@pytest.mark.parametrize(("changes", "message"), EDITS)
def test_a_changed_card_is_refused(
    carded: CSRModel, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    carded.save(tmp_path)
    path = tmp_path / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)


CONTENTS: list[tuple[bytes, str]] = [
    (b"", "is not JSON"),
    (b"[]", "is not a model card"),
    (b"null", "is not a model card"),
    (b"\xff\xfe{}", "is not JSON"),
    (b"[" * 200_000, "is not JSON"),
    (b'{"format": ' + b"9" * 5000 + b"}", "is not JSON"),
    (b" " * 20_000_000, "has 20000000 bytes, a card has about 20000"),
]


@pytest.mark.parametrize(("content", "message"), CONTENTS, ids=[str(c[:9]) for c, _ in CONTENTS])
def test_a_card_that_is_none_is_refused(
    carded: CSRModel, tmp_path: Path, content: bytes, message: str
) -> None:
    carded.save(tmp_path)
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(f"{tmp_path / 'card.json'} {message}")):
        load(tmp_path)


def test_every_truncation_is_refused(carded: CSRModel, tmp_path: Path) -> None:
    carded.save(tmp_path)
    content = (tmp_path / "card.json").read_bytes()
    for length in {0, 1, 60, len(content) // 2, len(content) - 3}:
        (tmp_path / "card.json").write_bytes(content[:length])
        with pytest.raises(FormatError, match="is not JSON"):
            load(tmp_path)
    (tmp_path / "card.json").unlink()
    (tmp_path / "card.json").mkdir()
    with pytest.raises(FormatError, match="is not a readable model"):
        load(tmp_path)


@pytest.mark.parametrize("other", [3, {}, "card.json"])
def test_only_a_card_is_a_card(make_model: MakeModel, other: Any) -> None:
    with pytest.raises(ConfigError, match=f"expected a Card of .*tune, got {type(other).__name__}"):
        make_model().with_card(other)
