"""Bytes of a store on systems that tell less of a file than its blocks."""

from __future__ import annotations

import numpy as np
import pytest

from csrkit.evaluation import run
from csrkit.evaluation.stored import Rows, stored
from csrkit.vectors import SparseVectors


@pytest.mark.usefixtures("unweighed")
def test_lengths_stand_in_where_blocks_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qdrant_edge")
    codes = SparseVectors.from_dense(np.eye(300)[np.arange(600) % 300])
    rows = Rows(codes, None, np.zeros(600, np.int64))
    with stored(rows, codes[:1]) as index:
        taken = index.code_bytes
    assert not any("lengths" in note for note in run._engine_notes())
    monkeypatch.setattr("csrkit.evaluation.stored.TELLS_BLOCKS", False)  # as on Windows
    monkeypatch.setattr(run, "TELLS_BLOCKS", False)
    with stored(rows, codes[:1]) as index:
        assert index.code_bytes > 2 * taken  # the engine makes its files long beforehand
    assert any("lengths of the engine's files" in note for note in run._engine_notes())
