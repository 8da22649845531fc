from __future__ import annotations

from pathlib import Path

import pytest
from tests.test_docs import run_page


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(Path(__file__).parents[1] / "README.md") == 3
