"""The shipped demo data: whole, small, licensed, and as good as its sheet says."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = EXAMPLES / "data"
sys.path.insert(0, str(EXAMPLES))
from make_data import parse, relevance, save  # noqa: E402  # the script is no package


def vectors(name: str) -> np.ndarray:
    return np.load(DATA / f"{name}.npy") * np.load(DATA / f"{name}.scale.npy")[:, None]


def lines(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("name", "n"), [("docs", 15_000), ("queries", 1_500), ("questions", 3)])
def test_texts_and_unit_vectors_go_together(name: str, n: int) -> None:
    dense = vectors(name)
    assert dense.shape == (n, 384)
    assert dense.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1, atol=1e-6)
    assert len({line["text"] for line in lines(name)}) == n


def test_the_sheet_tells_the_truth() -> None:
    measured = relevance(vectors("queries"), vectors("docs"), np.load(DATA / "relevant.npy"))
    row = re.search(r"\| (\S+) \| (\S+) \| (\S+) \|\n\nLicences", (DATA / "README.md").read_text())
    assert row is not None
    np.testing.assert_allclose([float(value) for value in row.groups()], measured, atol=6e-4)


def test_each_question_finds_what_it_asks_for() -> None:
    docs = lines("docs")
    best = (vectors("questions") @ vectors("docs").T).argmax(axis=1)
    for question, row in zip(lines("questions"), best, strict=True):
        assert question["asks"] in docs[row]["words"]


def test_it_is_small_and_carries_the_notice() -> None:
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 10e6
    notice = (DATA / "WORDNET-LICENSE").read_text()
    assert "Copyright 2006 by Princeton University" in notice
    assert "appear on ALL copies" in notice


def test_a_synset_line_is_parsed() -> None:
    line = (
        "00066025 04 v 02 get_down 1 laugh(p) a 002 @ 00064643 v 0000 + 07 n 0101 "
        '01 + 02 00 | laugh (out loud); at length; "she laughed"; "he got down"  '
    )
    sense = parse(line, {("get_down", "04", "01"): 3, ("laugh", "04", "10"): 2})
    assert sense.id == "v00066025"
    assert sense.words == ["get down", "laugh"]
    assert sense.gloss == "laugh (out loud); at length"
    assert sense.examples == ["she laughed", "he got down"]
    assert (sense.count, sense.classes, sense.lex) == (5, ["v00064643"], "noun.act")


def test_int8_rows_keep_direction_and_norm(tmp_path: Path) -> None:
    dense = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    back = save(tmp_path / "x", dense)
    stored = np.load(tmp_path / "x.npy") * np.load(tmp_path / "x.scale.npy")[:, None]
    np.testing.assert_array_equal(back, stored)
    assert (np.sum(dense * back, axis=1) > 0.9999).all()
