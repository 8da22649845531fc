from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import csrkit.stores
from csrkit.errors import ConfigError, StoreError
from csrkit.stores import EdgeStore, open_store


@pytest.fixture
def adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a distribution that registers stores, as an adapter's wheel does."""
    home = tmp_path / "site"
    info = home / "adapters-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adapters\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[csrkit.stores]\n"
        "edge = csrkit.stores.edge:open_url\n"
        "mine = csrkit.stores.memory:open_url\n"
        "disk = csrkit.stores.edge:open_url\n"
        "twice = somewhere:open_url\n"
    )
    monkeypatch.syspath_prepend(str(home))
    importlib.invalidate_caches()
    return home


def test_the_scheme_chooses_the_entry_point(adapters: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mine:'"):  # it got the whole URL
        open_store("mine:")
    with pytest.raises(ConfigError, match="expected 'edge://'"):
        open_store(f"disk://{tmp_path}")


def test_nothing_is_made_unless_asked(adapters: Path, tmp_path: Path) -> None:
    url = f"edge://{tmp_path / 'index'}"
    with pytest.raises(StoreError, match="no store at"):
        open_store(url)
    assert list(tmp_path.iterdir()) == [adapters]
    opened = open_store(url, create=True)
    assert isinstance(opened, EdgeStore)
    opened.close()
    again = open_store(url)
    assert isinstance(again, EdgeStore)
    again.close()


def test_an_unknown_scheme_lists_the_known(adapters: Path) -> None:
    for url in ("nowhere://x", "no scheme", "", "MINE:"):
        with pytest.raises(ConfigError, match=r"one of the schemes \[.*'mine'.*\], got"):
            open_store(url)


@pytest.mark.parametrize(
    "scheme", ["chroma", "chromadb", "lancedb", "lance", "redis", "rediss", "Weaviate"]
)
def test_a_store_of_dense_vectors_alone_is_told(adapters: Path, scheme: str) -> None:
    with pytest.raises(ConfigError, match=rf"got '{scheme}://h/x': \w+ .*sparse.*; use edge:"):
        open_store(f"{scheme}://h/x")


def test_an_adapter_that_is_missing_is_named_and_a_password_is_not(adapters: Path) -> None:
    for url in ("postgresql://me:hunter2@h/db", "pgvector://me:hunter2@h/db/t"):
        with pytest.raises(ConfigError, match="pip install csrkit-pgvector") as caught:
            open_store(url)
        assert "hunter2" not in str(caught.value)


def test_what_follows_a_plus_is_the_stores_business(adapters: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected 'memory:', got 'mine\+https://x'"):
        open_store("mine+https://x")


def test_two_packages_for_one_scheme_are_refused(adapters: Path) -> None:
    other = adapters / "other-1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (other / "entry_points.txt").write_text("[csrkit.stores]\ntwice = elsewhere:open_url\n")
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match=r"'elsewhere:open_url', 'somewhere:open_url'"):
        open_store("twice://x")


def test_public_names_are_sorted_and_load() -> None:
    assert csrkit.stores.__all__ == sorted(csrkit.stores.__all__)
    assert dir(csrkit.stores) == csrkit.stores.__all__
    assert csrkit.stores.EdgeStore is EdgeStore
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        csrkit.stores.Nothing  # noqa: B018


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("from csrkit.stores import MemoryStore", set()),
        ("from csrkit.stores import EdgeStore", set()),
        ("from csrkit.stores import QdrantStore", {"qdrant_client"}),  # so the check can fail
    ],
)
def test_a_store_loads_no_other_engine(code: str, loaded: set[str]) -> None:
    heavy = {"qdrant_client", "qdrant_edge", "pytest", "torch", "scipy"}
    script = f"import sys; sys.path[:] = {sys.path}; {code}; print(*set(sys.modules) & {heavy})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == loaded


def test_only_a_text_is_a_url(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a URL such as 'edge://folder', got \w*Path"):
        open_store(tmp_path / "index")  # type: ignore[arg-type]  # what is refused
