"""What the benchmarks' numbers rest on: taking turns, splitting data, and checks that can fail."""

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a script or helper of the benchmarks as they import each other: by bare name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)

    def by_name(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield by_name
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


def test_contestants_take_turns_and_the_warm_up_does_not_count(load: Any) -> None:
    order = []
    naps = {"A": iter([0.2, 0.2, 0.0, 0.01]), "B": iter([0.0, 0.0, 0.1, 0.1])}

    def nap(name: str) -> None:
        order.append(name)
        time.sleep(next(naps[name]))

    runs = {name: lambda name=name: nap(name) for name in naps}
    seconds = load("_common").interleaved(runs, repeats=3)
    assert order == list("AB" * 4)
    assert 0.01 <= seconds["A"] < 0.1 <= seconds["B"]


def test_table_divides_each_time_by_its_reference(load: Any) -> None:
    lines = load("_common").ratios({"a": 0.002, "long": 0.01}, {"of a": "a"}, "who").splitlines()
    assert [line.split("|")[1:-1] for line in lines] == [
        [" who  ", " median ms ", " of a "],
        [" ---- ", " --------: ", " ---: "],
        [" a    ", "       2.0 ", " 1.00 "],
        [" long ", "      10.0 ", " 5.00 "],
    ]


def test_provenance_names_commit_and_versions_and_no_path(load: Any) -> None:
    line = load("_common").provenance()
    assert f"numpy {np.__version__}" in line
    assert line.startswith("commit ")
    assert "/" not in line.replace("/proc", "")
    assert load("_common").HERE == BENCHMARKS


def _write(path: Path, rows: np.ndarray) -> None:
    scale = np.abs(rows).max(axis=1) / 127
    np.save(path, np.round(rows / scale[:, None]).astype(np.int8))
    np.save(path.with_suffix(".scale.npy"), scale.astype(np.float32))


def test_a_split_shares_no_row_and_keeps_labels_aligned(load: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 8))
    rows[40:] = rows[:20]  # a third is there twice
    labels = np.arange(60) % 40  # equal rows, equal labels
    _write(tmp_path / "embeddings.npy", rows)
    np.save(tmp_path / "labels.npy", labels)
    data = load("_datasets").load(tmp_path, 10)
    assert (len(data.docs), len(data.queries), data.relevant) == (30, 10, None)
    np.testing.assert_allclose(np.linalg.norm(data.docs, axis=1), 1, rtol=1e-6)
    unit = rows[:40] / np.linalg.norm(rows[:40], axis=1, keepdims=True)
    for kept, names in ((data.docs, data.labels.docs), (data.queries, data.labels.queries)):
        np.testing.assert_array_equal(np.argmax(kept @ unit.T, axis=1), names)
    assert sorted([*data.labels.docs, *data.labels.queries]) == list(range(40))


def test_a_folder_cut_short_keeps_what_is_relevant(load: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    docs, relevant = rng.normal(size=(50, 8)), np.array([47, 3, 47, 20])
    _write(tmp_path / "docs.npy", docs)
    _write(tmp_path / "queries.npy", docs[relevant])
    np.save(tmp_path / "relevant.npy", relevant)
    data = load("_datasets").load(tmp_path, 3, n_docs=12)
    assert len(data.docs) == 13
    np.testing.assert_array_equal(data.truth[:, 0], data.relevant)
    assert data.relevant.tolist() == [12, 3, 12]


def test_the_oracle_of_encode_notices_a_wrong_latent_and_a_wrong_value(load: Any) -> None:
    encode = load("encode")
    shape = encode.Shape(40, 16, 64, (4,))
    model, x = encode.random_model(shape), encode.unit_rows(40, 16)
    codes = model.encode(x, k=4)
    assert "k=4: 40 of 40 rows with the oracle's latents" in encode.compare(codes, model, x, 4)
    with pytest.raises(SystemExit, match="codes differ from the oracle: 40 rows"):
        encode.compare(codes.top(3).normalized(), model, x, 4)
    with pytest.raises(SystemExit, match="codes differ from the oracle: 0 rows"):
        encode.compare(type(codes).from_dense(codes.to_dense() * 1.001), model, x, 4)


@pytest.mark.parametrize(
    ("recipe", "one_model", "expected"),
    [
        ("csrkit", False, {(8, 16): [4, 8, 16, 32, 64]}),
        ("csr", False, {(8,): [4, 8], (16,): [16], (32,): [32, 64]}),
        ("csr", True, {(8, 16): [4, 8, 16, 32, 64]}),
    ],
)
def test_every_k_is_served_by_the_nearest_model(
    load: Any, recipe: str, one_model: bool, expected: dict[tuple[int, ...], list[int]]
) -> None:
    import argparse

    options = argparse.Namespace(
        k=[4, 8, 16, 32, 64], train_k=[8, 16, 32], ladder=[8, 16], one_model=one_model
    )
    assert load("quality").ladders(recipe, options) == expected


def test_a_report_gives_mean_and_spread_and_hides_folders(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = load("_report")
    rows = [
        report.Row("set", "csr", 4, (8,), seed, {"recall": value})
        for seed, value in enumerate([0.1, 0.2, 0.3])
    ]
    monkeypatch.setattr(
        sys, "argv", ["quality.py", "--data", "/private/place/set/", "--steps", "5"]
    )
    report.report(rows, "steps=5", tmp_path / "new" / "table")
    written = (tmp_path / "new" / "table.md").read_text()
    assert "| 4 (8) |    csr | 0.200 ± 0.100 |" in written
    assert "quality.py --data set --steps 5`" in written
    assert "private" not in written + (tmp_path / "new" / "table.json").read_text()
    assert "0.200 ± 0.100" in capsys.readouterr().out
