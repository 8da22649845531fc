"""An adapter of another vendor's store passes, and needs no private name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import csrkit.stores.adapter
from csrkit.errors import StoreError
from csrkit.stores.testing import PersistentStoreContract, random_codes

from . import sqlite_store
from .sqlite_store import SqliteStore


class TestSqliteStore(PersistentStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        self.opened = [self.make_store(tmp_path)]
        yield self.opened[0]
        for store in self.opened:
            store.close()

    def make_store(self, tmp_path: Path) -> SqliteStore:
        return SqliteStore(tmp_path / "codes.sqlite")

    def equals(self, key: str, value: int) -> Any:
        return f"json_extract(payload, '$.{key}') = {value}"

    def reopen(self, store: Any, tmp_path: Path) -> SqliteStore:
        self.opened.append(self.make_store(tmp_path))
        return self.opened[-1]

    def test_the_vendors_words_are_kept(self, store: Any) -> None:
        store.upsert([1], random_codes(0, 1))
        with pytest.raises(StoreError, match="no such column: absent"):
            store.search(random_codes(0, 1), filter="absent = 1")


def test_the_adapter_is_short_and_uses_public_names_alone() -> None:
    source = Path(sqlite_store.__file__).read_text()
    assert source.count("\n") <= 150
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module and node.module.startswith("csrkit")]
    names = {f"{node.module}.{alias.name}" for node in ours for alias in node.names}
    assert len(names) > 10
    assert [name for name in names if "._" in name] == []


def test_public_names_are_sorted_and_documented() -> None:
    names = csrkit.stores.adapter.__all__
    assert names == sorted(names)
    assert all(getattr(csrkit.stores.adapter, name).__doc__ for name in names)
