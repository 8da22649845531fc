"""The README runs, from a shell that libpq finds the server in."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.test_docs import run_page


def test_the_readme_runs(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = conninfo_to_dict(server)
    monkeypatch.setenv("PGHOST", str(found["host"]))
    monkeypatch.setenv("PGUSER", str(found["user"]))
    assert run_page(Path(__file__).parents[1] / "README.md") == 4
