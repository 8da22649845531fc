"""Inputs that make no sense end in success or in an error of csrkit that says something."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from csrkit.errors import CsrkitError

from .amount import INPUTS, PATIENCE
from .bad_inputs import ATTACKS, MODEL, Case, pristine


@pytest.mark.timeout(PATIENCE)
def test_nonsense_ends_in_success_or_in_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("csrkit.stores._retry.time.sleep", lambda seconds: None)
    monkeypatch.setattr("csrkit.fitting.fit", lambda *_, **__: MODEL)  # has tests of its own
    base, ends, wrong = pristine(tmp_path), Counter[str](), []
    for seed in range(INPUTS):
        call, folder = ATTACKS[seed % len(ATTACKS)], tmp_path / f"{seed}"
        case = Case(folder, base, seed)
        try:
            call(case)
            ends["success"] += 1
        except CsrkitError as error:
            ends[type(error).__name__] += 1
            if len(str(error)) < 20:
                wrong.append((seed, call.__name__, f"says too little: {error}"))
        except Exception as error:
            wrong.append((seed, call.__name__, f"{type(error).__name__}: {error}"[:300]))
        shutil.rmtree(folder, ignore_errors=True)
    assert not wrong, "\n".join(map(str, wrong))
    assert ends["success"] > INPUTS / 50
    assert len(ends) > 3
    record_property("bad inputs", f"{INPUTS}, of which " + str(dict(ends)))
