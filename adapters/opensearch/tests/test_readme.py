from __future__ import annotations

from pathlib import Path

import pytest
from tests.test_docs import run_page

from .stand_in import Server


def test_the_readme_runs(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENSEARCH_URL", server.url)
    assert run_page(Path(__file__).parents[1] / "README.md") == 3
