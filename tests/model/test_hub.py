"""The Hugging Face hub, with a folder in its place: up, into the cache, and down."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csrkit.errors import FormatError, MissingExtra
from csrkit.metrics import Interval
from csrkit.model import Card, CSRModel, Measured, Setting

MakeModel = Callable[..., CSRModel]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FolderHub:
    """A hub that is a local cache folder, laid out as huggingface_hub lays it out."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.private: dict[str, bool] = {}

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        if repo_id in self.private and not exist_ok:
            raise FileExistsError(repo_id)
        self.private.setdefault(repo_id, private)

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
        repo = self.cache / f"models--{repo_id.replace('/', '--')}"
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / "main").write_text(COMMIT)
        shutil.copytree(folder_path, repo / "snapshots" / COMMIT, dirs_exist_ok=True)
        return f"{repo_id}@{COMMIT}: {commit_message}"


def test_up_and_down_again(make_model: MakeModel, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra csrkit[hub]")
    model, hub = make_model(), FolderHub(tmp_path)
    address = model.push_to_hub("acme/codec", api=hub)
    assert address == f"acme/codec@{COMMIT}: csrkit model {model.fingerprint[:12]}"
    assert hub.private == {"acme/codec": True}
    for revision in (None, "main", COMMIT):
        back = CSRModel.from_hub(
            "acme/codec", revision=revision, cache_dir=tmp_path, local_files_only=True
        )
        assert back.fingerprint == model.fingerprint
    (snapshot,) = (tmp_path / "models--acme--codec" / "snapshots").iterdir()
    assert model.fingerprint in (snapshot / "README.md").read_text()

    make_model(seed=1).push_to_hub("acme/codec", api=hub, private=False)  # exists: stays private
    assert hub.private == {"acme/codec": True}
    back = CSRModel.from_hub("acme/codec", cache_dir=tmp_path, local_files_only=True)
    assert back.fingerprint == make_model(seed=1).fingerprint
    (snapshot / "model.safetensors").write_bytes(b"")
    with pytest.raises(FormatError, match="is not a readable model"):
        CSRModel.from_hub("acme/codec", cache_dir=tmp_path, local_files_only=True)


def test_the_folder_hub_takes_the_calls_that_the_hub_takes() -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra csrkit[hub]")
    for name in ("create_repo", "upload_folder"):
        theirs = inspect.signature(getattr(hub.HfApi, name)).parameters
        assert inspect.signature(getattr(FolderHub, name)).parameters.keys() <= theirs.keys()


@pytest.mark.parametrize(
    ("call", "purpose"),
    [
        (lambda model: model.push_to_hub("acme/codec"), "push_to_hub"),
        (lambda model: model.from_hub("acme/codec"), "from_hub"),
    ],
)
def test_without_the_extra_the_pip_line_is_told(
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[CSRModel], Any],
    purpose: str,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra) as caught:
        call(make_model())
    assert str(caught.value) == (
        f'{purpose} needs huggingface_hub, which is not installed: pip install "csrkit[hub]"'
    )


def test_a_card_goes_along(make_model: MakeModel, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra csrkit[hub]")
    plain = make_model()
    recall = Interval(0.5, 0.5, 1.0)
    row = Measured(
        setting=Setting(2), recall=recall, worst=0, posting_cost=1, ms=1, cost=1, short=0
    )
    card = Card(
        csrkit="0.1.0",
        fingerprint=plain.fingerprint,
        k_doc=5,
        residuals=False,
        n_docs=10,
        n_queries=20,
        queries="given",
        limit=10,
        store="MemoryStore",
        seed=0,
        measured=(row,),
    )
    plain.with_card(card).push_to_hub("acme/tuned", api=FolderHub(tmp_path))
    back = CSRModel.from_hub("acme/tuned", cache_dir=tmp_path, local_files_only=True)
    assert back.card == card
