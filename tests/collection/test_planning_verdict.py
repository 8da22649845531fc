"""The verdict, from bytes and recalls made up for it; and bytes weighed in the real engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from csrkit.collection.plans.facts import (
    Candidate,
    Collection,
    Expected,
    Option,
    Range,
    Rival,
    Stored,
)
from csrkit.collection.plans.target import sized
from csrkit.collection.plans.verdict import headroom, judged, options
from csrkit.collection.plans.weighing import weigh

from .plan_data import DIM, model, rows

SOURCE = Collection(
    url="qdrant://h:6333/docs",
    engine="Qdrant",
    version="1.18.0",
    vector="dense",
    name="csr",
    points=1_000_000,
    dim=1024,
    distance="Cosine",
    datatype="float32",
    quantization=None,
    on_disk=False,
    adding="in place",
)
DENSE = Stored(4096, 100, True)


def recalled(low: float) -> Expected:
    return Expected("accurate", 16, 100, "codes", low + 0.02, Range(low, low + 0.03))


def codes(k: int, alone: float, beside: float) -> Candidate:
    """Bytes as the engine takes them: 8 per latent stored, 6 in postings, 130 of residual."""
    one, two = (recalled(alone),) * 3, (recalled(beside),) * 3
    return Candidate(k, 8 * k, 6 * k, 130, True, one, two)


def rival(name: Literal["int8", "binary"], low: float) -> Rival:
    return Rival(name, {"int8": 1024, "binary": 128}[name], recalled(low))


def listed(*parts: Any, source: Collection = SOURCE) -> tuple[Option, ...]:
    candidates = [one for one in parts if isinstance(one, Candidate)]
    return options(source, DENSE, candidates, [one for one in parts if isinstance(one, Rival)])


def said(*parts: Any, source: Collection = SOURCE, **free: int) -> Any:
    found = listed(*parts, source=source)
    need = headroom(source, found, free.get("disk"), free.get("ram"))
    return judged(found, need)


def test_bytes_add_up() -> None:
    now, alone, beside, int8, binary = listed(
        codes(32, 0.9, 0.95), rival("int8", 0.97), rival("binary", 0.9)
    )
    assert (now.ram, now.disk) == (4196, 4196)
    assert (alone.ram, alone.disk) == (192, 256 + 192 + 130)
    assert (beside.ram, beside.disk) == (292, 4196 + 578)
    assert (int8.ram, int8.disk) == (1124, 4196 + 1024)
    assert (binary.ram, binary.disk) == (228, 4196 + 128)


def test_what_is_on_disk_or_quantised_already_is_counted_as_it_is() -> None:
    changed = {"on_disk": True, "quantization": "scalar"}
    now, _, beside = listed(codes(32, 0.9, 0.95), source=Collection(**{**vars(SOURCE), **changed}))
    assert (now.ram, now.disk) == (100 + 1024, 4196 + 1024)
    assert (beside.ram, beside.disk) == (100 + 1024 + 192, 4196 + 1024 + 578)


def test_a_rival_is_named_that_takes_less_and_finds_as_much() -> None:
    verdict = said(codes(32, 0.7, 0.9), rival("int8", 0.97), rival("binary", 0.92))
    assert verdict.instead == "binary"
    assert (
        "Use binary quantisation with rescoring instead, unless the disk has to" in verdict.words[0]
    )
    assert "228 B of memory per point instead of 4,196, recall 0.92 to 0.95" in verdict.words[0]
    assert verdict.words[0].endswith("or find less. int8: 1,124 B for 0.97 to 1.00.")


def test_codes_that_nothing_beats_are_not_advised_against() -> None:
    verdict = said(codes(32, 0.7, 0.96), rival("int8", 0.97), rival("binary", 0.7))
    assert verdict.instead is None
    assert "codes k=32, dense on disk: 292 B for 0.96 to 0.99" in verdict.words[0]
    assert "binary copy, dense on disk: 228 B for 0.70 to 0.73" in verdict.words[0]
    assert "int8" not in verdict.words[0]  # 1,124 B for no more than codes find


def test_a_rival_of_int8_only_when_it_takes_less_memory() -> None:
    large = codes(180, 0.7, 0.97)  # 1,080 bytes of postings and 100 of graph
    assert said(large, rival("int8", 0.97)).instead == "int8"
    assert said(codes(64, 0.7, 0.97), rival("int8", 0.97)).instead is None
    assert said(codes(64, 0.7, 0.97)).instead is None


def test_the_disk_shrinks_only_without_the_dense_vectors() -> None:
    good = said(codes(16, 0.86, 0.9), codes(32, 0.93, 0.95), rival("binary", 0.9)).words[1]
    assert "codes k=32, dense dropped takes 578 B per point instead of 4,196 (7.3 times" in good
    assert "That is a loss" not in good
    poor = said(codes(32, 0.7, 0.95)).words[1]
    assert "That is a loss: keep the dense vectors" in poor
    tiny = Collection(**{**vars(SOURCE), "dim": 64})
    none = judged(
        found := options(tiny, Stored(256, 40, True), [codes(16, 0.9, 0.9)], []),
        headroom(tiny, found, None, None),
    )
    assert "The disk does not shrink: codes k=16, dense dropped takes 354 B" in none.words[1]


def test_headroom_in_place_and_for_a_copy() -> None:
    found = listed(codes(16, 0.9, 0.9), codes(32, 0.9, 0.9))
    place = headroom(SOURCE, found, None, None)
    assert (place.disk, place.ram) == (578e6, 192e6)
    assert place.peak == 1e6 * (578 + 4196 + 578)
    copied = headroom(Collection(**{**vars(SOURCE), "adding": "copy"}), found, None, None)
    assert (copied.disk, copied.ram) == (1e6 * (4196 + 578), 1e6 * (4196 + 192))


@pytest.mark.parametrize(
    ("disk", "ram", "words"), [(10**9, 10**9, 1), (10**10, 1, 1), (1, 1, 2), (10**10, 10**9, 0)]
)
def test_what_does_not_fit_is_told(disk: int, ram: int, words: int) -> None:
    verdict = said(codes(32, 0.9, 0.9), disk=disk, ram=ram)
    assert sum("Not enough" in one for one in verdict.words) == words


def test_sizes_in_words() -> None:
    assert [sized(one) for one in (900, 5_840_000, 77.7e9, 1.2e13)] == [
        "0.9 kB",
        "5.8 MB",
        "77.7 GB",
        "12,000 GB",
    ]


@pytest.mark.parametrize("datatype", ["float32", "float16"])
def test_the_engine_takes_what_it_must_and_little_more(
    datatype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a memory disk, where files that are mostly holes are given whole."""
    monkeypatch.setattr("csrkit.collection.plans.weighing.gettempdir", lambda: str(tmp_path))
    source = Collection(**{**vars(SOURCE), "dim": DIM, "datatype": datatype})
    weighed = weigh(model(), rows(), (4, 8), source)
    vector = DIM * {"float32": 4, "float16": 2}[datatype]
    assert vector <= weighed.dense.vector <= vector + 20
    assert 0 < weighed.dense.graph < 300
    for k, one in weighed.codes.items():
        assert 8 * k <= one.code <= 8 * k + 200  # in blocks of 128 bytes
        assert 4 * k <= one.postings <= 30 * k
        assert model().residual_bytes <= one.residual <= model().residual_bytes + 30
    assert weighed.write_rate is not None
    assert weighed.encode_rate > 0
    assert list(tmp_path.iterdir()) == []


def test_without_the_engine_a_formula_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit.collection.plans.weighing.find_spec", lambda name: None)
    weighed = weigh(model(), rows(), (4, 8), Collection(**{**vars(SOURCE), "dim": DIM}))
    assert not weighed.dense.is_measured
    assert weighed.write_rate is None
    assert (weighed.codes[8].code, weighed.codes[8].postings) == (64, 96)
    assert np.isfinite(weighed.encode_rate)
