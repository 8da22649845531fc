"""A store that a fork inherits: the engine's threads stay behind, and calls would hang."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csrkit.errors import StoreError
from csrkit.stores import EdgeStore
from csrkit.stores.testing import random_codes


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_a_fork_is_told_to_open_its_own(tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "index") as store:
        store.upsert([1], random_codes(0, 1))
        read, write = os.pipe()
        if not (child := os.fork()):
            try:
                store.search(random_codes(0, 1))
            except StoreError as error:
                os.write(write, str(error).encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read, encoding="utf-8") as answer:
            assert f"expected the process {os.getpid()} that opened the store" in answer.read()
        os.waitpid(child, 0)
        assert store.count() == 1
